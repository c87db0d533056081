"""What each score is worth as a cut-off: from the lesions of some patients to the table that wishes are read off."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from histoscout.detection.operating import Operating, Point, Source
from histoscout.evaluation.compare import SlideLesions
from histoscout.evaluation.matching import PRIMARY
from histoscout.evaluation.readings import pooled


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
