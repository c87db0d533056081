"""Lesions and findings of some slides in plain numbers.

How many lesions of each size are found.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from histoscout.evaluation.bootstrap import Statistic, Weights
from histoscout.evaluation.lesions.compare import SlideLesions
from histoscout.evaluation.lesions.froc import READINGS, STRICT
from histoscout.evaluation.lesions.matching import PRIMARY


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


EDGES_UM = (100.0, 200.0, 400.0)
FEWEST = 5  # a stratum with fewer lesions says little

Strata = tuple[float, ...]


def strata_of(slides: Sequence[SlideLesions]) -> Strata:
    """The diameters in um at which lesions are divided: 100, 200 and 400 if that says something.

    If fewer than two strata would hold 5 lesions, the thirds of the lesions' own diameters, rounded to two
    digits; none at all for fewer than 15 lesions.
    """
    diameters = np.array([lesion.diameter_um for slide in slides for lesion in slide.lesions])
    counts = np.bincount(np.searchsorted(EDGES_UM, diameters, side="right"), minlength=len(EDGES_UM) + 1)
    if (counts >= FEWEST).sum() >= 2:
        return EDGES_UM
    if len(diameters) < 3 * FEWEST:
        return ()
    thirds = np.quantile(diameters, [1 / 3, 2 / 3])
    return tuple(sorted({float(f"{edge:.2g}") for edge in thirds}))


def stratum_names(strata: Strata) -> list[str]:
    """The strata in words, smallest first: "under 100 um", "100 to 200 um", ..., "400 um and more"."""
    if not strata:
        return ["any size"]
    between = [f"{low:g} to {high:g} um" for low, high in pairwise(strata)]
    return [f"under {strata[0]:g} um", *between, f"{strata[-1]:g} um and more"]


def lesions_by_size(slides: Sequence[SlideLesions], strata: Strata) -> dict[str, int]:
    """How many lesions each stratum holds."""
    sizes = [lesion.diameter_um for slide in slides for lesion in slide.lesions]
    counts = np.bincount(np.searchsorted(strata, sizes, side="right"), minlength=len(strata) + 1)
    return dict(zip(stratum_names(strata), counts.tolist(), strict=True))


def size_statistic(
    slides: Sequence[SlideLesions], patients: Sequence[int], strata: Strata, rule: str = PRIMARY
) -> Statistic:
    """The sensitivity for lesions of each stratum at the threshold in use, by the patients' weights."""
    shape = (max(patients, default=-1) + 1, len(strata) + 1)
    lesions, found = np.zeros(shape), np.zeros(shape)
    for slide, patient in zip(slides, patients, strict=True):
        sizes = np.searchsorted(strata, [lesion.diameter_um for lesion in slide.lesions], side="right")
        has = [by is not None for by in slide.matchings[rule].finding_of]
        np.add.at(lesions[patient], sizes, 1)
        np.add.at(found[patient], sizes, has)
    names = stratum_names(strata)

    def statistic(weights: Weights) -> dict[str, float | None]:
        totals, hits = weights @ lesions, weights @ found
        return {
            name: float(hit / total) if total else None
            for name, hit, total in zip(names, hits, totals, strict=True)
        }

    return statistic
