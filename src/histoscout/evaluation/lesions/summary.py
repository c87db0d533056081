"""Counts of lesions and detections over some slides, in all and by lesion size."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from histoscout.evaluation.bootstrap import Statistic, Weights
from histoscout.evaluation.lesions.compare import SlideLesions
from histoscout.evaluation.lesions.froc import ANNOTATION_POLICIES, STRICT
from histoscout.evaluation.lesions.matching import PRIMARY_RULE
from histoscout.evaluation.pixels.counts import ratio


@dataclass(frozen=True, kw_only=True)
class LesionCounts:
    """Counts of all lesions and detections at the threshold in use.

    Detections are true positives, duplicates, ignored ones and false positives; by a policy other than strict
    some are not counted.

    Attributes:
        lesions: Annotated lesions.
        true_positives: Detections that find a lesion, which is also how many lesions are found.
        detections: All detections.
        duplicates: Further detections of lesions that are found.
        ignored: Detections in ignored areas.
        false_positives: Detections that fit no lesion.
        false_positives_on: False positives by location.
        splits: Missed lesions that several detections make up only together.
        merges: Detections that hold several lesions.
        outside_tissue: Lesions mostly outside the tissue.
        slides: Slides.
        tissue_mm2: Tissue that is not ignored, mm2.
        annotated_mm2: Area of all annotations, mm2.
    """

    lesions: int
    true_positives: int
    detections: int
    duplicates: int
    ignored: int
    false_positives: int
    false_positives_on: Mapping[str, int]
    splits: int
    merges: int
    outside_tissue: int
    slides: int
    tissue_mm2: float
    annotated_mm2: float

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for scores.json."""
        return asdict(self)


def count_lesions(
    slides: Sequence[SlideLesions], rule: str = PRIMARY_RULE, policy: str = STRICT
) -> LesionCounts:
    """Count the lesions and detections of some slides at the threshold in use.

    Args:
        slides: The compared slides.
        rule: A name from `MATCHING_RULES`.
        policy: A name from `ANNOTATION_POLICIES`.

    Returns:
        The counts.
    """
    # false positives by location, as the policy counts them
    is_counted = ANNOTATION_POLICIES[policy].is_false_positive
    locations = [
        slide.detections[number].location for slide in slides for number in slide.false_positives(rule)
    ]
    false_positives = Counter(str(location) for location in locations if is_counted(location))

    # all detections in use by state
    states = Counter(
        state
        for slide in slides
        for number, state in enumerate(slide.matchings[rule].states)
        if slide.is_in_use(number)
    )
    return LesionCounts(
        lesions=sum(len(slide.lesions) for slide in slides),
        true_positives=sum(len(slide.true_positives(rule)) for slide in slides),
        detections=states.total(),
        duplicates=states["duplicate"],
        ignored=states["ignored"],
        false_positives=false_positives.total(),
        false_positives_on=dict(false_positives.most_common()),
        splits=sum(len(slide.splits) for slide in slides),
        merges=sum(len(slide.merges) for slide in slides),
        outside_tissue=sum(lesion.outside_tissue for slide in slides for lesion in slide.lesions),
        slides=len(slides),
        tissue_mm2=sum(slide.tissue_mm2 for slide in slides),
        annotated_mm2=sum(slide.annotated_mm2 for slide in slides),
    )


# ---------------------------------------------------------------- by size

SIZE_EDGES_UM = (100.0, 200.0, 400.0)
"""Diameters at which lesions are divided, um."""

MIN_LESIONS = 5
"""A stratum with fewer lesions is too small for a metric."""

Strata = tuple[float, ...]
"""The diameters in um that divide lesions, from the smallest up."""


def choose_size_strata(slides: Sequence[SlideLesions]) -> Strata:
    """Choose the diameters in um that divide lesions into size strata.

    Args:
        slides: The compared slides.

    Returns:
        `SIZE_EDGES_UM`; if fewer than two strata would hold 5 lesions, the thirds of the lesions' own
        diameters, rounded to two digits; nothing at all for fewer than 15 lesions.
    """
    # fixed diameters if two strata hold enough lesions, else thirds, else none
    diameters = np.array([lesion.diameter_um for slide in slides for lesion in slide.lesions])
    strata = np.searchsorted(SIZE_EDGES_UM, diameters, side="right")
    counts = np.bincount(strata, minlength=len(SIZE_EDGES_UM) + 1)
    if (counts >= MIN_LESIONS).sum() >= 2:
        return SIZE_EDGES_UM
    if len(diameters) < 3 * MIN_LESIONS:
        return ()
    thirds = np.quantile(diameters, [1 / 3, 2 / 3])
    return tuple(sorted({float(f"{edge:.2g}") for edge in thirds}))


def stratum_names(strata: Strata) -> list[str]:
    """Name the size strata, smallest first, such as "under 100 um" and "100 to 200 um".

    Args:
        strata: Limits of the strata.

    Returns:
        One name for each stratum.
    """
    if not strata:
        return ["any size"]
    between = [f"{low:g} to {high:g} um" for low, high in pairwise(strata)]
    return [f"under {strata[0]:g} um", *between, f"{strata[-1]:g} um and more"]


def count_by_size(slides: Sequence[SlideLesions], strata: Strata) -> dict[str, int]:
    """Count the lesions of each size stratum, by its name.

    Args:
        slides: The slides.
        strata: Limits of the strata.

    Returns:
        Number of lesions by name of the stratum.
    """
    sizes = [lesion.diameter_um for slide in slides for lesion in slide.lesions]
    counts = np.bincount(np.searchsorted(strata, sizes, side="right"), minlength=len(strata) + 1)
    return dict(zip(stratum_names(strata), counts.tolist(), strict=True))


def size_statistic(
    slides: Sequence[SlideLesions], patients: Sequence[int], strata: Strata, rule: str = PRIMARY_RULE
) -> Statistic:
    """Make the sensitivity of each size stratum a function of the patients' weights.

    Args:
        slides: The compared slides.
        patients: The number of each slide's patient, from 0.
        strata: The diameters from `choose_size_strata`.
        rule: A name from `MATCHING_RULES`.

    Returns:
        The statistic: sensitivity at the threshold in use, by the name of the stratum.
    """
    # lesions and found lesions of each patient in each stratum
    shape = (max(patients, default=-1) + 1, len(strata) + 1)
    lesions = np.zeros(shape)
    found = np.zeros(shape)
    for slide, patient in zip(slides, patients, strict=True):
        sizes = np.searchsorted(strata, [lesion.diameter_um for lesion in slide.lesions], side="right")
        is_found = [detection is not None for detection in slide.matchings[rule].detection_of]
        np.add.at(lesions[patient], sizes, 1)
        np.add.at(found[patient], sizes, is_found)
    names = stratum_names(strata)

    def statistic(weights: Weights) -> dict[str, float | None]:
        parts = zip(names, weights @ found, weights @ lesions, strict=True)
        return {name: ratio(part, total) for name, part, total in parts}

    return statistic
