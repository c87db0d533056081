"""The names of all figures over pixels and tiles, and what computes each: one line a figure.

Whether probabilities mean what they say: of the places called 30 % likely, 30 % should be lesion.

Curves over all thresholds: what is gained and what it costs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.heatmap import LEVELS
from histoscout.evaluation.bootstrap import Statistic, Weights
from histoscout.evaluation.pixels.counts import PixelCounts, ratio

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


Figure = Callable[[PixelCounts, float], float | None]

PIXEL_FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "ap": lambda counts, threshold: counts.ap,
        "dice": lambda counts, threshold: counts.at(threshold).dice,
        "precision": lambda counts, threshold: counts.at(threshold).precision,
        "recall": lambda counts, threshold: counts.at(threshold).recall,
        "prevalence": lambda counts, threshold: counts.prevalence,
        "auroc": lambda counts, threshold: counts.auroc,
        "ece": lambda counts, threshold: ece(counts),
        "brier": lambda counts, threshold: brier(counts),
        "brier_skill": lambda counts, threshold: brier_skill(counts),
    }
)
"""Of the pixels of all patients together, at the model's threshold where one is needed."""

TILE_FIGURES: Mapping[str, Figure] = MappingProxyType(
    {name: PIXEL_FIGURES[name] for name in ("auroc", "ap", "prevalence")}
)

OF_PROBABILITIES = frozenset({"ap", "auroc", "ece", "brier", "brier_skill"})
"""Figures that need more than a yes or no for each pixel."""

MEAN_DICE = "dice_per_patient"
"""The Dice of each patient with lesions at the threshold, averaged: a large lesion does not hide many small ones."""


def statistic_of(counts: Sequence[PixelCounts], threshold: float, figures: Mapping[str, Figure]) -> Statistic:
    """The figures of some patients, given the counts of each, as a function of the patients' weights."""
    positive = np.array([each.positive for each in counts], np.float64)
    negative = np.array([each.negative for each in counts], np.float64)

    def statistic(weights: Weights) -> dict[str, float | None]:
        together = PixelCounts(weights @ positive, weights @ negative)
        return {name: figure(together, threshold) for name, figure in figures.items()}

    return statistic


def mean_dice_of(counts: Sequence[PixelCounts], threshold: float) -> Statistic:
    """Dice averaged over the patients that have lesions, as a function of the patients' weights."""
    with_lesions = np.array([bool(each.positive.any()) for each in counts], np.float64)
    dice = np.array([each.at(threshold).dice or 0.0 for each in counts]) * with_lesions

    def statistic(weights: Weights) -> dict[str, float | None]:
        patients = float(weights @ with_lesions)
        return {MEAN_DICE: float(weights @ dice) / patients if patients else None}

    return statistic


def prevalence_of(counts: Sequence[PixelCounts], figures: Mapping[str, Figure]) -> Statistic:
    """What saying the prevalence of every place, always, would get: no skill, and no place is ever found."""
    flat = statistic_of([each.moved_to(0) for each in counts], 1.0, figures)

    def statistic(weights: Weights) -> dict[str, float | None]:
        said = flat(weights)
        share = said["prevalence"]
        both = share is not None and 0 < share < 1
        known: dict[str, float | None] = {
            **dict.fromkeys(("dice", "precision", "recall")),
            "ece": None if share is None else 0.0,
            "brier": None if share is None else share * (1 - share),
            "brier_skill": 0.0 if both else None,
        }
        return {**{name: known.get(name, value) for name, value in said.items()}, MEAN_DICE: None}

    return statistic


def joined(*statistics: Statistic) -> Statistic:
    """The figures of several statistics in one, so that all are drawn together."""

    def statistic(weights: Weights) -> dict[str, float | None]:
        return {name: value for each in statistics for name, value in each(weights).items()}

    return statistic


def only(statistic: Statistic, names: Sequence[str]) -> Statistic:
    """Some of a statistic's figures."""

    def some(weights: Weights) -> dict[str, float | None]:
        figures = statistic(weights)
        return {name: figures[name] for name in names}

    return some


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
