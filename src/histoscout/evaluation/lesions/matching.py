"""One-to-one matching of detections and lesions, and the overlaps it is based on.

The matching finds as many lesions as possible at every score threshold: a maximum matching of the detections
above it. Detections are taken from the highest score down. Each gets a lesion if that is possible at all, if
necessary by giving an earlier one another lesion that it fits as well (an augmenting path, Kuhn 1955; Berge
1957). A detection that has a lesion keeps one, and a lesion once found stays found. So what a detection
counts as is settled at its own score and holds for every lower threshold: the curve over thresholds is exact
and can only rise.

Why neither of the usual ways: taking the best overlap first, whatever the score (picai_eval's default; its
issue 24), calls a sure detection a duplicate of an unsure one that overlaps better, and counts a false
negative at all thresholds between the two. Giving each detection by score its best lesion for good (COCO,
PASCAL VOC) may use up the only lesion that the next detection fits.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from histoscout.geometry.regions import Region, Regions, valid_outline

MERGE_OVERLAP = 0.1
"""Annotations of one class that share at least this part of the smaller one are one lesion, drawn twice.

Annotations that only touch, or overlap by an inaccurate stroke, stay two, since glands are next to each
other.
"""

Areas = NDArray[np.float64]
Indices = NDArray[np.int64]


# ---------------------------------------------------------------- overlaps


@dataclass(frozen=True, kw_only=True)
class Overlaps:
    """The overlapping pairs of two lists of regions, with their areas in level-0 px squared.

    Attributes:
        first: Number of each pair's region in the first list, int64 (pairs,).
        second: Number of each pair's region in the second list, int64 (pairs,).
        shared: The area that each pair shares, float64 (pairs,).
        first_area: Areas of all regions of the first list, float64.
        second_area: Areas of all regions of the second list, float64.
    """

    first: Indices
    second: Indices
    shared: Areas
    first_area: Areas
    second_area: Areas

    @property
    def iou(self) -> Areas:
        """Intersection over union of each pair, float64 (pairs,)."""
        return self.shared / (self.first_area[self.first] + self.second_area[self.second] - self.shared)

    @property
    def fraction_of_first(self) -> Areas:
        """The part of each pair's first region that is inside the second, float64 (pairs,)."""
        return self.shared / self.first_area[self.first]

    @property
    def fraction_of_second(self) -> Areas:
        """The part of each pair's second region that is inside the first, float64 (pairs,)."""
        return self.shared / self.second_area[self.second]

    def covered_area(self) -> Areas:
        """Sum the area of each second region that first ones cover, float64 (second regions,)."""
        return np.bincount(self.second, self.shared, len(self.second_area)).astype(np.float64)


def find_overlaps(first: Regions, second: Regions) -> Overlaps:
    """Find the pairs of regions that share some area.

    Args:
        first: Some regions, such as lesions.
        second: Other regions, such as detections.

    Returns:
        The pairs in the order of the first regions; regions far apart are never compared.
    """
    first_outlines = _outlines(first)
    second_outlines = _outlines(second)
    if not len(first_outlines) or not len(second_outlines):
        return Overlaps(
            first=np.zeros(0, np.int64),
            second=np.zeros(0, np.int64),
            shared=np.zeros(0),
            first_area=shapely.area(first_outlines),
            second_area=shapely.area(second_outlines),
        )
    pairs = shapely.STRtree(second_outlines).query(first_outlines, predicate="intersects")
    return _measure_pairs(first_outlines, second_outlines, pairs)


def _measure_pairs(first: NDArray[np.object_], second: NDArray[np.object_], pairs: Indices) -> Overlaps:
    """Measure the overlaps of intersecting pairs, int64 (2, pairs), ordered by the first."""
    rows, columns = pairs[:, np.lexsort((pairs[1], pairs[0]))].astype(np.int64)
    # only outlines that differ are intersected: shapely is slow for an outline with itself
    shared = shapely.area(first)[rows]
    differ = ~shapely.equals_identical(first[rows], second[columns])
    shared[differ] = shapely.area(shapely.intersection(first[rows[differ]], second[columns[differ]]))
    overlap = shared > 0
    return Overlaps(
        first=rows[overlap],
        second=columns[overlap],
        shared=shared[overlap],
        first_area=shapely.area(first),
        second_area=shapely.area(second),
    )


def _outlines(regions: Sequence[Region]) -> NDArray[np.object_]:
    return np.array([region.outline for region in regions], dtype=object)


def merge_overlapping(regions: Regions) -> Regions:
    """Merge annotations of one class that were drawn over one another into one lesion each.

    Two belong together if they share at least a tenth of the smaller one; annotations that only touch never
    do.

    Args:
        regions: Annotations of one class.

    Returns:
        The lesions. A merged region has the id and label of its first one, and the ids of all in its
        properties ("merged").
    """
    # each pair of intersecting annotations once
    outlines = _outlines(regions)
    intersecting = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    pairs = _measure_pairs(outlines, outlines, intersecting[:, intersecting[0] < intersecting[1]])

    # connected components of the pairs that share enough
    smaller = np.minimum(pairs.first_area[pairs.first], pairs.second_area[pairs.second])
    same = pairs.shared >= MERGE_OVERLAP * smaller
    links = np.ones(int(same.sum()), bool)
    graph = coo_matrix((links, (pairs.first[same], pairs.second[same])), (len(regions), len(regions)))
    groups: dict[int, list[Region]] = {}
    for region, group in zip(regions, connected_components(graph, directed=False)[1], strict=True):
        groups.setdefault(int(group), []).append(region)
    return Regions.of(_union(group) for group in groups.values())


def _union(group: Sequence[Region]) -> Region:
    if len(group) == 1:
        return group[0]
    outline = valid_outline(shapely.union_all([region.outline for region in group]))
    properties = {**group[0].properties, "merged": [region.id for region in group]}
    return replace(group[0], outline=outline or group[0].outline, properties=properties)


# ---------------------------------------------------------------- rules


@dataclass(frozen=True)
class MatchingRule:
    """When a detection fits a lesion.

    Attributes:
        description: The rule as reports print it.
        fits: Whether each pair of overlapping lesion (first) and detection (second) fits, given the overlaps,
            the lesions and the detections: bool (pairs,).
    """

    description: str
    fits: Callable[[Overlaps, Regions, Regions], NDArray[np.bool_]]


def _iou_at_least(least: float) -> Callable[[Overlaps, Regions, Regions], NDArray[np.bool_]]:
    def fits(pairs: Overlaps, lesions: Regions, detections: Regions) -> NDArray[np.bool_]:
        return np.asarray(pairs.iou >= least - 1e-9)

    return fits


def _center_inside(pairs: Overlaps, lesions: Regions, detections: Regions) -> NDArray[np.bool_]:
    centers = shapely.centroid(_outlines(detections))
    return np.asarray(shapely.intersects(_outlines(lesions)[pairs.first], centers[pairs.second]), bool)


MATCHING_RULES: Mapping[str, MatchingRule] = MappingProxyType(
    {
        "iou_0.3": MatchingRule("intersection over union (IoU) of at least 0.3", _iou_at_least(0.3)),
        "iou_0.1": MatchingRule("intersection over union (IoU) of at least 0.1", _iou_at_least(0.1)),
        "center": MatchingRule("the center of the detection is inside the lesion", _center_inside),
    }
)
"""The rules by name; those other than the primary one are for comparison with published results."""

PRIMARY_RULE = "iou_0.3"
"""The rule by which claims are made."""


def describe_rule(rule: str) -> str:
    """Describe a matching rule in a sentence or two for reports.

    Args:
        rule: Name of a matching rule.

    Returns:
        The description.
    """
    return (
        f"A detection fits a lesion by this rule: {MATCHING_RULES[rule].description}. Matching is one to one "
        "and finds as many lesions as possible; further detections that fit a found lesion are duplicates, "
        "detections that fit none are false positives."
    )


# ---------------------------------------------------------------- matching

DetectionState = Literal["true positive", "duplicate", "false positive", "ignored"]


@dataclass(frozen=True, kw_only=True)
class Matching:
    """The detections and lesions of a slide, matched by one rule.

    Attributes:
        states: What each detection counts as.
        lesion_of: The lesion that each detection finds, or repeats, by its number; None if it fits none.
        found_at: The highest threshold at which each lesion is found; None if it never is.
        detection_of: The detection that finds each lesion at the threshold in use, by its number, or None.
    """

    states: tuple[DetectionState, ...]
    lesion_of: tuple[int | None, ...]
    found_at: tuple[float | None, ...]
    detection_of: tuple[int | None, ...]


def match_detections(
    pairs: Overlaps, fits: NDArray[np.bool_], scores: NDArray[np.float64], threshold: float = 0.0
) -> Matching:
    """Match detections and lesions one to one, from the highest score down.

    The docstring of this module describes the algorithm.

    Args:
        pairs: Overlapping pairs of lesions (first) and detections (second).
        fits: Whether each pair may be matched, bool (pairs,).
        scores: Score of each detection, float64.
        threshold: The threshold in use; detections below it count for the FROC curve only.

    Returns:
        The matching.
    """
    candidates = _candidates(pairs, fits, len(scores))
    matching = _GrowingMatching(candidates)
    states: list[DetectionState] = ["false positive"] * len(scores)
    found_at: list[float | None] = [None] * len(pairs.first_area)

    # add detections from the highest score down, and keep the matching at the threshold in use
    in_use: dict[int, int] | None = None
    for detection in np.lexsort((np.arange(len(scores)), -scores)).tolist():
        if in_use is None and scores[detection] < threshold:
            in_use = dict(matching.lesion_of)
        if not candidates[detection]:
            continue
        new_lesion = matching.add(detection)
        states[detection] = "duplicate" if new_lesion is None else "true positive"
        if new_lesion is not None:
            found_at[new_lesion] = float(scores[detection])
    in_use = matching.lesion_of if in_use is None else in_use

    # a detection without a lesion of its own repeats the one that it overlaps best
    best = {detection: lesions[0] for detection, lesions in enumerate(candidates) if lesions}
    lesion_of = {**best, **matching.lesion_of, **in_use}
    detection_of = {lesion: detection for detection, lesion in in_use.items()}
    return Matching(
        states=tuple(states),
        lesion_of=tuple(lesion_of.get(detection) for detection in range(len(scores))),
        found_at=tuple(found_at),
        detection_of=tuple(detection_of.get(lesion) for lesion in range(len(found_at))),
    )


def _candidates(pairs: Overlaps, fits: NDArray[np.bool_], detections: int) -> list[list[int]]:
    """The lesions that each detection fits, best overlap first."""
    order = np.lexsort((pairs.first, -pairs.iou))
    order = order[fits[order]]
    candidates: list[list[int]] = [[] for _ in range(detections)]
    for detection, lesion in zip(pairs.second[order].tolist(), pairs.first[order].tolist(), strict=True):
        candidates[detection].append(lesion)
    return candidates


@dataclass
class _GrowingMatching:
    """A maximum matching to which detections are added one by one.

    If a search for a free lesion fails, all lesions that it reached stay with the detections they have
    (`settled`): later searches need not enter there, so thousands of detections on one lesion cost no more
    than one step each.
    """

    candidates: Sequence[Sequence[int]]
    lesion_of: dict[int, int] = field(default_factory=dict)
    detection_of: dict[int, int] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)

    def add(self, detection: int) -> int | None:
        """Match a detection, moving others if necessary; returns the lesion newly found, or None."""
        # breadth-first search for a free lesion; `taker`: the detection that would get each lesion on the way
        taker: dict[int, int] = {}
        waiting = deque([detection])
        while waiting:
            current = waiting.popleft()
            for lesion in self.candidates[current]:
                if lesion in taker or lesion in self.settled:
                    continue
                taker[lesion] = current
                if lesion not in self.detection_of:
                    self._augment(lesion, taker)
                    return lesion
                waiting.append(self.detection_of[lesion])
        self.settled.update(taker)
        return None

    def _augment(self, free: int, taker: Mapping[int, int]) -> None:
        """Walk the path back from the free lesion: each detection takes the lesion before its own."""
        lesion: int | None = free
        while lesion is not None:
            detection = taker[lesion]
            previous = self.lesion_of.get(detection)
            self.lesion_of[detection] = lesion
            self.detection_of[lesion] = detection
            lesion = previous
