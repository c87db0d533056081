"""Whether probabilities mean what they say: of the places called 30 % likely, 30 % should be lesion."""

from dataclasses import dataclass

import numpy as np

from histoscout.detection.heatmap import LEVELS
from histoscout.evaluation.pixels import PixelCounts, ratio

BINS = 15
_PROBABILITIES = np.arange(LEVELS) / (LEVELS - 1)


@dataclass(frozen=True)
class ReliabilityBin:
    """A fifteenth of the pixels: the mean probability said of them, and how often it was true."""

    said: float
    true: float
    pixels: float


def reliability(counts: PixelCounts, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """The pixels in order of their probability, cut into bins of equal number; empty without pixels.

    A level that a cut divides gives a share of its pixels to each side, and the same truth with them, so the
    bins depend on no order. Bins of equal number, since with equal widths nearly all tissue lies in the first
    (Nixon 2019, "Measuring calibration in deep learning").
    """
    pixels = counts.positive + counts.negative
    upto = np.concatenate([[0.0], np.cumsum(pixels)])
    if not upto[-1]:
        return ()
    cuts = np.linspace(0, upto[-1], bins + 1)
    said, true = (
        np.diff(np.interp(cuts, upto, np.concatenate([[0.0], np.cumsum(sums)])))
        for sums in (pixels * _PROBABILITIES, counts.positive)
    )
    each = float(upto[-1]) / bins
    return tuple(
        ReliabilityBin(float(s) / each, float(t) / each, each) for s, t in zip(said, true, strict=True)
    )


def ece(counts: PixelCounts, bins: int = BINS) -> float | None:
    """Expected calibration error: how far what is said lies from what is true, averaged over the bins."""
    cells = reliability(counts, bins)
    return sum(abs(cell.said - cell.true) for cell in cells) / len(cells) if cells else None


def brier(counts: PixelCounts) -> float | None:
    """The mean square of probability minus truth (Brier 1950): 0 is perfect."""
    errors = counts.positive @ (1 - _PROBABILITIES) ** 2 + counts.negative @ _PROBABILITIES**2
    return ratio(float(errors), counts.positive.sum() + counts.negative.sum())


def brier_skill(counts: PixelCounts) -> float | None:
    """What share of the Brier score of always saying the prevalence is gone: 1 perfect, 0 no better, below 0 worse."""
    score, prevalence = brier(counts), counts.prevalence
    if score is None or not prevalence or prevalence == 1:
        return None
    return 1 - score / (prevalence * (1 - prevalence))
