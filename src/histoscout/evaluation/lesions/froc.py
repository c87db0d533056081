"""Sensitivity against false alarms over all thresholds: the free-response ROC curve.

As CAMELYON16 scores it (Ehteshami Bejnordi 2017, JAMA 318:2199): the mean of the sensitivities at 1/4, 1/2, 1,
2, 4 and 8 false positives per slide; here also, and first, per cm2 of tissue, since slides differ in how much
tissue they bear. Unlike there, the curve is a staircase: the sensitivity at a rate is the highest that some
threshold reaches with at most that many false alarms. A straight line between two thresholds would promise
what none of them gives, most of all to a detector that scores everything alike. Where the curve ends before a
rate is reached, its last sensitivity holds, and `FrocCurve.reaches` tells.

Which findings count as false alarms where not everything was annotated, and on what area.

What each score is worth as a cut-off: from the lesions of some patients to the table that wishes are read off.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.operating_point import Operating, Point, Source
from histoscout.evaluation.bootstrap import Statistic, Weights
from histoscout.evaluation.lesions.compare import LiesOn, SlideLesions
from histoscout.evaluation.lesions.matching import PRIMARY


@dataclass(frozen=True)
class Reading:
    """One way to understand tissue on which nothing is drawn.

    `words` for reports; `counts` says whether a finding that fits no lesion is a false alarm, by what it lies
    on; `mm2` is the area of a slide on which false alarms are counted.
    """

    words: str
    counts: Callable[[LiesOn], bool]
    mm2: Callable[[SlideLesions], float]


STRICT, ANNOTATED = "strict", "annotated only"
READINGS: Mapping[str, Reading] = MappingProxyType(
    {
        STRICT: Reading(
            "Everything that is not drawn is taken as no lesion. Lesions that nobody drew make false alarms here: there "
            "are at most as many as are told.",
            lambda place: True,
            lambda slide: slide.tissue_mm2,
        ),
        ANNOTATED: Reading(
            "Only findings on drawn outlines, of any class, count: it says whether lesions are told from the other "
            "classes, and nothing of the tissue between. Its false alarms are given per cm2 of drawn area.",
            lambda place: place.place in ("lesion", "other class"),
            lambda slide: slide.annotated_mm2,
        ),
    }
)
AUDITED = "audited"
AUDITED_WORDS = (
    "As strict, after a reader has judged the surest false alarms: those that are lesions became lesions, those that "
    "nobody can tell count neither way. Lesions that were neither drawn nor found stay unknown, so only the false "
    "alarms are corrected; sensitivity can only have been helped by it."
)


@dataclass(frozen=True)
class Pooled:
    """The hits and false alarms of all slides, from the highest score down, and what they are divided by.

    Scores fall; patients are their numbers. `hits_in_use` and `false_in_use` (those that reach the threshold in
    use), `lesions`, `slides` and `cm2` are sums over each patient, float64 (patients,).
    """

    hit_score: NDArray[np.float64]
    hit_patient: NDArray[np.int64]
    false_score: NDArray[np.float64]
    false_patient: NDArray[np.int64]
    hits_in_use: NDArray[np.float64]
    false_in_use: NDArray[np.float64]
    lesions: NDArray[np.float64]
    slides: NDArray[np.float64]
    cm2: NDArray[np.float64]


class _Row(NamedTuple):
    """One finding as the curve sees it."""

    score: float
    patient: int
    in_use: bool


def pooled(
    slides: Sequence[SlideLesions], patients: Sequence[int], rule: str = PRIMARY, reading: str = STRICT
) -> Pooled:
    """Lay the findings of all slides in one row; `patients` numbers the patient of each slide from 0."""
    chosen = READINGS[reading]
    hits: list[_Row] = []
    false: list[_Row] = []
    for slide, patient in zip(slides, patients, strict=True):
        for finding, state in zip(slide.findings, slide.matchings[rule].states, strict=True):
            row = _Row(finding.score, patient, finding.score >= slide.threshold)
            if state == "hit":
                hits.append(row)
            elif state == "false" and chosen.counts(finding.lies_on):
                false.append(row)
    count = max(patients, default=-1) + 1
    of = np.asarray(patients, np.int64)
    return Pooled(
        *_columns(hits),
        *_columns(false),
        hits_in_use=_sums(*_patients_in_use(hits), count),
        false_in_use=_sums(*_patients_in_use(false), count),
        lesions=_sums(of, [len(slide.lesions) for slide in slides], count),
        slides=_sums(of, [1 for _ in slides], count),
        cm2=_sums(of, [chosen.mm2(slide) / 100 for slide in slides], count),
    )


def _sums(patients: NDArray[np.int64], amounts: Sequence[float], count: int) -> NDArray[np.float64]:
    return np.bincount(patients, np.asarray(amounts, np.float64), count).astype(np.float64)


def _patients_in_use(rows: Sequence[_Row]) -> tuple[NDArray[np.int64], list[float]]:
    patients = [row.patient for row in rows if row.in_use]
    return np.array(patients, np.int64), [1.0] * len(patients)


def _columns(rows: Sequence[_Row]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores and patients, from the highest score down."""
    scores = np.array([row.score for row in rows], np.float64)
    order = np.argsort(-scores, kind="stable")
    return scores[order], np.array([row.patient for row in rows], np.int64)[order]


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


@dataclass(frozen=True)
class Owner:
    """Whose table it is: the model's hash ("" in its own folder), the threshold of its outlines, and who they are judged by."""

    source: Source
    threshold: float
    model: str = ""


def measure_operating(slides: Sequence[SlideLesions], patients: Sequence[str], owner: Owner) -> Operating:
    """Try every score as a cut-off; `patients` names the patient of each slide.

    Findings are counted as for the FROC curve: one to one by the primary rule, all else on tissue is a false alarm. Only
    scores at which one more lesion is found are kept: between two of them a cut-off lets in false alarms alone.
    """
    names = sorted(set(patients))
    rows = pooled(slides, [names.index(patient) for patient in patients])
    scores = np.unique(rows.hit_score)[::-1]
    found = np.searchsorted(-rows.hit_score, -scores, side="right")
    false = np.searchsorted(-rows.false_score, -scores, side="right")
    points = (
        Point(score=float(score), found=int(hits), false=int(alarms))
        for score, hits, alarms in zip(scores, found, false, strict=True)
    )
    return Operating(
        source=owner.source,
        model=owner.model,
        threshold=owner.threshold,
        rule=PRIMARY,
        patients=tuple(names),
        slides=len(slides),
        lesions=int(rows.lesions.sum()),
        cm2=float(rows.cm2.sum()),
        points=tuple(points),
        weakest=_weakest(slides, patients),
    )


def _weakest(slides: Sequence[SlideLesions], patients: Sequence[str]) -> tuple[float, ...]:
    """For each patient with lesions the highest score at which all of them are found, from the lowest up."""
    lowest: dict[str, float] = {}
    for slide, patient in zip(slides, patients, strict=True):
        for score in slide.matchings[PRIMARY].found_at:
            lowest[patient] = min(lowest.get(patient, 1.0), 0.0 if score is None else score)
    return tuple(sorted(lowest.values()))
