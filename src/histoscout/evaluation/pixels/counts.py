"""Histograms of heatmap levels over pixels and tiles, of lesions and of other tissue.

A heatmap has 256 levels, so two histograms hold all that pixel metrics need: metrics follow from them
exactly, whatever the size of the slides, and metrics of many slides follow from the sum of their histograms.
Tiles are counted likewise, by the level that is a tile's score: the grid of a tile classifier, for any
network.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.detection.grid import MIN_TISSUE
from histoscout.detection.heatmap import LEVELS, Heatmap, threshold_level
from histoscout.evaluation.reference import HeatmapRaster, Reference, Strip, iterate_strips
from histoscout.geometry.box import TileGrid
from histoscout.recipe import IGNORE

NEAR_BEST_DICE = 0.99
"""From this share of the highest Dice on, a threshold is nearly the best."""

Counts = NDArray[np.int64] | NDArray[np.float64]

_Levels = NDArray[np.uint8]


@dataclass(frozen=True)
class ThresholdMetrics:
    """Dice, precision and recall at one threshold; None where the denominator is 0."""

    dice: float | None
    precision: float | None
    recall: float | None


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Pixels of the positive class against the rest, at one threshold.

    Attributes:
        tp: True positives.
        fp: False positives.
        fn: False negatives.
        tn: True negatives.
    """

    tp: float
    fp: float
    fn: float
    tn: float


@dataclass(frozen=True)
class PixelCounts:
    """Histograms of heatmap levels over tissue pixels: of the positive class, and of the rest.

    Attributes:
        positive: Pixels of the class at each level, (256,): whole numbers, or sums weighted by patient.
        negative: Pixels that are not of the class at each level, (256,).
    """

    positive: Counts
    negative: Counts

    @classmethod
    def empty(cls) -> "PixelCounts":
        """Histograms of no pixels."""
        return cls(np.zeros(LEVELS, np.int64), np.zeros(LEVELS, np.int64))

    @classmethod
    def from_levels(cls, levels: NDArray[np.uint8], truth: NDArray[np.bool_]) -> "PixelCounts":
        """Count pixels.

        Args:
            levels: Heatmap levels, uint8 of any shape.
            truth: Whether each pixel is of the class, bool of the same shape.

        Returns:
            The histograms.
        """
        return cls(
            np.bincount(levels[truth], minlength=LEVELS), np.bincount(levels[~truth], minlength=LEVELS)
        )

    @classmethod
    def from_strip(cls, strip: Strip) -> "PixelCounts":
        """Count the valid pixels of a strip, those with mask value 1 as positive."""
        return cls(
            _histogram(strip.levels, strip.valid & (strip.mask == 1)),
            _histogram(strip.levels, strip.valid & (strip.mask != 1)),
        )

    @classmethod
    def total(cls, counts: Iterable["PixelCounts"]) -> "PixelCounts":
        """Add up the histograms of several slides."""
        return sum(counts, cls.empty())

    def __add__(self, other: "PixelCounts") -> "PixelCounts":
        """Add up two histograms."""
        return PixelCounts(self.positive + other.positive, self.negative + other.negative)

    def with_constant_level(self, level: int) -> "PixelCounts":
        """Give all pixels one level, as a method does that predicts the same everywhere."""
        at_level = np.zeros(LEVELS, np.int64)
        at_level[level] = 1
        return PixelCounts(at_level * self.positive.sum(), at_level * self.negative.sum())

    @property
    def prevalence(self) -> float | None:
        """Share of the tissue that is of the class: the precision of "all tissue is lesion"."""
        return ratio(self.positive.sum(), self.positive.sum() + self.negative.sum())

    @property
    def ap(self) -> float | None:
        """Average precision as scikit-learn defines it; None without the class."""
        total = self.positive.sum()
        if not total:
            return None
        # precision at each level, weighted by the positives that it adds
        tp, fp = self.cumulative()
        predicted = tp + fp
        precision = np.divide(tp, predicted, out=np.zeros(LEVELS), where=predicted > 0)
        return float(self.positive @ precision / total)

    @property
    def auroc(self) -> float | None:
        """AUROC: the chance that a pixel of the class has a higher level; ties count half."""
        pairs = self.positive.sum() * self.negative.sum()
        below = np.cumsum(self.negative) - self.negative
        return ratio(float(self.positive @ (below + self.negative / 2)), pairs)

    def metrics_at(self, threshold: float) -> ThresholdMetrics:
        """Compute Dice, precision and recall of the pixels with at least this probability."""
        counts = self.confusion(threshold)
        return ThresholdMetrics(
            dice=ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn),
            precision=ratio(counts.tp, counts.tp + counts.fp),
            recall=ratio(counts.tp, counts.tp + counts.fn),
        )

    def confusion(self, threshold: float) -> Confusion:
        """Count true and false positives and negatives at a threshold (a probability)."""
        level = min(LEVELS, threshold_level(threshold))
        return Confusion(
            tp=self.positive[level:].sum().item(),
            fp=self.negative[level:].sum().item(),
            fn=self.positive[:level].sum().item(),
            tn=self.negative[:level].sum().item(),
        )

    def to_row(self, threshold: float) -> dict[str, float | None]:
        """AP, Dice, precision, recall and prevalence by name, at a threshold where one is needed."""
        metrics = self.metrics_at(threshold)
        return {
            "ap": self.ap,
            "dice": metrics.dice,
            "precision": metrics.precision,
            "recall": metrics.recall,
            "prevalence": self.prevalence,
        }

    def best_threshold(self) -> float:
        """Find the middle of the thresholds whose Dice is nearly the highest (tuning set only).

        Dice hardly changes over a wide range of thresholds, and with few patients it is chance where the
        highest is.

        Returns:
            A probability above 0.
        """
        tp, fp = self.cumulative()
        dice = 2 * tp / np.maximum(tp + fp + self.positive.sum(), 1)
        # level 0 would detect everything
        best = np.flatnonzero(dice[1:] >= NEAR_BEST_DICE * dice[1:].max()) + 1
        return float(best[len(best) // 2]) / (LEVELS - 1)

    def cumulative(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Count true and false positives at each level as the threshold: float64 (256,) each."""
        tp = np.cumsum(self.positive[::-1], dtype=np.float64)[::-1]
        fp = np.cumsum(self.negative[::-1], dtype=np.float64)[::-1]
        return tp, fp


def ratio(part: float, whole: float) -> float | None:
    """Divide; None where the denominator is 0.

    Args:
        part: The numerator.
        whole: The denominator.

    Returns:
        The ratio, or None.
    """
    return float(part / whole) if whole else None


def _histogram(levels: _Levels, where: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Histogram of the levels where a mask is True; Pillow counts them without copying."""
    if not where.any():
        return np.zeros(LEVELS, np.int64)
    image = Image.fromarray(levels)
    mask = Image.fromarray(where.view(np.uint8))
    return np.array(image.histogram(mask), np.int64)


def count_pixels(labeled: LabeledSlide, heatmap: Heatmap, label: str) -> PixelCounts:
    """Histogram the tissue of one slide by heatmap level.

    Args:
        labeled: The opened slide with its annotations.
        heatmap: A heatmap of the slide.
        label: The class of the heatmap to count.

    Returns:
        The histograms at the resolution of the patches.
    """
    predictions = HeatmapRaster(heatmap, label, labeled.recipe.patches.mpp)
    strips = iterate_strips(Reference.from_slide(labeled), predictions)
    return PixelCounts.total(PixelCounts.from_strip(strip) for strip in strips)


def count_tiles(strip: Strip, reference: Reference) -> PixelCounts:
    """Histogram the tiles of a strip by score, tiles of the positive class apart from the rest.

    The class of a tile follows the rule by which tile classifiers are trained
    (`sampling.datasets.target_of`): the first class (the positive one first) that covers at least
    `tile_coverage` of it. A tile that a class merely touches is ignored, and so is one that is mostly
    ignored. Only tiles that detection analyzes count. The score of a tile is the highest probability that at
    least `tile_coverage` of it reaches: at any threshold, the tile is positive if that much of it is.

    Args:
        strip: A strip that begins where a row of tiles does.
        reference: The annotations and tissue of the slide.

    Returns:
        The histograms of tiles.
    """
    side = reference.recipe.patch_px

    # tiles with enough tissue, row by row: bool (N,)
    rows, columns = (math.ceil(length / side) for length in strip.mask.shape)
    level0_side = side * strip.box.width / strip.mask.shape[1]
    grid = TileGrid(strip.box, level0_side, level0_side)
    boxes = [grid.tile_at(row, column) for row in range(rows) for column in range(columns)]
    has_tissue = reference.tissue.fractions(boxes) >= MIN_TISSUE

    # their classes, then the scores of those that are not ignored
    truth = _tile_classes(_cut_tiles(strip.mask, side)[has_tissue], reference)
    valid = truth != IGNORE
    tiles = _cut_tiles(strip.levels, side)[has_tissue][valid]
    return PixelCounts.from_levels(
        _tile_scores(tiles, reference.recipe.patches.tile_coverage), truth[valid] == 1
    )


def _cut_tiles(values: _Levels, side: int) -> _Levels:
    """Cut a raster into tiles row by row, 0 beyond its edges: uint8 (N, side * side)."""
    rows, columns = (math.ceil(length / side) for length in values.shape)
    beyond = [(0, count * side - length) for count, length in zip((rows, columns), values.shape, strict=True)]
    padded = np.pad(values, beyond) if any(after for _, after in beyond) else values
    tiles: _Levels = padded.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side * side)
    return tiles


def _tile_classes(masks: _Levels, reference: Reference) -> _Levels:
    """The class of each tile, 0 for background, 255 for ignored: uint8 (N,)."""
    # touched tiles are ignored unless a class covers enough of them
    classes = range(1, len(reference.recipe.classes.labels) + 1)
    shares = {value: (masks == value).mean(1) for value in (*classes, IGNORE)}
    touched = np.any([shares[value] > 0 for value in classes], axis=0) | (shares[IGNORE] > 0.5)
    assigned = np.where(touched, IGNORE, 0).astype(np.uint8)
    # the first class is written last, since it goes before the others
    for value in reversed(classes):
        covers = (shares[value] > 0) & (shares[value] >= reference.recipe.patches.tile_coverage)
        assigned[covers] = value
    return assigned


def _tile_scores(tiles: _Levels, share: float) -> _Levels:
    """The level that at least a share of each tile's pixels reaches: uint8 (N,)."""
    size = tiles.shape[1]
    enough = max(1, math.ceil(share * size - 1e-9))
    # a stable sort of uint8 counts the levels, which is faster than a partition
    ordered = np.sort(tiles, axis=1, kind="stable")
    scores: _Levels = ordered[:, size - enough]
    return scores
