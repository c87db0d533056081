"""Valid polygons from rings that cross themselves and each other, by the even-odd rule."""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import GeometryCollection, MultiPolygon, Polygon

Points = NDArray[np.float64]
"""Points of a ring, (N, 2) float64."""

# Crossings that a polygon may have per point, plus a constant: far above what a person or a program draws. A ring of
# N points can cross itself N * N / 2 times, and every crossing costs time and memory.
MAX_CROSSINGS_PER_POINT = 3
EXTRA_CROSSINGS = 50

# Pairs of edges near each other, which must be compared, per point and in addition.
_MAX_PAIRS_PER_POINT = 100
_EXTRA_PAIRS = 1_000_000

# Pairs of edges that are compared at once, at first and at most.
_FIRST_BATCH_PAIRS = 2_000_000
_MAX_BATCH_PAIRS = 20_000_000


def fill_even_odd(rings: Sequence[Points]) -> Polygon | MultiPolygon | None:
    """The area that an odd number of rings enclose, as a valid polygon.

    Args:
        rings: (N, 2) float64 each, at least three points, closed or not. Check them with `has_too_many_crossings`
            first.

    Returns:
        A valid polygon or multipolygon; None if nothing is enclosed.
    """
    # combine in pairs, so that time grows with the number of points
    parts = np.array([_fill_ring(ring) for ring in rings])
    while len(parts) > 1:
        even = len(parts) // 2 * 2
        combined = shapely.symmetric_difference(parts[0:even:2], parts[1:even:2])
        parts = np.concatenate([[_polygons_only(geometry) for geometry in combined], parts[even:]])
    whole = _polygons_only(parts[0]) if len(parts) else None
    return whole if isinstance(whole, Polygon | MultiPolygon) and whole.area > 0 else None


def _polygons_only(geometry: shapely.Geometry) -> shapely.Geometry:
    """A geometry without the lines and points that slivers of no width leave beside its polygons."""
    if not isinstance(geometry, GeometryCollection):
        return geometry
    parts = [part for collection in shapely.get_parts(geometry) for part in shapely.get_parts(collection)]
    return shapely.union_all([part for part in parts if isinstance(part, Polygon)])


def _fill_ring(ring: Points) -> shapely.Geometry:
    """The area that a ring encloses, by the even-odd rule."""
    polygon = Polygon(ring)
    if polygon.is_valid:
        return polygon
    # split the plane at every crossing, then test one point of each piece
    edges = shapely.union_all(polygon.exterior)
    pieces = shapely.get_parts(shapely.polygonize(shapely.get_parts(edges)))
    # slivers of 1e-300 px have no point inside, and no area
    with np.errstate(over="ignore", invalid="ignore"):
        inside = shapely.point_on_surface(pieces)
    shapely.prepare(polygon)
    odd = shapely.contains_xy(polygon, shapely.get_x(inside), shapely.get_y(inside))
    return shapely.coverage_union_all(pieces[odd])


def has_too_many_crossings(geometry: shapely.Geometry) -> bool:
    """Whether the edges of polygons cross far more often than in any annotation.

    Repairing such polygons would not end. Counting stops as soon as the answer is clear; time and memory grow with the number of points.

    Args:
        geometry: One or more polygons.

    Returns:
        True if `fill_even_odd` should not be tried.
    """
    edges = _find_edges(geometry)
    lines = np.asarray(shapely.linestrings(edges))
    tree = shapely.STRtree(lines)
    first, step = 0, _batch_size(_FIRST_BATCH_PAIRS, len(edges))
    crossings = pairs = 0
    while first < len(edges):
        # each pair of edges is counted once: by the earlier of the two
        edge, other = tree.query(lines[first : first + step])
        later = other > edge + first
        pairs += len(edge)
        crossings += _count_crossings(edges[edge[later] + first], edges[other[later]])
        if crossings > EXTRA_CROSSINGS + MAX_CROSSINGS_PER_POINT * len(edges):
            return True
        if pairs > _EXTRA_PAIRS + _MAX_PAIRS_PER_POINT * len(edges):
            return True
        first += step
        step = min(2 * step, _batch_size(_MAX_BATCH_PAIRS, len(edges)))
    return False


def _batch_size(pairs: int, edges: int) -> int:
    """How many edges can be compared with all edges at once."""
    return max(1, min(1024, pairs // max(1, edges)))


def _find_edges(geometry: shapely.Geometry) -> NDArray[np.float64]:
    """All edges of all rings: (N, 2, 2) float64, each a start and an end."""
    points, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(geometry)), return_index=True)
    same_ring = ring[1:] == ring[:-1]
    return np.stack([points[:-1][same_ring], points[1:][same_ring]], axis=1)


def _count_crossings(edges: NDArray[np.float64], others: NDArray[np.float64]) -> int:
    """How many pairs of edges, (N, 2, 2) float64 each, cross within both."""

    def side(line: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
        along, away = line[:, 1] - line[:, 0], points - line[:, 0]
        return np.sign(along[:, 0] * away[:, 1] - along[:, 1] * away[:, 0])

    # the ends of each edge are on different sides of the other
    apart = [
        side(line, two[:, 0]) * side(line, two[:, 1]) < 0 for line, two in ((edges, others), (others, edges))
    ]
    return int(np.count_nonzero(apart[0] & apart[1]))
