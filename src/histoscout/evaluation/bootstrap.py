"""How far a figure could have come out otherwise with other patients: 95 % intervals by the bootstrap.

Slides of one patient are alike, so patients are drawn, each with all of its slides (the cluster bootstrap;
Rutter 2000, Academic Radiology 7:413). Intervals are the 2.5th and 97.5th percentile of the figure over the
draws (Efron and Tibshirani 1993, chapter 13): simple, never outside what the figure can be, and, with few
patients, rather too narrow than too wide. A draw is how often each patient is in it, so a figure is computed
from weighted sums and no outline is looked at twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
LEVEL = 0.95
FEWEST_PATIENTS = 5
MOST_UNDEFINED = 0.05
"""Where a larger share of the draws has no figure (no lesion in it, say), what is left is no 95 % interval."""

Weights = NDArray[np.float64]
Statistic = Callable[[Weights], Mapping[str, float | None]]
"""Named figures of a cohort in which each patient counts as often as its weight says, float64 (patients,).

None where a figure cannot be computed. The names are the same for all weights.
"""


@dataclass(frozen=True)
class Interval:
    """A figure, and between what it would lie 95 times of 100 with other patients.

    `value` is that of the patients themselves, None where it cannot be computed. `low` and `high` are None
    where they are not estimable: fewer than 5 patients, or no figure in more than a twentieth of the draws.
    `undefined_draws` have no figure and were left out.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    undefined_draws: int = 0

    @property
    def estimable(self) -> bool:
        return self.low is not None

    def to_dict(self) -> dict[str, float | int | None]:
        """As scores.json holds it; `undefined_draws` only where there are some."""
        shown: dict[str, float | int | None] = {"value": self.value, "low": self.low, "high": self.high}
        return {**shown, "undefined_draws": self.undefined_draws} if self.undefined_draws else shown


def bootstrap(statistic: Statistic, patients: int, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """Every figure of a statistic with its interval over `patients`; the same for the same seed.

    For the same number of patients, draws and seed the draws are the same, whatever the statistic.
    """
    values = statistic(np.ones(patients))
    if patients < FEWEST_PATIENTS:
        return {name: Interval(value) for name, value in values.items()}
    drawn, times = np.unique(_draws(patients, draws, seed), axis=0, return_counts=True)
    rows = [statistic(weights) for weights in drawn]
    return {
        name: _interval(value, np.array([row[name] for row in rows], np.float64), times)
        for name, value in values.items()
    }


def bootstrap_difference(
    one: Statistic, other: Statistic, patients: int, draws: int = DRAWS, seed: int = 0
) -> dict[str, Interval]:
    """How much better `one` is than `other` on the same patients, for the figures that both have.

    Paired: each draw counts for both, so what makes a patient hard for both does not widen the interval.
    """

    def difference(weights: Weights) -> dict[str, float | None]:
        ours, theirs = one(weights), other(weights)
        return {name: _minus(ours[name], theirs[name]) for name in ours if name in theirs}

    return bootstrap(difference, patients, draws, seed)


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _draws(patients: int, draws: int, seed: int) -> Weights:
    """How often each patient is drawn, with replacement: float64 (draws, patients)."""
    even = np.full(patients, 1 / patients)
    return np.random.default_rng(seed).multinomial(patients, even, size=draws).astype(np.float64)


def _interval(value: float | None, figures: NDArray[np.float64], times: NDArray[np.int64]) -> Interval:
    """The interval of one figure from its values in the different draws, each of which came `times` times."""
    defined = ~np.isnan(figures)
    undefined = int(times[~defined].sum())
    if value is None or undefined > MOST_UNDEFINED * int(times.sum()):
        return Interval(value, undefined_draws=undefined)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.repeat(figures[defined], times[defined]), [tail, 1 - tail])
    return Interval(value, float(low), float(high), undefined)
