"""Which outlines lie on which, and by how much."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
