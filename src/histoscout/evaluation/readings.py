"""Which findings count as false alarms where not everything was annotated, and on what area."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from histoscout.evaluation.compare import SlideLesions
from histoscout.evaluation.false_alarms import LiesOn
from histoscout.evaluation.matching import PRIMARY


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
