"""Free-response ROC (FROC): sensitivity against false positives over all thresholds.

As CAMELYON16 scores it (Ehteshami Bejnordi 2017, JAMA 318:2199): the mean of the sensitivities at 1/4, 1/2,
1, 2, 4 and 8 false positives per slide; here also, and first, per cm2 of tissue, since slides differ in how
much tissue they hold. Unlike there, the curve is a staircase: the sensitivity at a rate is the highest that
some threshold reaches with at most that many false positives. A straight line between two thresholds would
give what none of them reaches, most of all to a detector that scores everything alike. Where the curve ends
before a rate is reached, its last sensitivity is used, and `FrocCurve.reaches` is False.

Annotation policies say which detections are false positives if not everything is annotated. The operating
points, from which detection chooses its score threshold, are made here too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.operating_point import OperatingPoints, OperatingRow, PatientSource
from histoscout.evaluation.bootstrap import Statistic, Weights
from histoscout.evaluation.lesions.compare import Location, SlideLesions
from histoscout.evaluation.lesions.matching import PRIMARY_RULE
from histoscout.evaluation.pixels.counts import ratio

# ---------------------------------------------------------------- annotation policies


@dataclass(frozen=True)
class AnnotationPolicy:
    """One way to treat tissue on which nothing is annotated.

    Attributes:
        description: The policy as reports print it.
        is_false_positive: Whether a detection that fits no lesion is a false positive, given its location.
        area_mm2: The area of a slide on which false positives are counted, mm2.
    """

    description: str
    is_false_positive: Callable[[Location], bool]
    area_mm2: Callable[[SlideLesions], float]


STRICT = "strict"
ANNOTATED_ONLY = "annotated only"
ANNOTATION_POLICIES: Mapping[str, AnnotationPolicy] = MappingProxyType(
    {
        STRICT: AnnotationPolicy(
            "Everything that is not annotated counts as no lesion. Lesions that nobody annotated count as "
            "false positives: the true number of false positives is at most this.",
            lambda location: True,
            lambda slide: slide.tissue_mm2,
        ),
        ANNOTATED_ONLY: AnnotationPolicy(
            "Only detections on annotations, of any class, count: this shows whether lesions are distinguished "
            "from the other classes, and nothing about the tissue between. False positives are given per "
            "cm2 of annotated area.",
            lambda location: location.kind in ("lesion", "other class"),
            lambda slide: slide.annotated_mm2,
        ),
    }
)
"""The policies by name."""

REVIEWED = "reviewed"
"""The policy of an expert review: as strict, with the reference corrected."""

REVIEWED_DESCRIPTION = (
    "As strict, after an expert reviewed the surest false positives: those that are lesions became lesions, "
    "those that are unclear are ignored. Lesions that were neither annotated nor detected stay unknown, so "
    "only the false positives are corrected; sensitivity can only have become better by it."
)


# ---------------------------------------------------------------- metrics

FROC_RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per cm2, or slide, at which sensitivities are averaged (CAMELYON16)."""

REPORTED_RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 8.0, 10.0)
"""All false positive rates at which sensitivity is reported."""

RateUnit = Literal["cm2", "slide"]
RATE_UNITS: tuple[RateUnit, RateUnit] = ("cm2", "slide")

_FIRST_SUM = 4096
"""False positives added up at first; few of very many are ever allowed."""


def froc_metric(per: RateUnit) -> str:
    """Name the metric that averages sensitivity over `FROC_RATES`.

    Args:
        per: What false positives are counted for.

    Returns:
        The name.
    """
    return f"froc_per_{per}"


def sensitivity_metric(rate: float, per: RateUnit) -> str:
    """Name the metric that is the sensitivity at a false positive rate.

    Args:
        rate: False positives for each unit.
        per: The unit.

    Returns:
        The name.
    """
    return f"sensitivity_at_{rate:g}_per_{per}"


@dataclass(frozen=True, kw_only=True)
class PooledDetections:
    """The true and false positives of all slides by falling score, and their denominators.

    Attributes:
        tp_score: Scores of the true positives, falling, float64 (TP,).
        tp_patient: The number of each one's patient, int64 (TP,).
        fp_score: Scores of the false positives, falling, float64 (FP,).
        fp_patient: The number of each one's patient, int64 (FP,).
        tp_in_use: True positives at the threshold in use, by patient, float64 (patients,).
        fp_in_use: False positives at the threshold in use, by patient, float64 (patients,).
        lesions: Lesions by patient, float64 (patients,).
        slides: Slides by patient, float64 (patients,).
        cm2: Area by patient, float64 (patients,).
    """

    tp_score: NDArray[np.float64]
    tp_patient: NDArray[np.int64]
    fp_score: NDArray[np.float64]
    fp_patient: NDArray[np.int64]
    tp_in_use: NDArray[np.float64]
    fp_in_use: NDArray[np.float64]
    lesions: NDArray[np.float64]
    slides: NDArray[np.float64]
    cm2: NDArray[np.float64]


class _ScoredDetection(NamedTuple):
    """One detection as the curve needs it."""

    score: float
    patient: int
    in_use: bool


def pool_detections(
    slides: Sequence[SlideLesions],
    patients: Sequence[int],
    rule: str = PRIMARY_RULE,
    policy: str = STRICT,
) -> PooledDetections:
    """Pool the detections of all slides.

    Args:
        slides: The compared slides.
        patients: The number of each slide's patient, from 0.
        rule: A name from `MATCHING_RULES`.
        policy: A name from `ANNOTATION_POLICIES`.

    Returns:
        The pooled detections.
    """
    chosen = ANNOTATION_POLICIES[policy]

    # sort out true and false positives
    tp: list[_ScoredDetection] = []
    fp: list[_ScoredDetection] = []
    for slide, patient in zip(slides, patients, strict=True):
        for detection, state in zip(slide.detections, slide.matchings[rule].states, strict=True):
            row = _ScoredDetection(detection.score, patient, detection.score >= slide.threshold)
            if state == "true positive":
                tp.append(row)
            elif state == "false positive" and chosen.is_false_positive(detection.location):
                fp.append(row)

    # add up by patient
    count = max(patients, default=-1) + 1
    slide_patients = np.asarray(patients, np.int64)

    def per_patient(amounts: Sequence[float]) -> NDArray[np.float64]:
        return np.bincount(slide_patients, np.asarray(amounts, np.float64), count).astype(np.float64)

    tp_score, tp_patient = _falling_scores(tp)
    fp_score, fp_patient = _falling_scores(fp)
    return PooledDetections(
        tp_score=tp_score,
        tp_patient=tp_patient,
        fp_score=fp_score,
        fp_patient=fp_patient,
        tp_in_use=_count_in_use(tp, count),
        fp_in_use=_count_in_use(fp, count),
        lesions=per_patient([len(slide.lesions) for slide in slides]),
        slides=per_patient([1 for _ in slides]),
        cm2=per_patient([chosen.area_mm2(slide) / 100 for slide in slides]),
    )


def _falling_scores(rows: Sequence[_ScoredDetection]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores and patients, from the highest score down."""
    scores = np.array([row.score for row in rows], np.float64)
    order = np.argsort(-scores, kind="stable")
    return scores[order], np.array([row.patient for row in rows], np.int64)[order]


def _count_in_use(rows: Sequence[_ScoredDetection], patients: int) -> NDArray[np.float64]:
    """Detections at the threshold in use, by patient."""
    numbers = np.array([row.patient for row in rows if row.in_use], np.int64)
    return np.bincount(numbers, minlength=patients).astype(np.float64)


def lesion_statistic(
    slides: Sequence[SlideLesions],
    patients: Sequence[int],
    rule: str = PRIMARY_RULE,
    policy: str = STRICT,
) -> Statistic:
    """Make the lesion and FROC metrics a function of the patients' weights.

    Detections are pooled and sorted once, so that a resample of the bootstrap is a few sums.

    Args:
        slides: The compared slides.
        patients: The number of each slide's patient, from 0.
        rule: A name from `MATCHING_RULES`.
        policy: A name from `ANNOTATION_POLICIES`.

    Returns:
        The statistic: sensitivity, precision, F1 and false positive rates at the threshold in use, the
        sensitivities at `REPORTED_RATES` and the FROC averages.
    """
    pooled = pool_detections(slides, patients, rule=rule, policy=policy)
    # with a false positive all true positives scored higher are allowed; after the last one, all are
    above = np.searchsorted(-pooled.tp_score, -pooled.fp_score, side="left")
    tp_above = np.append(above, len(pooled.tp_score))

    def statistic(weights: Weights) -> dict[str, float | None]:
        lesions = float(weights @ pooled.lesions)
        amounts = {"cm2": float(weights @ pooled.cm2), "slide": float(weights @ pooled.slides)}
        metrics = _metrics_in_use(pooled, weights, lesions)

        fp = _cumulative_fp(weights, pooled.fp_patient, max(REPORTED_RATES) * max(amounts.values()))
        for per in RATE_UNITS:
            # how many true positives come before the first false positive that is too many
            allowed = np.array(REPORTED_RATES) * amounts[per] * (1 + 1e-9)
            ends = tp_above[np.searchsorted(fp, allowed, side="right")]
            tp = np.append(0.0, np.cumsum(weights[pooled.tp_patient[: ends[-1]]]))[ends]
            sensitivities = [float(count) / lesions if lesions and amounts[per] else None for count in tp]
            by_rate = dict(zip(REPORTED_RATES, sensitivities, strict=True))
            metrics |= {sensitivity_metric(rate, per): value for rate, value in by_rate.items()}
            metrics[froc_metric(per)] = _mean([by_rate[rate] for rate in FROC_RATES])
        return metrics

    return statistic


def _cumulative_fp(weights: Weights, patients: NDArray[np.int64], enough: float) -> NDArray[np.float64]:
    """The running sum of false positives by falling score, at least until it exceeds `enough`."""
    size = _FIRST_SUM
    while True:
        fp = np.cumsum(weights[patients[:size]])
        if size >= len(patients) or fp[-1] > enough * (1 + 1e-6):
            return fp
        size *= 4


def _metrics_in_use(pooled: PooledDetections, weights: Weights, lesions: float) -> dict[str, float | None]:
    """The metrics at the threshold in use."""
    tp = float(weights @ pooled.tp_in_use)
    fp = float(weights @ pooled.fp_in_use)
    return {
        "sensitivity": ratio(tp, lesions),
        "precision": ratio(tp, tp + fp),
        "f1": ratio(2 * tp, tp + fp + lesions),
        "fp_per_cm2": ratio(fp, float(weights @ pooled.cm2)),
        "fp_per_slide": ratio(fp, float(weights @ pooled.slides)),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if len(defined) == len(values) and defined else None


# ---------------------------------------------------------------- curve


@dataclass(frozen=True, kw_only=True)
class FrocCurve:
    """The FROC curve: a point for each threshold, strictest first, float64 (N,) each.

    Attributes:
        thresholds: Score thresholds; the first is infinite and detects nothing.
        sensitivity: Sensitivity; empty without lesions.
        fp_per_cm2: False positives per cm2; empty without area.
        fp_per_slide: False positives per slide; empty without slides.
    """

    thresholds: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    fp_per_cm2: NDArray[np.float64]
    fp_per_slide: NDArray[np.float64]

    def reaches(self, rate: float, per: RateUnit = "cm2") -> bool:
        """Whether some threshold has this false positive rate; otherwise the curve ends before."""
        rates = self.fp_per_cm2 if per == "cm2" else self.fp_per_slide
        return bool(len(rates)) and float(rates[-1]) >= rate * (1 - 1e-9)

    def end_note(self, per: RateUnit = "cm2") -> str | None:
        """Say where the curve ends, if that is before the last of `FROC_RATES`; else None."""
        rates = self.fp_per_cm2 if per == "cm2" else self.fp_per_slide
        if self.reaches(FROC_RATES[-1], per) or not len(rates):
            return None
        return (
            f"The curve ends at {rates[-1]:.3g} false positives per {per}, since no detection has a lower "
            "score; beyond it the last sensitivity is used, which more detections might raise."
        )


def froc_curve(
    slides: Sequence[SlideLesions],
    patients: Sequence[int],
    rule: str = PRIMARY_RULE,
    policy: str = STRICT,
) -> FrocCurve:
    """Compute the FROC curve of some slides, with a point for each score that occurs.

    Args:
        slides: The compared slides.
        patients: The number of each slide's patient, from 0.
        rule: A name from `MATCHING_RULES`.
        policy: A name from `ANNOTATION_POLICIES`.

    Returns:
        The curve.
    """
    pooled = pool_detections(slides, patients, rule=rule, policy=policy)
    # true and false positives at each score that occurs
    scores = np.unique(np.concatenate([pooled.tp_score, pooled.fp_score]))[::-1]
    tp_at = np.searchsorted(-pooled.tp_score, -scores, side="right").astype(np.float64)
    fp_at = np.searchsorted(-pooled.fp_score, -scores, side="right").astype(np.float64)

    # a first point, at an infinite threshold, detects nothing
    tp = np.concatenate([[0.0], tp_at])
    fp = np.concatenate([[0.0], fp_at])

    lesions = float(pooled.lesions.sum())
    cm2 = float(pooled.cm2.sum())
    count = float(pooled.slides.sum())
    undefined = np.zeros(0)
    return FrocCurve(
        thresholds=np.concatenate([[np.inf], scores]),
        sensitivity=tp / lesions if lesions else undefined,
        fp_per_cm2=fp / cm2 if cm2 else undefined,
        fp_per_slide=fp / count if count else undefined,
    )


# ---------------------------------------------------------------- operating points


def measure_operating_points(
    slides: Sequence[SlideLesions],
    patients: Sequence[str],
    *,
    source: PatientSource,
    threshold: float,
    model: str = "",
) -> OperatingPoints:
    """Measure the operating points: what each score gives as the score threshold.

    Detections are counted as for the FROC curve: one to one by the primary rule, with the strict policy. Only
    scores at which one more lesion is found are kept: between two of them, a threshold adds false positives
    alone.

    Args:
        slides: The compared slides.
        patients: The name of each slide's patient.
        source: Who the patients are, and whether they chose anything.
        threshold: The probability threshold at which regions are outlined.
        model: Hash of the model; "" in the model's own folder.

    Returns:
        The operating points, from the strictest to the laxest.
    """
    # the scores of the true positives, with all that reach each
    names = sorted(set(patients))
    pooled = pool_detections(slides, [names.index(patient) for patient in patients])
    scores = np.unique(pooled.tp_score)[::-1]
    tp = np.searchsorted(-pooled.tp_score, -scores, side="right")
    fp = np.searchsorted(-pooled.fp_score, -scores, side="right")

    # for each patient with lesions the highest score at which all of them are found
    weakest: dict[str, float] = {}
    for slide, patient in zip(slides, patients, strict=True):
        for score in slide.matchings[PRIMARY_RULE].found_at:
            weakest[patient] = min(weakest.get(patient, 1.0), 0.0 if score is None else score)

    return OperatingPoints(
        source=source,
        model=model,
        threshold=threshold,
        rule=PRIMARY_RULE,
        patients=tuple(names),
        slides=len(slides),
        lesions=int(pooled.lesions.sum()),
        cm2=float(pooled.cm2.sum()),
        points=tuple(
            OperatingRow(score=float(score), found=int(found), false_positives=int(false))
            for score, found, false in zip(scores, tp, fp, strict=True)
        ),
        weakest=tuple(sorted(weakest.values())),
    )
