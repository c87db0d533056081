"""Where training patches are drawn: a seeded sampler, and the regular grid of validation patches.

A patch is a function of the seed and its number alone, so that any number of workers, and a run that was killed and
resumed, draw the same patches.
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

Kind = Literal["positive", "other", "tissue"]

TRIES = 2_000
"""Draws after which a place outside the tuning blocks is given up."""

T = TypeVar("T")


@dataclass(frozen=True)
class Patch:
    """A patch: a box on a slide.

    Attributes:
        slide: Index of the slide.
        box: The box in level-0 px.
        kind: What it was drawn for.
    """

    slide: int
    box: Box
    kind: Kind | Literal["grid"]


@dataclass(frozen=True)
class PatchSampler:
    """Draws training patches: on positive regions, on other annotated classes, anywhere in the tissue.

    Balanced in steps: first the kind by the recipe's shares, then a patient who has it, then one of the patient's
    slides, then a region or a point of tissue.

    Attributes:
        slides: The training slides.
        recipe: Shares, patch size and jitter.
        kept_out: Boxes of slides, by index, that no patch may touch.
    """

    slides: Sequence[LabeledSlide]
    recipe: Recipe
    kept_out: Mapping[int, Sequence[Box]]

    def draw(self, number: int) -> Patch:
        """Draw the patch of a number; the same number always gives the same patch."""
        random = np.random.default_rng([self.recipe.seed, number])
        for _ in range(TRIES):
            patch = self._draw_once(random)
            # what rotation and scaling may bring into the patch must not touch a tuning block either
            reach = patch.box.expand(patch.box.width * self._margin)
            if not intersects_any(self.kept_out.get(patch.slide, ()), reach):
                return patch
        raise TrainingError(
            self.slides[patch.slide].slide.name,
            f"no place for a training patch outside the tuning blocks in {TRIES} tries",
            "Give more or larger slides, of two patients with lesions at least, or a smaller patches.size_um",
        )

    @cached_property
    def _margin(self) -> float:
        """How far a rotated and scaled patch reaches beyond its box, in sides of the box."""
        choices = self.recipe.augment
        return ((1 + choices.scale) * (math.sqrt(2) if choices.rotate else 1.0) - 1) / 2

    def _draw_once(self, random: Generator) -> Patch:
        # kind, then patient, then slide, so that no patient or slide dominates
        kinds, shares = self._kinds
        kind = kinds[int(random.choice(len(kinds), p=shares))]
        by_patient = self._places[kind]
        slides = by_patient[_pick(sorted(by_patient), random)]
        index = _pick(slides, random)
        labeled = self.slides[index]
        if kind == "tissue":
            x, y = self._point_of_tissue(index, random)
        else:
            x, y = _point_inside(_pick(self._regions(labeled, kind), random), random)
        side = labeled.px(self.recipe.patches.size_um)
        jitter = (random.random(2) - 0.5) * side * self.recipe.sampler.jitter
        return Patch(index, Box.around(round(x + jitter[0]), round(y + jitter[1]), side, side), kind)

    def _regions(self, labeled: LabeledSlide, kind: Kind) -> list[Region]:
        positive = self.recipe.classes.positive
        wanted = (
            (positive,) if kind == "positive" else tuple(set(labeled.regions.labels) - {positive, "ignore"})
        )
        return list(labeled.regions.with_labels(*wanted))

    @cached_property
    def _places(self) -> dict[Kind, dict[str, list[int]]]:
        """For each kind and patient, the slides that have it."""
        places: dict[Kind, dict[str, list[int]]] = {}
        for kind in ("positive", "other", "tissue"):
            by_patient = defaultdict(list)
            for index, labeled in enumerate(self.slides):
                if len(self._tissue_pixels[index]) if kind == "tissue" else self._regions(labeled, kind):
                    by_patient[labeled.patient].append(index)
            places[kind] = dict(by_patient)
        return places

    @cached_property
    def _kinds(self) -> tuple[list[Kind], list[float]]:
        """The kinds that exist, and their shares; the share of other classes goes to the tissue if there are none."""
        choices = self.recipe.sampler
        wanted: dict[Kind, float] = {
            "positive": choices.positive,
            "other": choices.other,
            "tissue": choices.tissue,
        }
        if not self._places["other"]:
            wanted["tissue"] += wanted.pop("other")
        kinds = [kind for kind in wanted if self._places[kind] and wanted[kind] > 0]
        total = sum(wanted[kind] for kind in kinds)
        return kinds, [wanted[kind] / total for kind in kinds]

    def _point_of_tissue(self, index: int, random: Generator) -> tuple[float, float]:
        tissue = self.slides[index].tissue
        row, column = divmod(int(random.choice(self._tissue_pixels[index])), tissue.mask.shape[1])
        offset = random.random(2)
        return (column + offset[0]) * tissue.scale, (row + offset[1]) * tissue.scale

    @cached_property
    def _tissue_pixels(self) -> list[np.ndarray[tuple[int], np.dtype[np.intp]]]:
        """The pixels of each tissue mask that are not ignored."""
        return [np.flatnonzero(counted_tissue(labeled.tissue, labeled.regions)) for labeled in self.slides]


def _pick(items: Sequence[T], random: Generator) -> T:
    return items[int(random.integers(len(items)))]


def _point_inside(region: Region, random: Generator) -> tuple[float, float]:
    """A random point of the region; for very thin outlines some point of it."""
    box = region.box
    points = random.random((32, 2)) * (box.width, box.height) + (box.x, box.y)
    inside = points[shapely.contains_xy(region.outline, points)]
    if len(inside):
        return float(inside[0, 0]), float(inside[0, 1])
    point = region.outline.representative_point()
    return point.x, point.y


def grid_patches(
    slides: Sequence[LabeledSlide], recipe: Recipe, within: Mapping[int, Sequence[Box]]
) -> list[Patch]:
    """List the patches of the regular grid that hold tissue, slide by slide.

    No patch reaches out of a box that is large enough for one: beyond it there may be training patches.

    Args:
        slides: The slides.
        recipe: The recipe.
        within: Boxes of slides, by index, of which only these boxes are used.
    """
    windows = []
    for index, labeled in enumerate(slides):
        side = labeled.px(recipe.patches.size_um)
        tiles: Sequence[Box] = TileGrid(labeled.slide.box, side, side)
        if index in within:
            tiles = [tile for box in within[index] for tile in _tiles_of(box, side)]
        counted = replace(labeled.tissue, mask=counted_tissue(labeled.tissue, labeled.regions))
        shares = counted.fractions(tiles)
        windows += [
            Patch(index, tile, "grid") for tile, share in zip(tiles, shares, strict=True) if share > 0
        ]
    return windows


def _tiles_of(box: Box, side: float) -> list[Box]:
    """Tiles that cover a box without reaching beyond it, with overlap; one in the middle of a small box."""
    columns, rows = (
        np.linspace(start, start + length - side, math.ceil(length / side - 1e-9))
        if length > side
        else [start + (length - side) / 2]
        for start, length in ((box.x, box.width), (box.y, box.height))
    )
    return [Box(float(x), float(y), side, side) for y in rows for x in columns]


def choose_evenly(windows: Sequence[Patch], count: int, seed: int) -> list[Patch]:
    """Choose at most `count` of the patches, the same for the same seed, in their own order.

    Args:
        windows: The patches.
        count: How many at most.
        seed: Random seed.
    """
    if len(windows) <= count:
        return list(windows)
    chosen = np.random.default_rng(seed).permutation(len(windows))[:count]
    return [windows[i] for i in sorted(chosen)]


@dataclass(frozen=True)
class ImageSampler:
    """Draws training patches on image classification data: every class as often as any other.

    Balanced in steps: first a class, then a patient who has it, then one of the patient's images of it, then a
    position. An image that is smaller than the patch is shown as a whole, anywhere in it.

    Attributes:
        slides: The images.
        recipe: Patch size and seed.
    """

    slides: Sequence[LabeledSlide]
    recipe: Recipe

    def draw(self, number: int) -> Patch:
        """Draw the patch of a number; the same number always gives the same patch."""
        random = np.random.default_rng([self.recipe.seed, number])
        label, by_patient = self._classes[int(random.integers(len(self._classes)))]
        images = by_patient[int(random.integers(len(by_patient)))]
        index = images[int(random.integers(len(images)))]
        labeled = self.slides[index]
        side, whole = labeled.px(self.recipe.patches.size_um), labeled.slide.box
        x, y = random.random(2) * (whole.width - side, whole.height - side)
        kind: Kind = "positive" if label == self.recipe.classes.positive else "other"
        return Patch(index, Box(float(x), float(y), side, side), kind)

    @cached_property
    def _classes(self) -> list[tuple[str, list[list[int]]]]:
        """Each class with the images of it, patient by patient."""
        found: dict[str, dict[str, list[int]]] = {}
        for index, labeled in enumerate(self.slides):
            (label,) = labeled.regions.labels
            found.setdefault(label, {}).setdefault(labeled.patient, []).append(index)
        return [(label, [of[patient] for patient in sorted(of)]) for label, of in sorted(found.items())]
