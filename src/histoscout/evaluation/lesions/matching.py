"""Which found region is which drawn lesion.

One to one, and as many lesions as can be found: a maximum matching of the findings above a threshold, at
every threshold. Findings are taken from the highest score down, and each gets a lesion if that is possible at
all, if need be by giving an earlier one another lesion that it fits as well (an augmenting path, Kuhn 1955;
Berge 1957). A finding that has a lesion keeps having one, and a lesion once found stays found, so what a
finding counts as is settled at its own score and holds for every threshold below: the curve over thresholds
is exact and can only rise.

Why neither of the usual ways: taking the best overlap first, whatever the score (picai_eval's default; its
issue 24), calls a sure finding a duplicate of an unsure one that overlaps better, and counts a miss at all
thresholds between the two. Giving each finding by score its best lesion for good (COCO, PASCAL VOC) may use
up the only lesion that the next finding fits.

Which outlines lie on which, and by how much.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from histoscout.geometry.regions import Region, Regions, polygonal

ONE_LESION = 0.1
"""Outlines of one class that share at least this part of the smaller one are one lesion, drawn twice.

Outlines that only touch, or overlap by the slip of a hand, stay two: gland stands beside gland.
"""

Areas = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Overlaps:
    """The pairs of two lists of outlines that share some area.

    Pair k is outline `first[k]` of the first list and `second[k]` of the second, which share `shared[k]`;
    `first_area` and `second_area` are those of all outlines of each list. Areas in level-0 px squared.
    """

    first: Indices
    second: Indices
    shared: Areas
    first_area: Areas
    second_area: Areas

    @property
    def iou(self) -> Areas:
        """Intersection over union of each pair, float64."""
        return self.shared / (self.first_area[self.first] + self.second_area[self.second] - self.shared)

    @property
    def of_first(self) -> Areas:
        """The part of the first outline of each pair that lies in the second, float64."""
        return self.shared / self.first_area[self.first]

    @property
    def of_second(self) -> Areas:
        """The part of the second outline of each pair that lies in the first, float64."""
        return self.shared / self.second_area[self.second]

    def covered(self) -> Areas:
        """How much of each outline of the second list the first ones cover, as sums: float64 (len(second),)."""
        return np.bincount(self.second, self.shared, len(self.second_area)).astype(np.float64)


def overlaps(first: Regions, second: Regions) -> Overlaps:
    """The pairs of regions that share some area; those far apart are never compared."""
    one, other = _outlines(first), _outlines(second)
    if not len(one) or not len(other):
        none = np.zeros(0, np.int64)
        return Overlaps(none, none, np.zeros(0), shapely.area(one), shapely.area(other))
    return _of_pairs(one, other, shapely.STRtree(other).query(one, predicate="intersects"))


def _of_pairs(one: NDArray[np.object_], other: NDArray[np.object_], pairs: Indices) -> Overlaps:
    """The overlaps of pairs that meet, int64 (2, pairs), in the order of the first ones."""
    rows, columns = pairs[:, np.lexsort((pairs[1], pairs[0]))].astype(np.int64)
    shared = shapely.area(one)[rows]
    differ = ~shapely.equals_identical(one[rows], other[columns])  # to overlay an outline with itself is slow
    shared[differ] = shapely.area(shapely.intersection(one[rows[differ]], other[columns[differ]]))
    some = shared > 0
    return Overlaps(rows[some], columns[some], shared[some], shapely.area(one), shapely.area(other))


def _outlines(regions: Sequence[Region]) -> NDArray[np.object_]:
    return np.array([region.outline for region in regions], dtype=object)


def merged(regions: Regions) -> Regions:
    """The lesions that outlines of one class mean: outlines drawn over one another become one.

    Two belong together if they share at least a tenth of the smaller one; outlines that touch never do. A
    merged region has the id and label of its first one, and the ids of all in its properties ("merged").
    """
    outlines = _outlines(regions)
    met = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    pairs = _of_pairs(outlines, outlines, met[:, met[0] < met[1]])
    smaller = np.minimum(pairs.first_area[pairs.first], pairs.second_area[pairs.second])
    close = pairs.shared >= ONE_LESION * smaller
    ones = np.ones(int(close.sum()), bool)
    graph = coo_matrix((ones, (pairs.first[close], pairs.second[close])), (len(regions), len(regions)))
    groups: dict[int, list[Region]] = {}
    for region, group in zip(regions, connected_components(graph, directed=False)[1], strict=True):
        groups.setdefault(int(group), []).append(region)
    return Regions.of(_as_one(group) for group in groups.values())


def _as_one(group: Sequence[Region]) -> Region:
    if len(group) == 1:
        return group[0]
    outline = polygonal(shapely.union_all([region.outline for region in group]))
    ids = [region.id for region in group]
    properties = {**group[0].properties, "merged": ids}
    return replace(group[0], outline=outline or group[0].outline, properties=properties)


State = Literal["hit", "duplicate", "false", "ignored"]


@dataclass(frozen=True)
class Rule:
    """When a finding fits a lesion: in words that reports print, and as a function.

    `fits` says of each pair of overlapping lesion (first) and finding (second) whether they fit: bool (pairs,).
    """

    words: str
    fits: Callable[[Overlaps, Regions, Regions], NDArray[np.bool_]]


def _iou_of(least: float) -> Callable[[Overlaps, Regions, Regions], NDArray[np.bool_]]:
    def fits(pairs: Overlaps, lesions: Regions, findings: Regions) -> NDArray[np.bool_]:
        return np.asarray(pairs.iou >= least - 1e-9)

    return fits


def _center_inside(pairs: Overlaps, lesions: Regions, findings: Regions) -> NDArray[np.bool_]:
    outlines = np.array([lesion.outline for lesion in lesions], dtype=object)[pairs.first]
    centers = shapely.centroid(np.array([finding.outline for finding in findings], dtype=object))
    return np.asarray(shapely.intersects(outlines, centers[pairs.second]), bool)


# the first is the one that claims are made by; the others are for comparison with published figures
RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "iou_0.3": Rule("shared area at least .3 of the area of both together (IoU >= .3)", _iou_of(0.3)),
        "iou_0.1": Rule("shared area at least .1 of the area of both together (IoU >= .1)", _iou_of(0.1)),
        "centre": Rule("the centre of the finding lies in the lesion's outline", _center_inside),
    }
)
PRIMARY = "iou_0.3"


def words(rule: str) -> str:
    """A rule as reports print it, in one sentence."""
    return (
        f"A finding fits a lesion if: {RULES[rule].words}. One to one, as many lesions as can be found; further "
        "findings that fit a found lesion are duplicates, findings that fit none are false alarms."
    )


@dataclass(frozen=True)
class Matching:
    """What became of each finding and each lesion of a slide by one rule.

    `states` and `lesion_of` go by finding: what it counts as, and the lesion that it hits, or repeats, by its
    number (None if it fits none). `found_at` goes by lesion: the highest threshold at which it is found (None
    if at none). `finding_of` goes by lesion too: the finding that has it at the threshold in use.
    """

    states: tuple[State, ...]
    lesion_of: tuple[int | None, ...]
    found_at: tuple[float | None, ...]
    finding_of: tuple[int | None, ...]


def match(
    pairs: Overlaps, fits: NDArray[np.bool_], scores: NDArray[np.float64], threshold: float = 0.0
) -> Matching:
    """Match findings to lesions one to one, from the highest score down (see the head of this module).

    `pairs` of lesions (first) and findings (second), of which those that fit (bool, by pair) may be matched.
    Findings below the `threshold` in use count for the curve only.
    """
    candidates = _by_finding(pairs, fits, len(scores))
    pairing = _Pairing(candidates, {}, {}, set())
    states: list[State] = ["false"] * len(scores)
    found_at: list[float | None] = [None] * len(pairs.first_area)
    in_use: dict[int, int] | None = None
    for finding in np.lexsort((np.arange(len(scores)), -scores)).tolist():
        if in_use is None and scores[finding] < threshold:
            in_use = dict(pairing.lesion_of)
        if not candidates[finding]:
            continue
        newly = pairing.add(finding)
        states[finding] = "duplicate" if newly is None else "hit"
        if newly is not None:
            found_at[newly] = float(scores[finding])
    in_use = pairing.lesion_of if in_use is None else in_use
    best = {finding: fitting[0] for finding, fitting in enumerate(candidates) if fitting}
    lesion_of = {**best, **pairing.lesion_of, **in_use}
    finding_of = {lesion: finding for finding, lesion in in_use.items()}
    return Matching(
        tuple(states),
        tuple(lesion_of.get(finding) for finding in range(len(scores))),
        tuple(found_at),
        tuple(finding_of.get(lesion) for lesion in range(len(found_at))),
    )


def _by_finding(pairs: Overlaps, fits: NDArray[np.bool_], findings: int) -> list[list[int]]:
    """The lesions that each finding fits, best overlap first."""
    order = np.lexsort((pairs.first, -pairs.iou))
    order = order[fits[order]]
    candidates: list[list[int]] = [[] for _ in range(findings)]
    for finding, lesion in zip(pairs.second[order].tolist(), pairs.first[order].tolist(), strict=True):
        candidates[finding].append(lesion)
    return candidates


@dataclass
class _Pairing:
    """A matching that grows: who has which lesion, and which lesions can never be freed again.

    Where a search for a free lesion fails, all lesions it came through stay with the findings they have: later
    searches need not enter there, so that thousands of findings on one lesion cost no more than one look each.
    """

    candidates: Sequence[Sequence[int]]
    lesion_of: dict[int, int]
    finding_of: dict[int, int]
    settled: set[int]

    def add(self, finding: int) -> int | None:
        """Give the finding a lesion, moving others if need be; the lesion newly found, or None."""
        taker: dict[int, int] = {}
        waiting = deque([finding])
        while waiting:
            current = waiting.popleft()
            for lesion in self.candidates[current]:
                if lesion in taker or lesion in self.settled:
                    continue
                taker[lesion] = current
                if lesion not in self.finding_of:
                    self._hand_on(lesion, taker)
                    return lesion
                waiting.append(self.finding_of[lesion])
        self.settled.update(taker)
        return None

    def _hand_on(self, free: int, taker: Mapping[int, int]) -> None:
        """Walk back from the free lesion: each finding on the way takes the one before it, and leaves its own."""
        lesion: int | None = free
        while lesion is not None:
            finding = taker[lesion]
            left = self.lesion_of.get(finding)
            self.lesion_of[finding], self.finding_of[lesion] = lesion, finding
            lesion = left
