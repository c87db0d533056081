"""Training and validation patches by number: what worker processes read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.recipe import BACKGROUND, IGNORE, Recipe
from histoscout.sampling.augment import draw_pose, read_augmented, vary_colors
from histoscout.sampling.sampler import Patch

Example = tuple[NDArray[np.uint8], NDArray[np.uint8]]
KEPT_BYTES = 2**29
"""Bytes of validation patches that are kept in memory."""


class Sampler(Protocol):
    """Draws a patch for each number; the same number always gives the same patch."""

    def draw(self, number: int) -> Patch: ...


@dataclass(frozen=True)
class SampledExamples:
    """Training examples by number: image (H, W, 3) uint8 and target (H, W) uint8, or () for a tile classifier.

    An example is a function of the recipe's seed and its number alone.

    Attributes:
        slides: The training slides.
        sampler: Draws the patches.
        recipe: The recipe.
    """

    slides: Sequence[LabeledSlide]
    sampler: Sampler
    recipe: Recipe

    def __getitem__(self, number: int) -> Example:
        window = self.sampler.draw(number)
        labeled = self.slides[window.slide]
        # a stream of its own, apart from that of the sampler
        random = np.random.default_rng([self.recipe.seed, number, 1])
        pose = draw_pose(self.recipe.augment, random)
        reads = (labeled.picture, labeled.mask)
        picture, mask = read_augmented(reads, window.box, self.recipe.patches.mpp, pose)
        return vary_colors(picture, self.recipe.augment, random), make_target(mask, self.recipe)


@dataclass(frozen=True)
class PlainExamples:
    """Validation examples: patches without augmentation, kept in memory up to `KEPT_BYTES`.

    Attributes:
        slides: The slides.
        windows: The patches.
        recipe: The recipe.
        kept: Examples that were read, by number.
    """

    slides: Sequence[LabeledSlide]
    windows: Sequence[Patch]
    recipe: Recipe
    kept: dict[int, Example] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> Example:
        if number in self.kept:
            return self.kept[number]
        window = self.windows[number]
        labeled, mpp = self.slides[window.slide], self.recipe.patches.mpp
        example = labeled.picture(window.box, mpp), make_target(labeled.mask(window.box, mpp), self.recipe)
        if (len(self.kept) + 1) * (example[0].nbytes + example[1].nbytes) <= KEPT_BYTES:
            self.kept[number] = example
        return example


def make_target(mask: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.uint8]:
    """The target of a patch: its mask, or for a tile classifier its class.

    A tile is of the first class (the positive one first) that covers at least `tile_coverage` of it; one that a class
    merely touches is ignored, and so is one that is mostly ignored.

    Args:
        mask: Mask (H, W).
        recipe: The recipe.
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
    """Measure the shares of background and each class in the first `count` training examples.

    Args:
        examples: Training patches by number.
        count: How many at most.
    """
    classes = len(examples.recipe.classes.labels) + 1
    totals = np.zeros(256, np.int64)
    for number in range(count):
        totals += np.bincount(examples[number][1].ravel(), minlength=256)
    seen = totals[:classes]
    return [float(value) for value in seen / max(1, seen.sum())]
