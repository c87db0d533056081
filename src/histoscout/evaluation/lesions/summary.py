"""Counts of lesions and detections over some slides, in all and by lesion size."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.heatmap import LEVELS, Heatmap
from histoscout.evaluation.bootstrap import Statistic, Weights
from histoscout.evaluation.lesions.compare import SlideLesions
from histoscout.evaluation.lesions.froc import ANNOTATION_POLICIES, STRICT
from histoscout.evaluation.lesions.matching import PRIMARY_RULE
from histoscout.evaluation.pixels.counts import ratio
from histoscout.evaluation.reference import Reference
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import pixel_runs
from histoscout.geometry.regions import Region


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


SCORE_DESCRIPTION = "the mean probability of the positive class inside the annotation"
"""How annotations are scored, for reports."""

ALL_OTHERS = "all other classes"
"""Name of the comparison with all other classes together."""


@dataclass(frozen=True)
class ScoredAnnotation:
    """An annotation with its score.

    Attributes:
        id: The id of its region.
        label: Its class.
        score: Mean probability of the positive class inside it.
    """

    id: str
    label: str
    score: float


def score_annotations(reference: Reference, heatmap: Heatmap) -> tuple[ScoredAnnotation, ...]:
    """Score every annotation, whatever its class; ignored areas are left out.

    Places that were not analyzed have a probability of 0. An annotation that contains no cell center is
    scored by the cell below a point inside it.

    Args:
        reference: The annotations of the slide.
        heatmap: The heatmap of the slide.

    Returns:
        The scored annotations in their order.
    """
    # the box of the heatmap's whole cells, which may reach beyond the slide
    levels = heatmap.levels(reference.recipe.classes.positive)
    rows, columns = levels.shape
    box = Box(heatmap.box.x, heatmap.box.y, columns * heatmap.scale, rows * heatmap.scale)

    # mean level of the cells inside each annotation, or of the cell below it
    runs = pixel_runs([region.outline for region in reference.annotated], box, heatmap.scale)
    means = [
        total / count if count else _level_below(region, levels, heatmap)
        for region, total, count in zip(
            reference.annotated, runs.sums(levels).tolist(), runs.pixel_counts().tolist(), strict=True
        )
    ]
    return tuple(
        ScoredAnnotation(region.id, region.label, mean / (LEVELS - 1))
        for region, mean in zip(reference.annotated, means, strict=True)
    )


def _level_below(region: Region, levels: NDArray[np.uint8], heatmap: Heatmap) -> float:
    """The level of the cell below a point inside a region, or of the nearest cell to it."""
    point = region.outline.representative_point()
    offsets = ((point.y - heatmap.box.y, levels.shape[0]), (point.x - heatmap.box.x, levels.shape[1]))
    row, column = (min(count - 1, max(0, int(offset // heatmap.scale))) for offset, count in offsets)
    return float(levels[row, column])


def class_auroc_statistic(
    slides: Sequence[Sequence[ScoredAnnotation]], patients: Sequence[int], positive: str
) -> Statistic:
    """Make the class AUROCs a function of the patients' weights.

    The AUROC is the chance that a random annotation of the positive class has a higher score than a random
    one of the other class (half where they are equal).

    Args:
        slides: The scored annotations of each slide.
        patients: The number of each slide's patient, from 0.
        positive: The positive class.

    Returns:
        The statistic: a metric for each other class, and `ALL_OTHERS` if there are several.
    """
    scores = np.array([annotation.score for slide in slides for annotation in slide], np.float64)
    labels = np.array([annotation.label for slide in slides for annotation in slide], dtype=object)
    patient = np.repeat(np.asarray(patients, np.int64), [len(slide) for slide in slides])
    is_positive = np.array([label == positive for label in labels], bool)

    # one comparison a class: its annotations and the positive ones
    others = sorted({label for label in labels if label != positive})
    masks = {other: is_positive | np.array([label == other for label in labels], bool) for other in others}
    if len(others) > 1:
        masks[ALL_OTHERS] = np.ones(len(labels), bool)
    ranked = {
        name or "unclassified": RankedScores.from_scores(scores[mask], is_positive[mask], patient[mask])
        for name, mask in masks.items()
    }

    def statistic(weights: Weights) -> dict[str, float | None]:
        return {name: ranking.auroc(weights) for name, ranking in ranked.items()}

    return statistic


@dataclass(frozen=True)
class RankedScores:
    """Scores sorted once from the lowest up, for an AUROC with any weights of the patients.

    Attributes:
        patient: The patient of each score, int64 (N,).
        positive: Whether each score is of the positive class, bool (N,).
        starts: Where each different score starts, int64.
    """

    patient: NDArray[np.int64]
    positive: NDArray[np.bool_]
    starts: NDArray[np.int64]

    @classmethod
    def from_scores(
        cls, scores: NDArray[np.float64], positive: NDArray[np.bool_], patient: NDArray[np.int64]
    ) -> "RankedScores":
        """Sort scores.

        Args:
            scores: The scores, float64 (N,).
            positive: Whether each is of the positive class, bool (N,).
            patient: The number of each one's patient, int64 (N,).

        Returns:
            The sorted scores.
        """
        order = np.argsort(scores, kind="stable")
        starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
        return cls(patient[order], positive[order], starts.astype(np.int64))

    def auroc(self, weights: Weights) -> float | None:
        """Compute the AUROC (Mann-Whitney), ties counted half; None without one of the kinds."""
        # each score counts as often as its patient
        all_weights = weights[self.patient]
        positive = np.where(self.positive, all_weights, 0.0)
        negative = all_weights - positive
        total = float(positive.sum()) * float(negative.sum())
        if not total:
            return None
        # equal scores are added up, so that ties count half
        if len(self.starts) < len(all_weights):
            positive = np.add.reduceat(positive, self.starts)
            negative = np.add.reduceat(negative, self.starts)
        below = np.cumsum(negative) - negative / 2
        return float(positive @ below) / total
