"""Curves over all thresholds: what is gained and what it costs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.heatmap import LEVELS
from histoscout.evaluation.pixels import PixelCounts

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A point for each threshold that makes a difference, from the strictest to the laxest; float64 (N,) each.

    ROC: `x` is the share of the rest that is found wrongly, `y` the share of the class that is found. PR: `x`
    is recall, `y` precision. Empty where the shares do not exist.
    """

    thresholds: Points
    x: Points
    y: Points


def roc_curve(counts: PixelCounts) -> Curve:
    """Sensitivity over the false positive rate; starts at (0, 0) with a threshold that nothing reaches."""
    if not counts.positive.sum() or not counts.negative.sum():
        return _EMPTY
    thresholds, hits, alarms = _steps(counts)
    return Curve(
        np.concatenate([[np.inf], thresholds]),
        np.concatenate([[0.0], alarms / alarms[-1]]),
        np.concatenate([[0.0], hits / hits[-1]]),
    )


def pr_curve(counts: PixelCounts) -> Curve:
    """Precision over recall."""
    if not counts.positive.sum():
        return _EMPTY
    thresholds, hits, alarms = _steps(counts)
    return Curve(thresholds, hits / hits[-1], hits / (hits + alarms))


def _steps(counts: PixelCounts) -> tuple[Points, Points, Points]:
    """Thresholds at which there are pixels, falling, and how many of each kind reach them."""
    levels = np.flatnonzero(counts.positive + counts.negative)[::-1]
    hits, alarms = counts.at_least()
    return levels / (LEVELS - 1), hits[levels], alarms[levels]


_EMPTY = Curve(np.zeros(0), np.zeros(0), np.zeros(0))
