"""How well the heatmap tells lesion from the rest of the tissue, pixel by pixel.

A heatmap has 256 levels, so two histograms hold all there is to know: every figure below follows from them
exactly, whatever the size of the slides, and figures of many slides come from the sum of their histograms.
Tiles are counted in the same way, by the level that is a tile's score.

How well tiles with lesion are told from tiles without: the grid a tile classifier works on, for any network.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.detection.grid import LEAST_TISSUE
from histoscout.detection.heatmap import LEVELS, Heatmap, level_of
from histoscout.evaluation.reference import FoundHeatmap, Ground, Strip, strips
from histoscout.geometry.box import TileGrid
from histoscout.recipe import IGNORE

NEARLY_BEST = 0.99
"""Share of the highest Dice that is nearly the highest."""

Counts = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True)
class Figures:
    """Dice, precision and recall at one threshold; None where there is nothing to divide by."""

    dice: float | None
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class Confusion:
    """Pixels at one threshold: found and of the class, found but not of it, missed, rightly left."""

    hits: float
    alarms: float
    misses: float
    rests: float


@dataclass(frozen=True)
class PixelCounts:
    """How many tissue pixels of the class (`positive`) and not of it (`negative`) have each heatmap level.

    Whole numbers, or sums in which patients count by weight.
    """

    positive: Counts
    negative: Counts

    @classmethod
    def none(cls) -> "PixelCounts":
        return cls(np.zeros(LEVELS, np.int64), np.zeros(LEVELS, np.int64))

    @classmethod
    def of(cls, levels: NDArray[np.uint8], truth: NDArray[np.bool_]) -> "PixelCounts":
        """Count pixels given their levels and whether they are of the class; shapes alike."""
        return cls(
            np.bincount(levels[truth], minlength=LEVELS), np.bincount(levels[~truth], minlength=LEVELS)
        )

    @classmethod
    def total(cls, counts: Iterable["PixelCounts"]) -> "PixelCounts":
        return sum(counts, cls.none())

    def __add__(self, other: "PixelCounts") -> "PixelCounts":
        return PixelCounts(self.positive + other.positive, self.negative + other.negative)

    @classmethod
    def in_strip(cls, strip: Strip) -> "PixelCounts":
        """Count the pixels of a strip that count."""
        return cls(
            *(_histogram(strip.levels, strip.counted & part) for part in (strip.mask == 1, strip.mask != 1))
        )

    def moved_to(self, level: int) -> "PixelCounts":
        """The same pixels, all of one level: what a finder that says the same everywhere would get."""
        one = np.zeros(LEVELS, np.int64)
        one[level] = 1
        return PixelCounts(one * self.positive.sum(), one * self.negative.sum())

    @property
    def prevalence(self) -> float | None:
        """Share of the tissue that is of the class: what "all tissue is lesion" would have as its precision."""
        return ratio(self.positive.sum(), self.positive.sum() + self.negative.sum())

    @property
    def ap(self) -> float | None:
        """Average precision: the mean of precision over recall, as scikit-learn defines it; None without the class."""
        total = self.positive.sum()
        if not total:
            return None
        hits, alarms = self.at_least()
        found = hits + alarms
        precision = np.divide(hits, found, out=np.zeros(LEVELS), where=found > 0)
        return float(self.positive @ precision / total)

    @property
    def auroc(self) -> float | None:
        """The chance that a pixel of the class has a higher level than one that is not; ties count half."""
        pairs = self.positive.sum() * self.negative.sum()
        below = np.cumsum(self.negative) - self.negative
        return ratio(float(self.positive @ (below + self.negative / 2)), pairs)

    def at(self, threshold: float) -> Figures:
        """The figures if every pixel of at least this probability counts as found."""
        seen = self.confusion(threshold)
        return Figures(
            ratio(2 * seen.hits, 2 * seen.hits + seen.alarms + seen.misses),
            ratio(seen.hits, seen.hits + seen.alarms),
            ratio(seen.hits, seen.hits + seen.misses),
        )

    def confusion(self, threshold: float) -> Confusion:
        """How many pixels are found rightly, found wrongly, missed, and rightly left at a threshold."""
        level = min(LEVELS, level_of(threshold))
        parts = (self.positive[level:], self.negative[level:], self.positive[:level], self.negative[:level])
        return Confusion(*(part.sum().item() for part in parts))

    def row(self, threshold: float) -> dict[str, float | None]:
        """AP, Dice, precision, recall and prevalence by name."""
        figures = self.at(threshold)
        return {
            "ap": self.ap,
            "dice": figures.dice,
            "precision": figures.precision,
            "recall": figures.recall,
            "prevalence": self.prevalence,
        }

    def best_threshold(self) -> float:
        """The middle of the thresholds whose Dice is nearly the highest; for tuning patients only.

        Dice hardly changes over a wide range of thresholds, and where in it the highest lies is luck with few patients.
        """
        hits, alarms = self.at_least()
        dice = 2 * hits / np.maximum(hits + alarms + self.positive.sum(), 1)
        best = (
            np.flatnonzero(dice[1:] >= NEARLY_BEST * dice[1:].max()) + 1
        )  # level 0 would call everything found
        return float(best[len(best) // 2]) / (LEVELS - 1)

    def at_least(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixels of the class, and not of it, at or above each level: float64 (256,) twice."""
        both = (self.positive[::-1], self.negative[::-1])
        hits, alarms = (np.cumsum(counts, dtype=np.float64)[::-1] for counts in both)
        return hits, alarms


def ratio(part: float, whole: float) -> float | None:
    """A share; None where there is nothing to have a share of."""
    return float(part / whole) if whole else None


def _histogram(levels: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many of the pixels have each level; Pillow counts them without copying."""
    if not where.any():
        return np.zeros(LEVELS, np.int64)
    picture, shown = Image.fromarray(levels), Image.fromarray(where.view(np.uint8))
    return np.array(picture.histogram(shown), np.int64)


def count_pixels(labeled: LabeledSlide, heatmap: Heatmap, label: str) -> PixelCounts:
    """Histogram the tissue of one slide by heatmap level, the positive class apart from the rest."""
    found = FoundHeatmap(heatmap, label, labeled.recipe.patches.mpp)
    return PixelCounts.total(PixelCounts.in_strip(strip) for strip in strips(Ground.of(labeled), found))


_Levels = NDArray[np.uint8]


def count_tiles(strip: Strip, ground: Ground) -> PixelCounts:
    """The tiles of a strip by their scores: those of the positive class, and those that are not.

    The strip begins where a row of tiles does. What a tile is follows the rule that tile classifiers are taught by
    (`windows.examples.target_of`): it is of the first class (the positive one first) that covers at least
    `tile_share` of it; one that a class merely touches is ignored, and so is one that is mostly ignored. Only
    tiles that detection would look at count. A tile's score is the highest probability that at least
    `tile_share` of it reaches: at any threshold, the tile is found if so much of it is found.
    """
    side = ground.recipe.patch_px
    worth = _with_tissue(strip, ground, side)
    masks = _tiles(strip.mask, side)[worth]
    truth = _classes(masks, ground)
    known = truth != IGNORE
    scores = _scores(_tiles(strip.levels, side)[worth][known], ground.recipe.patches.tile_coverage)
    return PixelCounts.of(scores, truth[known] == 1)


def _with_tissue(strip: Strip, ground: Ground, side: int) -> NDArray[np.bool_]:
    """Whether each tile of a strip shows tissue, row by row: bool (N,)."""
    rows, columns = (math.ceil(length / side) for length in strip.mask.shape)
    px = side * strip.box.width / strip.mask.shape[1]
    grid = TileGrid(strip.box, px, px)
    boxes = [grid.at(row, column) for row in range(rows) for column in range(columns)]
    return ground.tissue.shares(boxes) >= LEAST_TISSUE


def _tiles(values: _Levels, side: int) -> _Levels:
    """The tiles of a raster row by row, 0 beyond its edges: uint8 (N, side * side)."""
    rows, columns = (math.ceil(length / side) for length in values.shape)
    beyond = [(0, count * side - length) for count, length in zip((rows, columns), values.shape, strict=True)]
    whole = np.pad(values, beyond) if any(after for _, after in beyond) else values
    tiles: _Levels = whole.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side * side)
    return tiles


def _classes(masks: _Levels, ground: Ground) -> _Levels:
    """The class of each tile, 0 for none, 255 to be ignored: uint8 (N,)."""
    classes = range(1, len(ground.recipe.classes.labels) + 1)
    shares = {value: (masks == value).mean(1) for value in (*classes, IGNORE)}
    touched = np.any([shares[value] > 0 for value in classes], axis=0) | (shares[IGNORE] > 0.5)
    found = np.where(touched, IGNORE, 0).astype(np.uint8)
    for value in reversed(classes):
        found[(shares[value] > 0) & (shares[value] >= ground.recipe.patches.tile_coverage)] = value
    return found


def _scores(tiles: _Levels, share: float) -> _Levels:
    """The level that at least a share of each tile's pixels has or passes: uint8 (N,)."""
    size = tiles.shape[1]
    enough = max(1, math.ceil(share * size - 1e-9))
    ordered = np.sort(tiles, axis=1, kind="stable")  # counts the levels: faster than a partition
    scores: _Levels = ordered[:, size - enough]
    return scores
