"""Where training patches are drawn: seeded samplers, and the regular grid of validation patches.

A patch depends on the seed and its number alone. So any number of workers, and a run that was stopped and resumed, draw
the same patches.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
import shapely
from numpy.random import Generator

from histoscout.cohort.annotated_slide import LabeledSlide, counted_tissue, intersects_any
from histoscout.errors import TrainingError
from histoscout.geometry.box import Box, TileGrid
from histoscout.geometry.regions import Region
from histoscout.recipe import Recipe

PatchKind = Literal["positive", "other", "tissue"]

MAX_TRIES = 2_000
"""Draws after which the search for a patch outside the tuning blocks stops."""

T = TypeVar("T")


@dataclass(frozen=True)
class Patch:
    """A patch: a box on a slide.

    Attributes:
        slide: Index of the slide.
        box: The box in level-0 px.
        kind: What it was drawn for: a class, tissue, or the grid.
    """

    slide: int
    box: Box
    kind: PatchKind | Literal["grid"]


# ---------------------------------------------------------------- training


@dataclass(frozen=True)
class PatchSampler:
    """Draws training patches: on positive regions, on other annotated classes, anywhere in the tissue.

    Sampling is balanced in steps: first the kind by the recipe's shares, then a patient who has it, then one of the
    patient's slides, then a region or a point of tissue.

    Attributes:
        slides: The training slides.
        recipe: Shares, patch size and jitter.
        excluded_boxes: Boxes that no patch may touch (tuning blocks), by index of the slide, in level-0 px.
    """

    slides: Sequence[LabeledSlide]
    recipe: Recipe
    excluded_boxes: Mapping[int, Sequence[Box]]

    def draw(self, number: int) -> Patch:
        """Draw the patch of a number; the same number always gives the same patch.

        Args:
            number: Number of the patch, from 0.

        Returns:
            The patch. No rotation or scaling of the recipe brings an excluded box into it.

        Raises:
            TrainingError: If no patch fits outside the excluded boxes.
        """
        random = np.random.default_rng([self.recipe.seed, number])
        for _ in range(MAX_TRIES):
            patch = self._draw_once(random)
            # what rotation and scaling may bring into the patch must not touch a tuning block either
            reach = patch.box.expand(patch.box.width * self._margin)
            if not intersects_any(self.excluded_boxes.get(patch.slide, ()), reach):
                return patch
        raise TrainingError(
            self.slides[patch.slide].slide.name,
            f"no training patch fits outside the tuning blocks ({MAX_TRIES:,} tries)",
            "Add more or larger slides, from at least two patients with lesions, or make patches.size_um smaller",
        )

    @cached_property
    def _margin(self) -> float:
        """How far a rotated and scaled patch reaches beyond its box, in sides of the box."""
        choices = self.recipe.augment
        return ((1 + choices.scale) * (math.sqrt(2) if choices.rotate else 1.0) - 1) / 2

    def _draw_once(self, random: Generator) -> Patch:
        # kind, then patient, then slide, so that no patient or slide dominates
        kinds, shares = self._kind_shares
        kind = kinds[int(random.choice(len(kinds), p=shares))]
        by_patient = self._slides_by_kind[kind]
        index = _choose(by_patient[_choose(sorted(by_patient), random)], random)
        slide = self.slides[index]
        # a point of tissue, or in a region
        if kind == "tissue":
            x, y = self._point_of_tissue(index, random)
        else:
            x, y = _point_inside(_choose(self._regions(slide, kind), random), random)
        # jitter, so that lesions are not always in the middle
        side = slide.px(self.recipe.patches.size_um)
        jitter = (random.random(2) - 0.5) * side * self.recipe.sampler.jitter
        return Patch(index, Box.around(round(x + jitter[0]), round(y + jitter[1]), side, side), kind)

    def _regions(self, slide: LabeledSlide, kind: PatchKind) -> list[Region]:
        """The slide's regions of the positive class, or of the other annotated classes."""
        positive = self.recipe.classes.positive
        others = tuple(set(slide.regions.labels) - {positive, "ignore"})
        return list(slide.regions.with_labels(*((positive,) if kind == "positive" else others)))

    @cached_property
    def _slides_by_kind(self) -> dict[PatchKind, dict[str, list[int]]]:
        """For each kind and patient, the slides that have it."""
        slides_by_kind: dict[PatchKind, dict[str, list[int]]] = {}
        for kind in ("positive", "other", "tissue"):
            by_patient = defaultdict(list)
            for index, slide in enumerate(self.slides):
                if len(self._tissue_pixels[index]) if kind == "tissue" else self._regions(slide, kind):
                    by_patient[slide.patient].append(index)
            slides_by_kind[kind] = dict(by_patient)
        return slides_by_kind

    @cached_property
    def _kind_shares(self) -> tuple[list[PatchKind], list[float]]:
        """The kinds that exist, and their shares."""
        choices = self.recipe.sampler
        shares: dict[PatchKind, float] = {
            "positive": choices.positive,
            "other": choices.other,
            "tissue": choices.tissue,
        }
        # without other classes, tissue gets their share
        if not self._slides_by_kind["other"]:
            shares["tissue"] += shares.pop("other")
        kinds = [kind for kind in shares if self._slides_by_kind[kind] and shares[kind] > 0]
        total = sum(shares[kind] for kind in kinds)
        return kinds, [shares[kind] / total for kind in kinds]

    def _point_of_tissue(self, index: int, random: Generator) -> tuple[float, float]:
        """A random point of tissue that is not ignored, in level-0 px."""
        tissue = self.slides[index].tissue
        row, column = divmod(int(random.choice(self._tissue_pixels[index])), tissue.mask.shape[1])
        offset = random.random(2)
        return (column + offset[0]) * tissue.scale, (row + offset[1]) * tissue.scale

    @cached_property
    def _tissue_pixels(self) -> list[np.ndarray[tuple[int], np.dtype[np.intp]]]:
        """The pixels of each tissue mask that are not ignored."""
        return [np.flatnonzero(counted_tissue(slide.tissue, slide.regions)) for slide in self.slides]


def _choose(items: Sequence[T], random: Generator) -> T:
    return items[int(random.integers(len(items)))]


def _point_inside(region: Region, random: Generator) -> tuple[float, float]:
    """A random point of the region in level-0 px; for very thin outlines any point of it."""
    box = region.box
    points = random.random((32, 2)) * (box.width, box.height) + (box.x, box.y)
    inside = points[shapely.contains_xy(region.outline, points)]
    if len(inside):
        return float(inside[0, 0]), float(inside[0, 1])
    point = region.outline.representative_point()
    return point.x, point.y


@dataclass(frozen=True)
class ImageSampler:
    """Draws training patches on image classification data: every class as often as any other.

    Sampling is balanced in steps: first a class, then a patient who has it, then one of the patient's images of it,
    then a position. An image that is smaller than the patch is shown as a whole, anywhere in it.

    Attributes:
        slides: The images; each has regions of one class.
        recipe: Patch size and seed.
    """

    slides: Sequence[LabeledSlide]
    recipe: Recipe

    def draw(self, number: int) -> Patch:
        """Draw the patch of a number; the same number always gives the same patch.

        Args:
            number: Number of the patch, from 0.

        Returns:
            The patch, of kind "positive" or "other".
        """
        random = np.random.default_rng([self.recipe.seed, number])
        # class, then patient, then image
        label, images_by_patient = _choose(self._images_by_class, random)
        index = _choose(_choose(images_by_patient, random), random)
        # a position at which the patch is inside the image, or the image inside the patch
        slide = self.slides[index]
        side, whole = slide.px(self.recipe.patches.size_um), slide.slide.box
        x, y = random.random(2) * (whole.width - side, whole.height - side)
        kind: PatchKind = "positive" if label == self.recipe.classes.positive else "other"
        return Patch(index, Box(float(x), float(y), side, side), kind)

    @cached_property
    def _images_by_class(self) -> list[tuple[str, list[list[int]]]]:
        """Each class with its images, patient by patient."""
        images: dict[str, dict[str, list[int]]] = {}
        for index, slide in enumerate(self.slides):
            (label,) = slide.regions.labels
            images.setdefault(label, {}).setdefault(slide.patient, []).append(index)
        return [
            (label, [by_patient[patient] for patient in sorted(by_patient)])
            for label, by_patient in sorted(images.items())
        ]


# ---------------------------------------------------------------- validation


def grid_patches(
    slides: Sequence[LabeledSlide], recipe: Recipe, within: Mapping[int, Sequence[Box]]
) -> list[Patch]:
    """List the patches of the regular grid that hold tissue, slide by slide.

    No patch reaches out of a box that is large enough for one: beyond it there may be training patches.

    Args:
        slides: The slides.
        recipe: The recipe.
        within: Boxes (tuning blocks) by index of the slide, in level-0 px: of these slides only the boxes are used.

    Returns:
        The patches, of kind "grid".
    """
    patches = []
    for index, slide in enumerate(slides):
        side = slide.px(recipe.patches.size_um)
        tiles: Sequence[Box] = TileGrid(slide.slide.box, side, side)
        if index in within:
            tiles = [tile for box in within[index] for tile in _tiles_of(box, side)]
        # leave out tiles without tissue that counts
        counted = replace(slide.tissue, mask=counted_tissue(slide.tissue, slide.regions))
        shares = counted.fractions(tiles)
        patches += [
            Patch(index, tile, "grid") for tile, share in zip(tiles, shares, strict=True) if share > 0
        ]
    return patches


def _tiles_of(box: Box, side: float) -> list[Box]:
    """Overlapping tiles that cover a box without reaching beyond it; one in the middle of a small box."""
    columns, rows = (
        np.linspace(start, start + length - side, math.ceil(length / side - 1e-9))
        if length > side
        else [start + (length - side) / 2]
        for start, length in ((box.x, box.width), (box.y, box.height))
    )
    return [Box(float(x), float(y), side, side) for y in rows for x in columns]


def choose_evenly(patches: Sequence[Patch], count: int, seed: int) -> list[Patch]:
    """Choose at most `count` of the patches at random, in their own order.

    Args:
        patches: The patches.
        count: How many to choose at most.
        seed: Random seed; the same seed gives the same choice.

    Returns:
        The chosen patches.
    """
    if len(patches) <= count:
        return list(patches)
    chosen = np.random.default_rng(seed).permutation(len(patches))[:count]
    return [patches[index] for index in sorted(chosen)]
