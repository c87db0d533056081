"""Pixel and tile metrics, calibration, and ROC and precision-recall curves.

Calibration: of the pixels with a probability of 30 %, 30 % should be lesion.
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
"""Bins of the reliability diagram, of equal number of pixels."""

_PROBABILITIES = np.arange(LEVELS) / (LEVELS - 1)

Metric = Callable[[PixelCounts, float], float | None]
Points = NDArray[np.float64]


# ---------------------------------------------------------------- calibration


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """One bin of the reliability diagram.

    Attributes:
        predicted: Mean predicted probability of its pixels.
        observed: Share of its pixels that are of the class.
        pixels: How many pixels it holds; a level that is divided gives fractions.
    """

    predicted: float
    observed: float
    pixels: float


def reliability(counts: PixelCounts, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Sort pixels by probability and cut them into reliability bins of equal number.

    A level that a cut divides gives a share of its pixels to each side, and the same share of positives with
    them, so the bins depend on no order. Bins of equal number, since with equal widths nearly all tissue is
    in the first (Nixon 2019, "Measuring calibration in deep learning").

    Args:
        counts: Histograms of pixels.
        bins: How many bins to make.

    Returns:
        The bins from the lowest probability up; empty without pixels.
    """
    # pixels up to each level; cuts at equal numbers interpolate within a level
    pixels = counts.positive + counts.negative
    cumulative = np.concatenate([[0.0], np.cumsum(pixels)])
    if not cumulative[-1]:
        return ()
    cuts = np.linspace(0, cumulative[-1], bins + 1)
    predicted, observed = (
        np.diff(np.interp(cuts, cumulative, np.concatenate([[0.0], np.cumsum(sums)])))
        for sums in (pixels * _PROBABILITIES, counts.positive)
    )
    size = float(cumulative[-1]) / bins
    return tuple(
        ReliabilityBin(predicted=float(p) / size, observed=float(o) / size, pixels=size)
        for p, o in zip(predicted, observed, strict=True)
    )


def ece(counts: PixelCounts, bins: int = BINS) -> float | None:
    """Expected calibration error: the mean distance of predicted and observed over the bins.

    Args:
        counts: Pixel counts by probability.
        bins: Number of bins of equal size.

    Returns:
        The error; None without pixels.
    """
    cells = reliability(counts, bins)
    return sum(abs(cell.predicted - cell.observed) for cell in cells) / len(cells) if cells else None


def brier(counts: PixelCounts) -> float | None:
    """Brier score: the mean square of probability minus truth (Brier 1950); 0 is perfect.

    Args:
        counts: Pixel counts by probability.

    Returns:
        The score; None without pixels.
    """
    errors = counts.positive @ (1 - _PROBABILITIES) ** 2 + counts.negative @ _PROBABILITIES**2
    return ratio(float(errors), counts.positive.sum() + counts.negative.sum())


def brier_skill(counts: PixelCounts) -> float | None:
    """Brier skill score: 1 is perfect, 0 no better than predicting the prevalence, below 0 worse.

    Args:
        counts: Pixel counts by probability.

    Returns:
        The skill; None where it is not defined.
    """
    score = brier(counts)
    prevalence = counts.prevalence
    if score is None or not prevalence or prevalence == 1:
        return None
    return 1 - score / (prevalence * (1 - prevalence))


# ---------------------------------------------------------------- metrics by name

PIXEL_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "ap": lambda counts, threshold: counts.ap,
        "dice": lambda counts, threshold: counts.metrics_at(threshold).dice,
        "precision": lambda counts, threshold: counts.metrics_at(threshold).precision,
        "recall": lambda counts, threshold: counts.metrics_at(threshold).recall,
        "prevalence": lambda counts, threshold: counts.prevalence,
        "auroc": lambda counts, threshold: counts.auroc,
        "ece": lambda counts, threshold: ece(counts),
        "brier": lambda counts, threshold: brier(counts),
        "brier_skill": lambda counts, threshold: brier_skill(counts),
    }
)
"""Metrics of the pixels of all patients together, at the model's threshold where one is needed."""

TILE_METRICS: Mapping[str, Metric] = MappingProxyType(
    {name: PIXEL_METRICS[name] for name in ("auroc", "ap", "prevalence")}
)
"""Metrics of tiles."""

PROBABILITY_METRICS = frozenset({"ap", "auroc", "ece", "brier", "brier_skill"})
"""Metrics that need a probability of each pixel, not only a yes or no."""

MEAN_DICE = "dice_per_patient"
"""The mean Dice of the patients with lesions: a large lesion does not hide many small ones."""


def pixel_statistic(
    counts: Sequence[PixelCounts], threshold: float, metrics: Mapping[str, Metric]
) -> Statistic:
    """Make pixel metrics a function of the patients' weights.

    Args:
        counts: Histograms of each patient.
        threshold: The probability from which pixels are positive.
        metrics: The metrics to compute, by name.

    Returns:
        The statistic, for `bootstrap`.
    """
    positive = np.array([patient.positive for patient in counts], np.float64)
    negative = np.array([patient.negative for patient in counts], np.float64)

    def statistic(weights: Weights) -> dict[str, float | None]:
        pooled = PixelCounts(weights @ positive, weights @ negative)
        return {name: metric(pooled, threshold) for name, metric in metrics.items()}

    return statistic


def mean_dice_statistic(counts: Sequence[PixelCounts], threshold: float) -> Statistic:
    """Make the mean Dice of the patients with lesions a function of the patients' weights.

    Args:
        counts: Histograms of each patient.
        threshold: The probability from which pixels are positive.

    Returns:
        The statistic with the metric `MEAN_DICE`.
    """
    with_lesions = np.array([bool(patient.positive.any()) for patient in counts], np.float64)
    dice = np.array([patient.metrics_at(threshold).dice or 0.0 for patient in counts]) * with_lesions

    def statistic(weights: Weights) -> dict[str, float | None]:
        patients = float(weights @ with_lesions)
        return {MEAN_DICE: float(weights @ dice) / patients if patients else None}

    return statistic


def prevalence_statistic(counts: Sequence[PixelCounts], metrics: Mapping[str, Metric]) -> Statistic:
    """Compute the metrics of always predicting the prevalence: no skill, no detections.

    Args:
        counts: Histograms of each patient.
        metrics: The metrics to compute, by name.

    Returns:
        The statistic, with `MEAN_DICE` undefined.
    """
    constant = pixel_statistic([patient.with_constant_level(0) for patient in counts], 1.0, metrics)

    def statistic(weights: Weights) -> dict[str, float | None]:
        values = constant(weights)
        prevalence = values["prevalence"]
        has_both = prevalence is not None and 0 < prevalence < 1
        # what level 0 does not show, since the prevalence is predicted and not 0
        known: dict[str, float | None] = {
            **dict.fromkeys(("dice", "precision", "recall")),
            "ece": None if prevalence is None else 0.0,
            "brier": None if prevalence is None else prevalence * (1 - prevalence),
            "brier_skill": 0.0 if has_both else None,
        }
        return {**{name: known.get(name, value) for name, value in values.items()}, MEAN_DICE: None}

    return statistic


def join_statistics(*statistics: Statistic) -> Statistic:
    """Join the metrics of several statistics, so that all use the same resamples.

    Args:
        *statistics: Functions of patient weights.

    Returns:
        One function that gives all their metrics.
    """

    def joined(weights: Weights) -> dict[str, float | None]:
        return {name: value for statistic in statistics for name, value in statistic(weights).items()}

    return joined


def select_metrics(statistic: Statistic, names: Sequence[str]) -> Statistic:
    """Keep some of a statistic's metrics.

    Args:
        statistic: A function of patient weights.
        names: Metrics to keep.

    Returns:
        A function that gives these metrics.
    """

    def selected(weights: Weights) -> dict[str, float | None]:
        values = statistic(weights)
        return {name: values[name] for name in names}

    return selected


# ---------------------------------------------------------------- curves


@dataclass(frozen=True)
class Curve:
    """A ROC or precision-recall curve: a point for each threshold, strictest first.

    Attributes:
        thresholds: Probabilities, float64 (N,).
        x: False positive rate (ROC) or recall (PR), float64 (N,).
        y: Sensitivity (ROC) or precision (PR), float64 (N,). All are empty if the curve is undefined.
    """

    thresholds: Points
    x: Points
    y: Points


_EMPTY = Curve(np.zeros(0), np.zeros(0), np.zeros(0))


def roc_curve(counts: PixelCounts) -> Curve:
    """ROC curve: sensitivity over the false positive rate.

    Args:
        counts: Histograms of pixels.

    Returns:
        The curve, which starts at (0, 0) with an infinite threshold.
    """
    if not counts.positive.sum() or not counts.negative.sum():
        return _EMPTY
    thresholds, tp, fp = _cumulative_at_steps(counts)
    return Curve(
        np.concatenate([[np.inf], thresholds]),
        np.concatenate([[0.0], fp / fp[-1]]),
        np.concatenate([[0.0], tp / tp[-1]]),
    )


def pr_curve(counts: PixelCounts) -> Curve:
    """Precision-recall curve: precision over recall.

    Args:
        counts: Histograms of pixels.

    Returns:
        The curve.
    """
    if not counts.positive.sum():
        return _EMPTY
    thresholds, tp, fp = _cumulative_at_steps(counts)
    return Curve(thresholds, tp / tp[-1], tp / (tp + fp))


def _cumulative_at_steps(counts: PixelCounts) -> tuple[Points, Points, Points]:
    """Thresholds at which there are pixels, falling, with the true and false positives at each."""
    levels = np.flatnonzero(counts.positive + counts.negative)[::-1]
    tp, fp = counts.cumulative()
    return levels / (LEVELS - 1), tp[levels], fp[levels]
