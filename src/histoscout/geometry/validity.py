"""What rings that cross themselves and each other enclose, by the rule that painting programs follow."""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import GeometryCollection, MultiPolygon, Polygon

Points = NDArray[np.float64]  # (N, 2)

# Crossings that an outline may have for each of its points, and some more: far above what a hand or a program
# draws. A ring of N points can cross itself N * N / 2 times, and every crossing costs time and memory.
CROSSINGS_PER_POINT, SOME_CROSSINGS = 3, 50
_PAIRS_PER_POINT, _SOME_PAIRS = 100, 1_000_000  # of edges near each other, which must be compared
_FEW, _MANY = 2_000_000, 20_000_000  # pairs compared at once, at first and at most


def even_odd(rings: Sequence[Points]) -> Polygon | MultiPolygon | None:
    """All places that an odd number of rings enclose, as a valid outline; None if there are none.

    Rings are float64 (N, 2) of three points or more, closed or not. Not for rings that `is_tangled` calls tangled.
    """
    parts = np.array([_enclosed(ring) for ring in rings])
    while len(parts) > 1:  # two and two, so that time grows with the number of points
        even = len(parts) // 2 * 2
        both = shapely.symmetric_difference(parts[0:even:2], parts[1:even:2])
        parts = np.concatenate([[_areas(one) for one in both], parts[even:]])
    whole = _areas(parts[0]) if len(parts) else None
    return whole if isinstance(whole, Polygon | MultiPolygon) and whole.area > 0 else None


def _areas(geometry: shapely.Geometry) -> shapely.Geometry:
    """A geometry without the lines and points that slivers of no width leave beside its polygons."""
    if not isinstance(geometry, GeometryCollection):
        return geometry
    flat = [part for one in shapely.get_parts(geometry) for part in shapely.get_parts(one)]
    return shapely.union_all([part for part in flat if isinstance(part, Polygon)])


def _enclosed(ring: Points) -> shapely.Geometry:
    """What a ring encloses: every crossing is made a corner, and each piece between the edges is asked once."""
    polygon = Polygon(ring)
    if polygon.is_valid:
        return polygon
    edges = shapely.union_all(polygon.exterior)
    pieces = shapely.get_parts(shapely.polygonize(shapely.get_parts(edges)))
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # slivers of 1e-300 px have no point inside, and no area
        inside = shapely.point_on_surface(pieces)
    shapely.prepare(polygon)
    odd = shapely.contains_xy(polygon, shapely.get_x(inside), shapely.get_y(inside))
    return shapely.coverage_union_all(pieces[odd])


def is_tangled(geometry: shapely.Geometry) -> bool:
    """Whether the edges of polygons cross far more often than any outline's do, so that mending would not end.

    Counting stops as soon as it is clear; time and memory grow with the number of points.
    """
    edges = _edges(geometry)
    lines = np.asarray(shapely.linestrings(edges))
    tree = shapely.STRtree(lines)
    first, step = 0, _share(_FEW, len(edges))
    crossings = pairs = 0
    while first < len(edges):
        one, other = tree.query(lines[first : first + step])
        later = other > one + first
        pairs += len(one)
        crossings += _crossing(edges[one[later] + first], edges[other[later]])
        if crossings > SOME_CROSSINGS + CROSSINGS_PER_POINT * len(edges):
            return True
        if pairs > _SOME_PAIRS + _PAIRS_PER_POINT * len(edges):
            return True
        first += step
        step = min(2 * step, _share(_MANY, len(edges)))
    return False


def _share(pairs: int, edges: int) -> int:
    """How many edges can be compared with all at once."""
    return max(1, min(1024, pairs // max(1, edges)))


def _edges(geometry: shapely.Geometry) -> NDArray[np.float64]:
    """All edges of all rings: float64 (N, 2, 2), each a start and an end."""
    points, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(geometry)), return_index=True)
    same = ring[1:] == ring[:-1]
    return np.stack([points[:-1][same], points[1:][same]], axis=1)


def _crossing(edges: NDArray[np.float64], others: NDArray[np.float64]) -> int:
    """How many pairs of edges, float64 (N, 2, 2) each, cross within both."""

    def side(line: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
        along, away = line[:, 1] - line[:, 0], points - line[:, 0]
        return np.sign(along[:, 0] * away[:, 1] - along[:, 1] * away[:, 0])

    parted = [
        side(line, two[:, 0]) * side(line, two[:, 1]) < 0 for line, two in ((edges, others), (others, edges))
    ]
    return int(np.count_nonzero(parted[0] & parted[1]))
