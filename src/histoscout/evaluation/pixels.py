"""How well the heatmap tells lesion from the rest of the tissue, pixel by pixel.

A heatmap has 256 levels, so two histograms hold all there is to know: every figure below follows from them
exactly, whatever the size of the slides, and figures of many slides come from the sum of their histograms.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.heatmap import LEVELS, Heatmap, level_of
from histoscout.detection.labelled import LabelledSlide
from histoscout.geometry.box import Box
from histoscout.recipe import IGNORE

STRIP = 1024  # rows of a heatmap compared at once: memory stays bounded on any slide

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Figures:
    """Dice, precision and recall at one threshold; None where there is nothing to divide by."""

    dice: float | None
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class PixelCounts:
    """How many tissue pixels of the class (`positive`) and not of it (`negative`) have each heatmap level."""

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

    def __add__(self, other: "PixelCounts") -> "PixelCounts":
        return PixelCounts(self.positive + other.positive, self.negative + other.negative)

    @property
    def prevalence(self) -> float | None:
        """Share of the tissue that is of the class: what "all tissue is lesion" would have as its precision."""
        total = int(self.positive.sum() + self.negative.sum())
        return float(self.positive.sum() / total) if total else None

    @property
    def ap(self) -> float | None:
        """Average precision: the mean of precision over recall, as scikit-learn defines it; None without the class."""
        total = self.positive.sum()
        if not total:
            return None
        hits, alarms = self._at_least()
        precision = hits / np.maximum(hits + alarms, 1)
        return float(np.sum(np.diff(hits, append=0) * -1 * precision) / total)

    def at(self, threshold: float) -> Figures:
        """The figures if every pixel of at least this probability counts as found."""
        level = min(LEVELS, level_of(threshold))
        hits, alarms = int(self.positive[level:].sum()), int(self.negative[level:].sum())
        misses = int(self.positive[:level].sum())
        return Figures(
            _ratio(2 * hits, 2 * hits + alarms + misses),
            _ratio(hits, hits + alarms),
            _ratio(hits, hits + misses),
        )

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
        """The threshold of the highest Dice (the middle one if several share it); for tuning patients only."""
        hits, alarms = self._at_least()
        dice = 2 * hits / np.maximum(hits + alarms + self.positive.sum(), 1)
        best = np.flatnonzero(dice[1:] >= dice[1:].max() - 1e-12) + 1  # level 0 would call everything found
        return float(best[len(best) // 2]) / (LEVELS - 1)

    def _at_least(self) -> tuple[Counts, Counts]:
        """Pixels of the class, and not of it, at or above each level."""
        return np.cumsum(self.positive[::-1])[::-1], np.cumsum(self.negative[::-1])[::-1]


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True)
class Strip:
    """Rows of a heatmap's tissue with their truth: levels and mask values of the pixels that count."""

    levels: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def tissue_strips(labelled: LabelledSlide, heatmap: Heatmap, label: str) -> Iterator[Strip]:
    """The tissue pixels of a slide, strip by strip, ignored ones left out."""
    levels, scale = heatmap.levels(label), heatmap.scale
    for top in range(0, levels.shape[0], STRIP):
        rows = np.asarray(levels[top : top + STRIP])
        box = Box(heatmap.box.x, heatmap.box.y + top * scale, rows.shape[1] * scale, rows.shape[0] * scale)
        mask = labelled.mask(box, heatmap.mpp)
        counted = labelled.tissue.mask_of(box, scale) & (mask != IGNORE)
        yield Strip(rows[counted], mask[counted])


def count_pixels(labelled: LabelledSlide, heatmap: Heatmap, label: str) -> PixelCounts:
    """Histogram the tissue of one slide by heatmap level, the positive class apart from the rest."""
    counts = PixelCounts.none()
    for strip in tissue_strips(labelled, heatmap, label):
        counts = counts + PixelCounts.of(strip.levels, strip.mask == 1)
    return counts
