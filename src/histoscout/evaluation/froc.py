"""Sensitivity against false alarms over all thresholds: the free-response ROC curve.

As CAMELYON16 scores it (Ehteshami Bejnordi 2017, JAMA 318:2199): the mean of the sensitivities at 1/4, 1/2, 1,
2, 4 and 8 false positives per slide; here also, and first, per cm2 of tissue, since slides differ in how much
tissue they bear. Unlike there, the curve is a staircase: the sensitivity at a rate is the highest that some
threshold reaches with at most that many false alarms. A straight line between two thresholds would promise
what none of them gives, most of all to a detector that scores everything alike. Where the curve ends before a
rate is reached, its last sensitivity holds, and `FrocCurve.reaches` tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from histoscout.evaluation.compare import SlideLesions
from histoscout.evaluation.intervals import Statistic, Weights
from histoscout.evaluation.matching import PRIMARY
from histoscout.evaluation.readings import STRICT, Pooled, pooled

AVERAGED = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives for each cm2, or slide, at which sensitivities are averaged."""

RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 8.0, 10.0)
"""All at which they are told."""

_FIRST_LOOK = 4096  # false alarms added up at first; few of very many are ever let in

Per = Literal["cm2", "slide"]
PER: tuple[Per, Per] = ("cm2", "slide")


def froc_average(per: Per) -> str:
    """The name of the figure that averages over the rates."""
    return f"froc_per_{per}"


def sensitivity_at(rate: float, per: Per) -> str:
    """The name of the figure that is the sensitivity at so many false alarms."""
    return f"sensitivity_at_{rate:g}_per_{per}"


def lesion_statistic(
    slides: Sequence[SlideLesions], patients: Sequence[int], rule: str = PRIMARY, reading: str = STRICT
) -> Statistic:
    """Sensitivity, precision and false alarms at the threshold in use, and the FROC figures, by patients' weights.

    `patients` numbers the patient of each slide from 0. Everything is laid ready once, so that a draw of the
    bootstrap is a few sums.
    """
    rows = pooled(slides, patients, rule, reading)
    # a false alarm is let in with all findings scored higher than it is; after the last one, all are
    above = np.searchsorted(-rows.hit_score, -rows.false_score, side="left")
    hits_above = np.append(above, len(rows.hit_score))

    def statistic(weights: Weights) -> dict[str, float | None]:
        lesions = float(weights @ rows.lesions)
        amounts = {"cm2": float(weights @ rows.cm2), "slide": float(weights @ rows.slides)}
        alarms = _added_up(weights, rows.false_patient, max(RATES) * max(amounts.values()))
        figures = _in_use(rows, weights, lesions)
        for per in PER:
            allowed = np.array(RATES) * amounts[per] * (1 + 1e-9)
            ends = hits_above[np.searchsorted(alarms, allowed, side="right")]
            gained = np.append(0.0, np.cumsum(weights[rows.hit_patient[: ends[-1]]]))[ends]
            at = [float(found) / lesions if lesions and amounts[per] else None for found in gained]
            named = dict(zip(RATES, at, strict=True))
            figures |= {sensitivity_at(rate, per): value for rate, value in named.items()}
            figures[froc_average(per)] = _mean([named[rate] for rate in AVERAGED])
        return figures

    return statistic


def _added_up(weights: Weights, patients: NDArray[np.int64], enough: float) -> NDArray[np.float64]:
    """The running sum of false alarms from the highest score down, at least until it is more than enough."""
    size = _FIRST_LOOK
    while True:
        alarms = np.cumsum(weights[patients[:size]])
        if size >= len(patients) or alarms[-1] > enough * (1 + 1e-6):
            return alarms
        size *= 4


def _in_use(rows: Pooled, weights: Weights, lesions: float) -> dict[str, float | None]:
    """The figures at the threshold in use."""
    hits, false = float(weights @ rows.hits_in_use), float(weights @ rows.false_in_use)
    return {
        "sensitivity": _ratio(hits, lesions),
        "precision": _ratio(hits, hits + false),
        "f1": _ratio(2 * hits, hits + false + lesions),
        "false_per_cm2": _ratio(false, float(weights @ rows.cm2)),
        "false_per_slide": _ratio(false, float(weights @ rows.slides)),
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) and known else None


@dataclass(frozen=True)
class FrocCurve:
    """What each threshold gives, from the strictest to the laxest: float64 (N,) each.

    The first point, at a threshold that nothing reaches, finds nothing. Sensitivities are empty where there are
    no lesions, rates where there is no area.
    """

    thresholds: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    false_per_cm2: NDArray[np.float64]
    false_per_slide: NDArray[np.float64]

    def reaches(self, rate: float, per: Per = "cm2") -> bool:
        """Whether some threshold lets so many false alarms through; if none does, the last sensitivity holds."""
        rates = self.false_per_cm2 if per == "cm2" else self.false_per_slide
        return bool(len(rates)) and float(rates[-1]) >= rate * (1 - 1e-9)

    def ending(self, per: Per = "cm2") -> str | None:
        """A sentence on where the curve ends, if that is before the last of `AVERAGED`; else None."""
        rates = self.false_per_cm2 if per == "cm2" else self.false_per_slide
        if self.reaches(AVERAGED[-1], per) or not len(rates):
            return None
        return (
            f"The curve ends at {rates[-1]:.3g} false alarms per {per}, as no finding is scored lower; beyond, its last "
            "sensitivity is given, which more findings might raise."
        )


def froc_curve(
    slides: Sequence[SlideLesions], patients: Sequence[int], rule: str = PRIMARY, reading: str = STRICT
) -> FrocCurve:
    """The whole curve of some slides; a point for each score that occurs."""
    rows = pooled(slides, patients, rule, reading)
    scores = np.unique(np.concatenate([rows.hit_score, rows.false_score]))[::-1]
    hits = np.searchsorted(-rows.hit_score, -scores, side="right").astype(np.float64)
    false = np.searchsorted(-rows.false_score, -scores, side="right").astype(np.float64)
    found, alarms = np.concatenate([[0.0], hits]), np.concatenate([[0.0], false])
    lesions, cm2, count = (float(total.sum()) for total in (rows.lesions, rows.cm2, rows.slides))
    nothing = np.zeros(0)
    return FrocCurve(
        np.concatenate([[np.inf], scores]),
        found / lesions if lesions else nothing,
        alarms / cm2 if cm2 else nothing,
        alarms / count if count else nothing,
    )
