"""Object metrics of the GlaS challenge, and panoptic quality: are single lesions outlined one by one?

Object F1, object Dice and object Hausdorff distance follow Sirinukunwattana 2017 (Medical Image Analysis 35:489,
section 5), panoptic quality follows Kirillov 2019 (CVPR). Objects that run together cost all of them, while pixel
metrics hardly notice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.evaluation.bootstrap import Statistic, Weights
from histoscout.evaluation.lesions.compare import SlideLesions
from histoscout.evaluation.lesions.matching import Overlaps, find_overlaps
from histoscout.evaluation.pixels.counts import ratio
from histoscout.geometry.regions import Outline, Regions

COVERED = 0.5
"""A detection is a true positive if it covers at least this part of the object that it overlaps most."""

PANOPTIC_IOU = 0.5
"""Above this intersection over union, an object and a detection are one; no object can have two of them."""

STEPS = 48
"""Points along the longer side of an outline, between which a Hausdorff distance is not looked for."""

OBJECT_METRICS: Mapping[str, str] = {
    "object_f1": "objects detected one by one (F1, half of the object covered)",
    "object_dice": "Dice of objects and detections, weighted by area",
    "object_hausdorff_um": "Hausdorff distance of objects and detections, weighted by area, um",
    "panoptic_quality": "F1 at IoU above .5, times the mean IoU of the matched",
}
"""The metrics, each with a description."""


@dataclass(frozen=True, kw_only=True)
class ObjectSums:
    """Sums over the objects of a slide, from which the object metrics of any set of slides are made.

    Attributes:
        tp: Detections that cover at least half of the object that they overlap most.
        fp: Other detections.
        fn: Objects that no such detection covers.
        object_area: Area of the objects, um2.
        detection_area: Area of the detections, um2.
        object_dice: Dice of each object with the detection that it overlaps most, times its area, um2.
        detection_dice: Dice of each detection with the object that it overlaps most, times its area, um2.
        object_distance: Hausdorff distance of each object, times its area, um3.
        detection_distance: Hausdorff distance of each detection, times its area, um3.
        unmatched_area: Area of objects and detections for which there is nothing to measure a distance to, um2.
        matched: Pairs with an IoU above .5.
        iou: Sum of their IoU.
        objects: Number of objects.
        detections: Number of detections.
    """

    tp: float = 0
    fp: float = 0
    fn: float = 0
    object_area: float = 0
    detection_area: float = 0
    object_dice: float = 0
    detection_dice: float = 0
    object_distance: float = 0
    detection_distance: float = 0
    unmatched_area: float = 0
    matched: float = 0
    iou: float = 0
    objects: float = 0
    detections: float = 0

    def metrics(self) -> dict[str, float | None]:
        """Compute the metrics of `OBJECT_METRICS`; None where there is nothing to divide by.

        Without any object or detection on one side, the Hausdorff distance is undefined.
        """
        halves = [
            (self.object_dice, self.detection_dice),
            (self.object_distance, self.detection_distance),
        ]
        dice, distance = (
            None
            if not self.object_area + self.detection_area
            else 0.5 * ((ratio(first, self.object_area) or 0.0) + (ratio(second, self.detection_area) or 0.0))
            for first, second in halves
        )
        return {
            "object_f1": ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn),
            "object_dice": dice,
            "object_hausdorff_um": None if self.unmatched_area or not self.objects else distance,
            "panoptic_quality": ratio(2 * self.iou, self.objects + self.detections),
        }


_SUMS = tuple(field.name for field in fields(ObjectSums))


def sum_objects(slide: SlideLesions, mpp: float) -> ObjectSums:
    """Compare the lesions of a slide as objects with the detections at the threshold in use.

    Detections that count neither way, since they are in ignored areas, are left out.

    Args:
        slide: The compared slide.
        mpp: um per level-0 px.

    Returns:
        The sums.
    """
    used = [
        detection.region
        for number, detection in enumerate(slide.detections)
        if slide.is_in_use(number) and all(m.states[number] != "ignored" for m in slide.matchings.values())
    ]
    return compare_objects(Regions.of(lesion.region for lesion in slide.lesions), Regions.of(used), mpp)


def compare_objects(objects: Regions, detections: Regions, mpp: float = 1.0) -> ObjectSums:
    """Compare annotated objects with detections.

    Args:
        objects: The annotated objects, level-0 px.
        detections: The detections, level-0 px.
        mpp: um per level-0 px.

    Returns:
        The sums.
    """
    pairs = find_overlaps(objects, detections)
    reverse = Overlaps(
        first=pairs.second,
        second=pairs.first,
        shared=pairs.shared,
        first_area=pairs.second_area,
        second_area=pairs.first_area,
    )
    detection_of = _largest_overlap(pairs)
    object_of = _largest_overlap(reverse)

    # a detection is a true positive if it covers half of its object
    shared = dict(
        zip(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True), pairs.shared, strict=True)
    )
    covering = {
        number: detection
        for detection, number in enumerate(object_of)
        if number is not None and shared[number, detection] >= COVERED * pairs.first_area[number]
    }
    # of several detections, only one can cover half of an object unless they overlap one another
    tp = len(covering)

    iou = pairs.iou[pairs.iou > PANOPTIC_IOU]
    object_side = _side(objects, detections, detection_of)
    detection_side = _side(detections, objects, object_of)
    return ObjectSums(
        tp=tp,
        fp=len(detections) - tp,
        fn=len(objects) - tp,
        object_area=float(pairs.first_area.sum()) * mpp**2,
        detection_area=float(pairs.second_area.sum()) * mpp**2,
        object_dice=object_side.dice * mpp**2,
        detection_dice=detection_side.dice * mpp**2,
        object_distance=object_side.distance * mpp**3,
        detection_distance=detection_side.distance * mpp**3,
        unmatched_area=(object_side.unmatched_area + detection_side.unmatched_area) * mpp**2,
        matched=len(iou),
        iou=float(iou.sum()),
        objects=len(objects),
        detections=len(detections),
    )


def object_statistic(slides: Sequence[ObjectSums], patients: Sequence[int]) -> Statistic:
    """Make the object metrics a function of the patients' weights.

    Args:
        slides: The sums of each slide.
        patients: The number of each slide's patient, from 0.

    Returns:
        The statistic, for `bootstrap`.
    """
    totals = np.zeros((max(patients, default=-1) + 1, len(_SUMS)))
    for slide, patient in zip(slides, patients, strict=True):
        totals[patient] += [getattr(slide, name) for name in _SUMS]

    def statistic(weights: Weights) -> dict[str, float | None]:
        sums = (weights @ totals).tolist()
        return ObjectSums(**dict(zip(_SUMS, sums, strict=True))).metrics()

    return statistic


# ---------------------------------------------------------------- distances


@dataclass(frozen=True, kw_only=True)
class _Side:
    """Sums over the regions of one side: Dice and distance times area, and area without a counterpart."""

    dice: float
    distance: float
    unmatched_area: float


def _largest_overlap(pairs: Overlaps) -> list[int | None]:
    """For each first region, the second one that shares the largest area with it."""
    best: list[int | None] = [None] * len(pairs.first_area)
    # the last assignment wins: the largest area, and of equal ones the first region
    order = np.lexsort((-pairs.second, pairs.shared))
    for first, second in zip(pairs.first[order].tolist(), pairs.second[order].tolist(), strict=True):
        best[first] = second
    return best


def _side(regions: Regions, others: Regions, counterpart: Sequence[int | None]) -> _Side:
    dice = distance = unmatched = 0.0
    tree = shapely.STRtree([other.outline for other in others])
    for region, number in zip(regions, counterpart, strict=True):
        outline = region.outline
        area = float(outline.area)
        if not len(others):
            unmatched += area
        elif number is None:
            distance += area * _nearest_distance(outline, others, tree)
        else:
            other = others[number].outline
            dice += area * 2 * float(outline.intersection(other).area) / (area + float(other.area))
            distance += area * hausdorff_distance(outline, other)
    return _Side(dice=dice, distance=distance, unmatched_area=unmatched)


def _nearest_distance(outline: Outline, others: Regions, tree: shapely.STRtree) -> float:
    """The smallest Hausdorff distance to any other region."""
    best = hausdorff_distance(outline, others[int(tree.nearest(outline))].outline)
    # a region whose nearest point is farther away cannot have a smaller distance
    near = tree.query(outline, predicate="dwithin", distance=best).tolist()
    gaps = {number: float(outline.distance(others[number].outline)) for number in near}
    for number in sorted(gaps, key=lambda number: gaps[number]):
        if gaps[number] >= best:
            break
        best = min(best, hausdorff_distance(outline, others[number].outline))
    return best


def hausdorff_distance(first: Outline, second: Outline) -> float:
    """Hausdorff distance of two filled areas: how far a point of one can be from the other.

    Points are taken along the outlines and on a grid inside, `STEPS` of them along the longer side.

    Args:
        first: An outline, level-0 px.
        second: Another outline.

    Returns:
        The distance, level-0 px.
    """
    return max(
        float(shapely.distance(_points_of(first), second).max()),
        float(shapely.distance(_points_of(second), first).max()),
    )


def _points_of(outline: Outline) -> NDArray[np.object_]:
    left, top, right, bottom = outline.bounds
    step = max(right - left, bottom - top) / STEPS
    points = np.asarray(shapely.points(shapely.get_coordinates(shapely.segmentize(outline, step))))
    # points inside matter where the other area has a hole
    x, y = np.meshgrid(np.arange(left, right, step * 4), np.arange(top, bottom, step * 4))
    inside = np.asarray(shapely.points(np.column_stack([x.ravel(), y.ravel()])))
    return np.concatenate([points, inside[shapely.intersects(outline, inside)]])
