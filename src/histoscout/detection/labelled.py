"""A slide with its outlines and its tissue, as training and evaluation see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from histoscout.cohort.cohort import Case
from histoscout.cohort.labelled import labelled_regions
from histoscout.cohort.open_case import open_case
from histoscout.detection.tissue import Tissue, find_tissue
from histoscout.geometry.box import Box
from histoscout.geometry.raster import label_map
from histoscout.geometry.regions import Regions
from histoscout.recipe import IGNORE, Classes, Recipe
from histoscout.slides.slide import Slide

Layers = tuple[tuple[Regions, int], ...]


@dataclass(frozen=True)
class LabelledSlide:
    """One slide of a cohort, its regions with the recipe's labels, and where its tissue lies."""

    slide: Slide
    patient: str
    regions: Regions
    tissue: Tissue
    recipe: Recipe

    @cached_property
    def layers(self) -> Layers:
        """What to rasterise, in order (see `layers_of`)."""
        return layers_of(self.regions, self.recipe.classes)

    def picture(self, box: Box, mpp: float) -> NDArray[np.uint8]:
        """The slide inside the box as a network is shown it, pen marks covered: uint8 (H, W, 3)."""
        return self.tissue.covered(self.slide.read(box, mpp), box, mpp / self.slide.mpp)

    def mask(self, box: Box, mpp: float) -> NDArray[np.uint8]:
        """The class of each pixel of `picture(box, mpp)`: 0 background, 1 positive, 2.. other, 255 ignore."""
        return label_map(self.layers, box, mpp / self.slide.mpp)

    @property
    def has_positive(self) -> bool:
        return len(self.regions.labelled(self.recipe.classes.positive)) > 0

    def px(self, um: float) -> float:
        """A length in level-0 px of this slide."""
        return um / self.slide.mpp


def open_labelled(case: Case, recipe: Recipe) -> tuple[LabelledSlide, tuple[str, ...]]:
    """Open a case's slide and outlines and find its tissue; and what a user should know about it."""
    slide = open_case(case)
    annotations = labelled_regions(case, recipe.classes, slide)
    tissue = find_tissue(slide, recipe.tissue, recipe.windows)
    labelled = LabelledSlide(slide, case.patient, annotations.regions, tissue, recipe)
    return labelled, (*slide.notes, *annotations.notes, *tissue.notes)


def layers_of(regions: Regions, classes: Classes) -> Layers:
    """What to rasterise, in order: other classes, the positive one, and last what is to be ignored."""
    values = {label: value for value, label in enumerate(classes.labels, start=1)}
    painted = [(regions.labelled(label), values[label]) for label in reversed(classes.labels)]
    return (*painted, (regions.labelled("ignore"), IGNORE))


def counted_tissue(tissue: Tissue, regions: Regions) -> NDArray[np.bool_]:
    """The tissue's mask, bool (H, W), without the areas that are to be ignored."""
    ignored = regions.labelled("ignore")
    if not len(ignored):
        return tissue.mask
    rows, columns = (length * tissue.scale for length in tissue.mask.shape)
    grid = Box(tissue.box.x, tissue.box.y, columns, rows)
    counted: NDArray[np.bool_] = tissue.mask & (label_map([(ignored, 1)], grid, tissue.scale) == 0)
    return counted


def any_meets(boxes: Sequence[Box], box: Box) -> bool:
    """Whether one of the boxes overlaps this box."""
    return any(box.intersection(other) for other in boxes)
