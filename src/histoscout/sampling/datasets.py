"""Windows to arrays: what the worker processes of training do."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.recipe import BACKGROUND, IGNORE, Recipe
from histoscout.sampling.augment import draw_pose, read_posed, vary_colors
from histoscout.sampling.sampler import Window

Example = tuple[NDArray[np.uint8], NDArray[np.uint8]]
KEPT_BYTES = 2**29  # of validation windows: they are looked at again and again


class Sampler(Protocol):
    """Draws a window for each number; the same number, the same window."""

    def draw(self, number: int) -> Window: ...


@dataclass(frozen=True)
class SampledExamples:
    """Training examples by number: picture uint8 (H, W, 3) and target uint8 (H, W), or () for a tile classifier.

    An example is a function of the recipe's seed and its number alone.
    """

    slides: Sequence[LabeledSlide]
    sampler: Sampler
    recipe: Recipe

    def __getitem__(self, number: int) -> Example:
        window = self.sampler.draw(number)
        labeled = self.slides[window.slide]
        random = np.random.default_rng([self.recipe.seed, number, 1])  # apart from the sampler's own draws
        pose = draw_pose(self.recipe.augment, random)
        reads = (labeled.picture, labeled.mask)
        picture, mask = read_posed(reads, window.box, self.recipe.patches.mpp, pose)
        return vary_colors(picture, self.recipe.augment, random), target_of(mask, self.recipe)


@dataclass(frozen=True)
class PlainExamples:
    """Validation examples: the windows as they are, nothing varied; read once, and kept as far as half a GiB goes."""

    slides: Sequence[LabeledSlide]
    windows: Sequence[Window]
    recipe: Recipe
    kept: dict[int, Example] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> Example:
        if number in self.kept:
            return self.kept[number]
        window = self.windows[number]
        labeled, mpp = self.slides[window.slide], self.recipe.patches.mpp
        example = labeled.picture(window.box, mpp), target_of(labeled.mask(window.box, mpp), self.recipe)
        if (len(self.kept) + 1) * (example[0].nbytes + example[1].nbytes) <= KEPT_BYTES:
            self.kept[number] = example
        return example


def target_of(mask: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.uint8]:
    """What the network should answer: the mask itself, or for a tile classifier the tile's one class.

    A tile is of the first class (the positive one first) that covers at least `tile_share` of it; one that a class
    merely touches is ignored, and so is one that is mostly ignored.
    """
    if not recipe.network.predicts_tiles:
        return mask
    shares = np.bincount(mask.ravel(), minlength=256) / mask.size
    classes = range(1, len(recipe.classes.labels) + 1)
    least = recipe.patches.tile_coverage
    for value in classes:
        if shares[value] > 0 and shares[value] >= least:
            return np.array(value, np.uint8)
    touched = any(shares[value] > 0 for value in classes) or shares[IGNORE] > 0.5
    return np.array(IGNORE if touched else BACKGROUND, np.uint8)


def class_shares(examples: SampledExamples, count: int) -> list[float]:
    """How common background and each class are among the first `count` training examples."""
    classes = len(examples.recipe.classes.labels) + 1
    totals = np.zeros(256, np.int64)
    for number in range(count):
        totals += np.bincount(examples[number][1].ravel(), minlength=256)
    seen = totals[:classes]
    return [float(value) for value in seen / max(1, seen.sum())]
