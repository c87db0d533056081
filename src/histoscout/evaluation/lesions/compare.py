"""Detections of one slide compared with its annotated lesions.

Every detection is matched with a lesion or located: on a lesion after all, another class, unannotated tissue,
an artifact, or outside the tissue.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.evaluation.lesions.matching import (
    MATCHING_RULES,
    PRIMARY_RULE,
    Areas,
    DetectionState,
    Matching,
    Overlaps,
    find_overlaps,
    match_detections,
    merge_overlapping,
)
from histoscout.evaluation.reference import Reference
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.regions import Region, Regions
from histoscout.tissue.mask import Tissue

MAJORITY = 0.5
"""From this part of an area on, most of it is there."""

SPLIT_IOU = 0.3
"""Pieces that together have at least this intersection over union with a lesion are that lesion, split."""

_Mask = NDArray[np.bool_]


# ---------------------------------------------------------------- where detections are

LocationKind = Literal["lesion", "other class", "unannotated tissue", "artifact", "outside tissue"]
LOCATION_KINDS: Mapping[LocationKind, str] = {
    "lesion": "on a lesion, but badly outlined (a piece of it, or far too large)",
    "other class": "on an annotation of another class",
    "unannotated tissue": "on tissue where nothing is annotated",
    "artifact": "on a pen mark or where the slide is out of focus",
    "outside tissue": "where there is no tissue",
}
"""Where a detection can be, with a description."""


@dataclass(frozen=True)
class Location:
    """Where most of a detection is.

    Attributes:
        kind: One of `LOCATION_KINDS`.
        label: The other class, where it is one; "" for unclassified annotations.
    """

    kind: LocationKind
    label: str = ""

    def __str__(self) -> str:
        """The kind, with the class where it is another one."""
        return f"{self.kind}: {self.label or 'unclassified'}" if self.kind == "other class" else self.kind


def locate_detections(
    detections: Regions, pairs: Overlaps, other_classes: Mapping[str, Regions], tissue: Tissue
) -> list[Location]:
    """Find where each detection is.

    It is on a lesion if at least half of it is inside lesions, or if it holds at least half of one. Otherwise
    it is where the largest part of it is: on annotations of another class, on unannotated tissue, on an
    artifact, or outside the tissue.

    Args:
        detections: The detected regions, level-0 px.
        pairs: Overlaps of lesions (first) and detections (second).
        other_classes: The annotations of each other class, merged, by label.
        tissue: The tissue of the slide.

    Returns:
        The location of each detection.
    """
    # detections on lesions
    in_lesions = np.minimum(1, pairs.covered_area() / pairs.second_area)
    holds_lesion = np.bincount(pairs.second, pairs.fraction_of_first >= MAJORITY, len(detections)) > 0
    on_lesion = (in_lesions >= MAJORITY) | holds_lesion

    # the parts of each detection on unannotated tissue, artifacts, outside the tissue, and each other class
    in_class = {label: fraction_inside(areas, detections) for label, areas in other_classes.items()}
    parts = np.array([_tissue_fractions(region, tissue) for region in detections]).reshape(-1, 3)
    annotated = np.sum([in_lesions, *in_class.values()], axis=0)
    parts[:, 0] = np.maximum(0, parts[:, 0] - annotated)
    parts = np.column_stack([parts, *in_class.values()])

    # the largest part decides, unless most of it is on a lesion
    locations = [
        Location("unannotated tissue"),
        Location("artifact"),
        Location("outside tissue"),
        *(Location("other class", label) for label in other_classes),
    ]
    return [
        Location("lesion") if is_lesion else locations[largest]
        for is_lesion, largest in zip(on_lesion.tolist(), parts.argmax(1).tolist(), strict=True)
    ]


def fraction_inside(areas: Regions, regions: Regions) -> Areas:
    """Measure the part of each region that is inside merged areas: float64 (regions,).

    Args:
        areas: The areas, which are merged.
        regions: The regions.

    Returns:
        A fraction for each region, float64 (regions,).
    """
    pairs = find_overlaps(areas, regions)
    return np.asarray(np.minimum(1, pairs.covered_area() / pairs.second_area))


def _tissue_fractions(region: Region, tissue: Tissue) -> tuple[float, float, float]:
    """The parts of a region that are tissue, artifact and neither, by the tissue mask.

    A region that contains no cell center is taken as the cell below its own center.
    """
    # the cells of the region's bounding box
    whole = tissue.box
    bounds = region.box
    rows = _cells(bounds.y - whole.y, bounds.bottom - whole.y, tissue.scale, tissue.mask.shape[0])
    columns = _cells(bounds.x - whole.x, bounds.right - whole.x, tissue.scale, tissue.mask.shape[1])
    is_tissue = tissue.mask[rows, columns]
    is_artifact = tissue.artifact_mask[rows, columns]
    if is_tissue.all():
        return 1.0, 0.0, 0.0

    # those of them that are inside the region
    height, width = is_tissue.shape
    box = Box(
        whole.x + columns.start * tissue.scale,
        whole.y + rows.start * tissue.scale,
        width * tissue.scale,
        height * tissue.scale,
    )
    inside = polygon_to_mask(region.outline, box, tissue.scale)
    if not inside.any():
        inside[height // 2, width // 2] = True
    on_tissue = float(is_tissue[inside].mean())
    on_artifact = float(is_artifact[inside].mean())
    return on_tissue, on_artifact, max(0.0, 1 - on_tissue - on_artifact)


def _cells(low: float, high: float, scale: float, count: int) -> slice:
    """The cells that a stretch intersects, at least one."""
    first = min(count - 1, max(0, math.floor(low / scale)))
    return slice(first, max(first + 1, min(count, math.ceil(high / scale))))


# ---------------------------------------------------------------- annotated lesions


@dataclass(frozen=True)
class Lesion:
    """An annotated lesion; annotations drawn over one another are one.

    Attributes:
        region: The annotation, level-0 px.
        diameter_um: Diameter of a circle of the same area, um.
        outside_tissue: Whether most of it is outside the tissue that is analyzed.
    """

    region: Region
    diameter_um: float
    outside_tissue: bool


@dataclass(frozen=True, kw_only=True)
class ReferenceLesions:
    """The annotations of a slide, prepared to be compared with any number of methods.

    Attributes:
        lesions: The lesions.
        other_classes: The annotations of each other class, merged, by label.
        ignored: The areas to be ignored, merged.
        annotated_mm2: Area of all annotations, whatever their class.
        notes: What the user should know about the annotations.
    """

    lesions: tuple[Lesion, ...]
    other_classes: Mapping[str, Regions]
    ignored: Regions
    annotated_mm2: float
    notes: tuple[str, ...]

    @property
    def regions(self) -> Regions:
        """The annotations of the lesions."""
        return Regions.of(lesion.region for lesion in self.lesions)


def find_reference_lesions(reference: Reference) -> ReferenceLesions:
    """Sort the annotations of a slide into lesions, other classes and ignored areas.

    Args:
        reference: The annotations and tissue of the slide.

    Returns:
        The lesions and the rest; lesions mostly inside ignored areas are no lesions.
    """
    # lesions, without those mostly inside ignored areas
    positive = merge_overlapping(reference.positive)
    ignored = merge_overlapping(reference.ignored)
    is_counted = (fraction_inside(ignored, positive) < MAJORITY).tolist()
    lesions = tuple(
        Lesion(
            region,
            diameter_um=2 * math.sqrt(region.outline.area / math.pi) * reference.mpp,
            outside_tissue=_tissue_fractions(region, reference.tissue)[0] < MAJORITY,
        )
        for region, counted in zip(positive, is_counted, strict=True)
        if counted
    )

    # annotations of other classes, and the area of all
    others = reference.annotated.where(lambda region: region.label != reference.recipe.classes.positive)
    union = shapely.disjoint_subset_union_all([region.outline for region in reference.annotated])

    # notes on what is unusual
    outside = sum(lesion.outside_tissue for lesion in lesions)
    in_ignored = is_counted.count(False)
    repeated = len(reference.positive) - len(positive)
    notes = {
        f"{outside} of {len(lesions)} lesions are mostly outside the analyzed tissue; they count": outside,
        f"{in_ignored} lesions are mostly in ignored areas; they do not count": in_ignored,
        f"{repeated} annotations overlap others of their class; they count as one lesion": repeated,
    }
    return ReferenceLesions(
        lesions=lesions,
        other_classes={label: merge_overlapping(others.with_labels(label)) for label in others.labels},
        ignored=ignored,
        annotated_mm2=float(union.area) * reference.mpp**2 * 1e-6,
        notes=tuple(note for note, count in notes.items() if count),
    )


# ---------------------------------------------------------------- comparison


@dataclass(frozen=True)
class Detection:
    """A detected region and its location.

    Attributes:
        region: The region, level-0 px.
        location: Where most of it is.
    """

    region: Region
    location: Location

    @property
    def score(self) -> float:
        """The score of the region; 1 if it has none."""
        return 1.0 if self.region.score is None else self.region.score


@dataclass(frozen=True, kw_only=True)
class SlideLesions:
    """The lesions and detections of one slide, matched by each rule.

    Attributes:
        threshold: The score threshold in use.
        lesions: The annotated lesions.
        detections: The detections, also those below the threshold.
        matchings: The matching by each of `MATCHING_RULES`; numbers in it count `lesions` and `detections`.
        splits: Missed lesions (by the primary rule) with the detections above the threshold that cover them
            only together.
        merges: Detections above the threshold with the several lesions that each of them covers.
        tissue_mm2: Area of tissue that is not ignored.
        annotated_mm2: Area of all annotations, whatever their class.
        notes: What the user should know about the annotations.
    """

    threshold: float
    lesions: tuple[Lesion, ...]
    detections: tuple[Detection, ...]
    matchings: Mapping[str, Matching]
    splits: Mapping[int, tuple[int, ...]]
    merges: Mapping[int, tuple[int, ...]]
    tissue_mm2: float
    annotated_mm2: float
    notes: tuple[str, ...] = ()

    def is_in_use(self, detection: int) -> bool:
        """Whether a detection (by its number) reaches the threshold in use."""
        return self.detections[detection].score >= self.threshold

    def false_positives(self, rule: str = PRIMARY_RULE) -> list[int]:
        """List the numbers of the false positives at the threshold in use, highest score first."""
        false_positives = [
            number
            for number, state in enumerate(self.matchings[rule].states)
            if state == "false positive" and self.is_in_use(number)
        ]
        return sorted(false_positives, key=lambda number: -self.detections[number].score)

    def false_negatives(self, rule: str = PRIMARY_RULE) -> list[int]:
        """List the numbers of the lesions that no detection in use finds."""
        return [
            lesion for lesion, detection in enumerate(self.matchings[rule].detection_of) if detection is None
        ]

    def true_positives(self, rule: str = PRIMARY_RULE) -> list[tuple[int, int]]:
        """List the lesions found at the threshold in use, each with the detection that finds it."""
        return [
            (lesion, detection)
            for lesion, detection in enumerate(self.matchings[rule].detection_of)
            if detection is not None
        ]


def compare_lesions(
    reference: Reference,
    detected: Regions,
    threshold: float = 0.0,
    lesions: ReferenceLesions | None = None,
) -> SlideLesions:
    """Compare detected regions with everything that is annotated on a slide.

    Lesions are the annotations of the positive class. Ignored areas count neither way: a detection that fits
    no lesion and is mostly inside them is no false positive, a lesion mostly inside them is no lesion.

    Args:
        reference: The annotations and tissue of the slide; neither its pixels nor a network are needed.
        detected: The detected regions, level-0 px.
        threshold: The score threshold in use; regions below it count for the FROC curve only.
        lesions: What `find_reference_lesions` returns for this reference, if several methods are compared.

    Returns:
        The comparison.
    """
    # locate every detection
    lesions = lesions or find_reference_lesions(reference)
    lesion_regions = lesions.regions
    pairs = find_overlaps(lesion_regions, detected)
    locations = locate_detections(detected, pairs, lesions.other_classes, reference.tissue)
    detections = tuple(
        Detection(region, location) for region, location in zip(detected, locations, strict=True)
    )
    scores = np.array([detection.score for detection in detections], np.float64)

    # match by each rule; false positives in ignored areas are ignored
    in_ignored = (fraction_inside(lesions.ignored, detected) >= MAJORITY).tolist()
    matchings: dict[str, Matching] = {}
    for name, rule in MATCHING_RULES.items():
        fits = rule.fits(pairs, lesion_regions, detected)
        matching = match_detections(pairs, fits, scores, threshold=threshold)
        states: tuple[DetectionState, ...] = tuple(
            "ignored" if ignored and state == "false positive" else state
            for state, ignored in zip(matching.states, in_ignored, strict=True)
        )
        matchings[name] = replace(matching, states=states)

    # what is split or merged at the threshold in use
    in_use = scores >= threshold
    return SlideLesions(
        threshold=threshold,
        lesions=lesions.lesions,
        detections=detections,
        matchings=matchings,
        splits=_find_splits(
            pairs, matchings[PRIMARY_RULE], lesions=lesion_regions, detected=detected, in_use=in_use
        ),
        merges=_find_merges(pairs, in_use),
        tissue_mm2=reference.evaluated_mm2,
        annotated_mm2=lesions.annotated_mm2,
        notes=lesions.notes,
    )


def _find_splits(
    pairs: Overlaps, matching: Matching, *, lesions: Regions, detected: Regions, in_use: _Mask
) -> dict[int, tuple[int, ...]]:
    """Missed lesions that several detections make up together, each of them mostly inside."""
    pieces: dict[int, list[int]] = {}
    inside = (pairs.fraction_of_second >= MAJORITY) & in_use[pairs.second]
    for lesion, detection in zip(pairs.first[inside].tolist(), pairs.second[inside].tolist(), strict=True):
        if matching.detection_of[lesion] is None:
            pieces.setdefault(lesion, []).append(detection)
    return {
        lesion: tuple(numbers)
        for lesion, numbers in pieces.items()
        if len(numbers) > 1
        and _iou_of_union(lesions[lesion], [detected[number] for number in numbers]) >= SPLIT_IOU
    }


def _iou_of_union(lesion: Region, pieces: Sequence[Region]) -> float:
    """Intersection over union of a lesion with the union of pieces."""
    union = shapely.union_all([piece.outline for piece in pieces])
    shared = float(lesion.outline.intersection(union).area)
    return shared / (float(lesion.outline.area) + float(union.area) - shared)


def _find_merges(pairs: Overlaps, in_use: _Mask) -> dict[int, tuple[int, ...]]:
    """Detections that hold at least half of each of several lesions."""
    lesions: dict[int, list[int]] = {}
    held = (pairs.fraction_of_first >= MAJORITY) & in_use[pairs.second]
    for lesion, detection in zip(pairs.first[held].tolist(), pairs.second[held].tolist(), strict=True):
        lesions.setdefault(detection, []).append(lesion)
    return {detection: tuple(several) for detection, several in lesions.items() if len(several) > 1}
