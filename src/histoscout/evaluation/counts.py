"""Lesions and findings of some slides in plain numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from histoscout.evaluation.compare import SlideLesions
from histoscout.evaluation.matching import PRIMARY
from histoscout.evaluation.readings import READINGS, STRICT


@dataclass(frozen=True)
class LesionCounts:
    """What became of all lesions and findings at the threshold in use.

    `findings` are `found` (one for each lesion that is found), `duplicates`, `ignored` and `false`; in a reading
    other than strict some are not counted. `false_on` says what the false ones lie on. `splits` are missed
    lesions that several findings make up only together, `merges` findings that hold several lesions.
    """

    lesions: int
    found: int
    findings: int
    duplicates: int
    ignored: int
    false: int
    false_on: Mapping[str, int]
    splits: int
    merges: int
    outside_tissue: int
    slides: int
    tissue_mm2: float
    annotated_mm2: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def count_lesions_of(
    slides: Sequence[SlideLesions], rule: str = PRIMARY, reading: str = STRICT
) -> LesionCounts:
    """Count lesions and findings of slides at the threshold in use, by a rule and in a reading."""
    counts = READINGS[reading].counts
    places = [slide.findings[number].lies_on for slide in slides for number in slide.false_alarms(rule)]
    false = Counter(str(place) for place in places if counts(place))
    states = Counter(
        state
        for slide in slides
        for number, state in enumerate(slide.matchings[rule].states)
        if slide.in_use(number)
    )
    return LesionCounts(
        lesions=sum(len(slide.lesions) for slide in slides),
        found=sum(len(slide.hits(rule)) for slide in slides),
        findings=states.total(),
        duplicates=states["duplicate"],
        ignored=states["ignored"],
        false=false.total(),
        false_on=dict(false.most_common()),
        splits=sum(len(slide.splits) for slide in slides),
        merges=sum(len(slide.merges) for slide in slides),
        outside_tissue=sum(lesion.outside_tissue for slide in slides for lesion in slide.lesions),
        slides=len(slides),
        tissue_mm2=sum(slide.tissue_mm2 for slide in slides),
        annotated_mm2=sum(slide.annotated_mm2 for slide in slides),
    )
