"""Where training looks on images of one class each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from histoscout.detection.labelled import LabelledSlide
from histoscout.geometry.box import Box
from histoscout.recipe import Recipe
from histoscout.windows.sampler import Kind, Window


@dataclass(frozen=True)
class ImageSampler:
    """Draws training windows on images: every class as often as any other, whatever their numbers of images.

    Balanced in steps: first a class, then a patient who has it, then one of the patient's images of it, then a place. A
    window lies anywhere on its image; of an image that is smaller than the window, all is seen, anywhere in it. A window
    is a function of the seed and its number alone.
    """

    slides: Sequence[LabelledSlide]
    recipe: Recipe

    def draw(self, number: int) -> Window:
        """The window of this number; the same whenever and wherever it is asked for."""
        random = np.random.default_rng([self.recipe.seed, number])
        label, by_patient = self._classes[int(random.integers(len(self._classes)))]
        images = by_patient[int(random.integers(len(by_patient)))]
        index = images[int(random.integers(len(images)))]
        labelled = self.slides[index]
        side, whole = labelled.px(self.recipe.windows.side_um), labelled.slide.box
        x, y = random.random(2) * (whole.width - side, whole.height - side)
        kind: Kind = "positive" if label == self.recipe.classes.positive else "other"
        return Window(index, Box(float(x), float(y), side, side), kind)

    @cached_property
    def _classes(self) -> list[tuple[str, list[list[int]]]]:
        """Each class with the images of it, patient by patient."""
        found: dict[str, dict[str, list[int]]] = {}
        for index, labelled in enumerate(self.slides):
            (label,) = labelled.regions.labels
            found.setdefault(label, {}).setdefault(labelled.patient, []).append(index)
        return [(label, [of[patient] for patient in sorted(of)]) for label, of in sorted(found.items())]
