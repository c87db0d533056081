"""Training and validation patches by number: image and target, as worker processes read them."""

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
"""Image (H, W, 3) uint8 and target (H, W) uint8, or () for a tile classifier."""

CACHE_BYTES = 2**29
"""Bytes of validation patches that are kept in memory."""


class Sampler(Protocol):
    """Draws a patch for each number; the same number always gives the same patch."""

    def draw(self, number: int) -> Patch:
        """Draw the patch of a number."""
        ...


@dataclass(frozen=True)
class SampledExamples:
    """Training examples by number: augmented patches with their targets.

    An example depends on the recipe's seed and its number alone.

    Attributes:
        slides: The training slides.
        sampler: Draws the patches.
        recipe: The recipe.
    """

    slides: Sequence[LabeledSlide]
    sampler: Sampler
    recipe: Recipe

    def __getitem__(self, number: int) -> Example:
        patch = self.sampler.draw(number)
        slide = self.slides[patch.slide]
        # a random stream of its own, independent of the sampler's
        random = np.random.default_rng([self.recipe.seed, number, 1])
        pose = draw_pose(self.recipe.augment, random)
        reads = (slide.picture, slide.mask)
        image, mask = read_augmented(reads, patch.box, mpp=self.recipe.patches.mpp, pose=pose)
        return vary_colors(image, self.recipe.augment, random), make_target(mask, self.recipe)


@dataclass(frozen=True, kw_only=True)
class PlainExamples:
    """Validation examples: patches without augmentation, kept in memory up to `CACHE_BYTES`.

    Attributes:
        slides: The slides.
        patches: The patches.
        recipe: The recipe.
        cache: Examples that were read, by number.
    """

    slides: Sequence[LabeledSlide]
    patches: Sequence[Patch]
    recipe: Recipe
    cache: dict[int, Example] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, number: int) -> Example:
        if number in self.cache:
            return self.cache[number]
        patch = self.patches[number]
        slide, mpp = self.slides[patch.slide], self.recipe.patches.mpp
        example = slide.picture(patch.box, mpp), make_target(slide.mask(patch.box, mpp), self.recipe)
        if (len(self.cache) + 1) * (example[0].nbytes + example[1].nbytes) <= CACHE_BYTES:
            self.cache[number] = example
        return example


def make_target(mask: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.uint8]:
    """Make the target of a patch: its mask, or for a tile classifier the class of the tile.

    A tile has the first class (the positive one comes first) that covers at least `tile_coverage` of it. A tile that
    classes only touch is ignored, and so is one that is mostly ignored.

    Args:
        mask: Mask (H, W) uint8.
        recipe: The recipe.

    Returns:
        (H, W) uint8, or () for a tile classifier.
    """
    if not recipe.network.predicts_tiles:
        return mask
    shares = np.bincount(mask.ravel(), minlength=256) / mask.size
    classes = range(1, len(recipe.classes.labels) + 1)
    for value in classes:
        if shares[value] > 0 and shares[value] >= recipe.patches.tile_coverage:
            return np.array(value, np.uint8)
    is_ambiguous = any(shares[value] > 0 for value in classes) or shares[IGNORE] > 0.5
    return np.array(IGNORE if is_ambiguous else BACKGROUND, np.uint8)


def class_shares(examples: SampledExamples, count: int) -> list[float]:
    """Measure the shares of background and each class in the first `count` training examples.

    Args:
        examples: Training patches by number.
        count: Number of examples.

    Returns:
        Shares of the pixels (or tiles) that are not ignored: background, then the classes in the recipe's order.
    """
    class_count = len(examples.recipe.classes.labels) + 1
    totals = np.zeros(256, np.int64)
    for number in range(count):
        totals += np.bincount(examples[number][1].ravel(), minlength=256)
    counted = totals[:class_count]
    return [float(value) for value in counted / max(1, counted.sum())]
