"""95 % confidence intervals of metrics, by a bootstrap over patients.

Slides of one patient are alike, so whole patients are resampled (the cluster bootstrap; Rutter 2000, Academic
Radiology 7:413). Intervals run from the 2.5th to the 97.5th percentile of the metric over the resamples
(Efron and Tibshirani 1993, chapter 13): simple, never outside the range of the metric, and rather too narrow
with few patients. A resample is a weight for each patient, so metrics are computed from weighted sums and no
slide is compared twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
"""Bootstrap resamples."""

CONFIDENCE_LEVEL = 0.95

MIN_PATIENTS = 5
"""With fewer patients, no interval is estimated."""

MAX_UNDEFINED = 0.05
"""If a metric is undefined in a larger share of the resamples (without a lesion, say), it has no interval."""

Weights = NDArray[np.float64]
Statistic = Callable[[Weights], Mapping[str, float | None]]
"""Named metrics of a cohort in which each patient counts as often as their weight says, float64 (patients,).

None where a metric is undefined. The names are the same for all weights.
"""


@dataclass(frozen=True, kw_only=True)
class ConfidenceInterval:
    """A metric with its 95 % confidence interval over patients.

    Attributes:
        value: The metric on the patients themselves; None if it is undefined.
        low: Lower end of the interval; None if it cannot be estimated (fewer than 5 patients, or the metric
            is undefined in more than a twentieth of the resamples).
        high: Upper end of the interval, or None likewise.
        undefined_draws: Resamples in which the metric is undefined; they are left out.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    undefined_draws: int = 0

    @property
    def estimable(self) -> bool:
        """Whether there is an interval."""
        return self.low is not None

    def to_dict(self) -> dict[str, float | int | None]:
        """Convert to plain values for scores.json; `undefined_draws` only if there are some."""
        values: dict[str, float | int | None] = {"value": self.value, "low": self.low, "high": self.high}
        return {**values, "undefined_draws": self.undefined_draws} if self.undefined_draws else values


def bootstrap(
    statistic: Statistic, patients: int, draws: int = DRAWS, seed: int = 0
) -> dict[str, ConfidenceInterval]:
    """Compute every metric of a statistic with its confidence interval over patients.

    Args:
        statistic: The metrics as a function of the patients' weights.
        patients: How many patients there are.
        draws: How many resamples to draw.
        seed: Seed of the resamples. For the same number of patients, draws and seed they are the same,
            whatever the statistic.

    Returns:
        The intervals by the names of the metrics.
    """
    # the metrics of the patients themselves
    values = statistic(np.ones(patients))
    if patients < MIN_PATIENTS:
        return {name: ConfidenceInterval(value=value) for name, value in values.items()}

    # a resample is how often each patient is drawn, with replacement: float64 (draws, patients)
    even = np.full(patients, 1 / patients)
    resamples = np.random.default_rng(seed).multinomial(patients, even, size=draws).astype(np.float64)

    # equal resamples are computed once
    unique, repeats = np.unique(resamples, axis=0, return_counts=True)
    rows = [statistic(weights) for weights in unique]
    return {
        name: _interval(value, np.array([row[name] for row in rows], np.float64), repeats)
        for name, value in values.items()
    }


def bootstrap_difference(
    first: Statistic, second: Statistic, patients: int, draws: int = DRAWS, seed: int = 0
) -> dict[str, ConfidenceInterval]:
    """Compute the paired difference `first` minus `second` of the metrics that both have.

    Each resample counts for both, so what makes a patient hard for both does not widen the interval.

    Args:
        first: Metrics of the method that may be better.
        second: Metrics of the method to compare with, on the same patients.
        patients: How many patients there are.
        draws: How many resamples to draw.
        seed: Seed of the resamples.

    Returns:
        The intervals of the differences by the names of the metrics.
    """

    def difference(weights: Weights) -> dict[str, float | None]:
        first_values = first(weights)
        second_values = second(weights)
        return {
            name: _subtract(value, second_values[name])
            for name, value in first_values.items()
            if name in second_values
        }

    return bootstrap(difference, patients, draws=draws, seed=seed)


def _subtract(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _interval(
    value: float | None, resampled: NDArray[np.float64], repeats: NDArray[np.int64]
) -> ConfidenceInterval:
    """Estimate the interval of one metric from unique resamples and how often each was drawn."""
    defined = ~np.isnan(resampled)
    undefined = int(repeats[~defined].sum())
    if value is None or undefined > MAX_UNDEFINED * int(repeats.sum()):
        return ConfidenceInterval(value=value, undefined_draws=undefined)
    # percentiles over all resamples
    tail = (1 - CONFIDENCE_LEVEL) / 2
    low, high = np.quantile(np.repeat(resampled[defined], repeats[defined]), [tail, 1 - tail])
    return ConfidenceInterval(value=value, low=float(low), high=float(high), undefined_draws=undefined)
