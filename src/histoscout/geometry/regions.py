"""Labeled polygons on a slide: annotations and detections are the same type."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Any, overload

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.geometry import GeometryCollection, MultiPolygon, Polygon

from histoscout.geometry.box import Box

Points = NDArray[np.float64]
"""Points of a ring, (N, 2) float64."""

# Crossings that a polygon may have per point, plus a constant: far above what a person or a program draws. A ring of
# N points can cross itself N * N / 2 times, and every crossing costs time and memory.
MAX_CROSSINGS_PER_POINT = 3
EXTRA_CROSSINGS = 500

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


Outline = Polygon | MultiPolygon


@dataclass(frozen=True)
class Region:
    """A labeled polygon on a slide: an annotation, or a detection with a score.

    Attributes:
        outline: The polygon in level-0 px (x right, y down, QuPath's origin); may have holes and several parts.
        label: Name of its class.
        score: Score of a detection in [0, 1]; None for an annotation.
        id: Unique id (a random UUID by default).
        properties: What else the file states of it (name, color, measurements).

    Example:
        >>> from histoscout import Region
        >>> import shapely
        >>> region = Region(shapely.box(0, 0, 2000, 1000), "UDH")
        >>> region.area_mm2(mpp=0.5)
        0.5
        >>> region.box
        Box(x=0.0, y=0.0, width=2000.0, height=1000.0)
    """

    outline: Outline
    label: str
    score: float | None = None
    _: KW_ONLY
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def box(self) -> Box:
        """The bounding box."""
        left, top, right, bottom = self.outline.bounds
        return Box(left, top, right - left, bottom - top)

    def area_mm2(self, mpp: float) -> float:
        """Area without holes in mm2, on a slide of `mpp` um per level-0 px."""
        return float(self.outline.area) * mpp * mpp * 1e-6

    def translate(self, dx: float, dy: float) -> "Region":
        """The region moved by (dx, dy) level-0 px."""
        return replace(self, outline=translate(self.outline, dx, dy))


@dataclass(frozen=True)
class Regions(Sequence[Region]):
    """The regions of one slide, with a spatial index.

    Attributes:
        items: The regions, in the order of their file.

    Example:
        >>> from histoscout import Box, Region, Regions
        >>> import shapely
        >>> regions = Regions.of([
        ...     Region(shapely.box(0, 0, 10, 10), "UDH"), Region(shapely.box(50, 50, 60, 60), "ADH")
        ... ])
        >>> regions.labels
        ['ADH', 'UDH']
        >>> len(regions.with_labels("UDH"))
        1
        >>> [region.label for region in regions.intersecting(Box(0, 0, 20, 20))]
        ['UDH']
    """

    items: tuple[Region, ...] = ()

    @classmethod
    def of(cls, regions: Iterable[Region]) -> "Regions":
        """Collect regions, in this order."""
        return cls(tuple(regions))

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([region.outline for region in self.items])

    def __reduce__(self) -> tuple[type["Regions"], tuple[tuple[Region, ...]]]:
        # the spatial index does not pickle; it is built again where it is needed
        return Regions, (self.items,)

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Region: ...
    @overload
    def __getitem__(self, index: slice) -> "Regions": ...
    def __getitem__(self, index: int | slice) -> "Region | Regions":
        return Regions(self.items[index]) if isinstance(index, slice) else self.items[index]

    @property
    def labels(self) -> list[str]:
        """Every label that occurs, sorted."""
        return sorted({region.label for region in self.items})

    def where(self, keep: Callable[[Region], bool]) -> "Regions":
        """The regions for which `keep` returns True."""
        return Regions(tuple(region for region in self.items if keep(region)))

    def with_labels(self, *labels: str) -> "Regions":
        """The regions that have one of these labels."""
        return self.where(lambda region: region.label in labels)

    def intersecting(self, box: Box) -> "Regions":
        """The regions whose polygons intersect or touch the box, in their own order."""
        indices = self._tree.query(shapely.box(*box.bounds), predicate="intersects")
        return Regions(tuple(self.items[i] for i in sorted(indices)))

    def translate(self, dx: float, dy: float) -> "Regions":
        """All regions moved by (dx, dy) level-0 px."""
        return Regions(tuple(region.translate(dx, dy) for region in self.items))

    def relabel(self, rename: Callable[[str], str]) -> "Regions":
        """All regions with their labels replaced by `rename(label)`."""
        return Regions(tuple(replace(region, label=rename(region.label)) for region in self.items))


def valid_outline(geometry: shapely.Geometry) -> Outline | None:
    """The part of a geometry that has area, as a valid polygon.

    A polygon whose rings cross encloses what an odd number of them do; several polygons are repaired by shapely's
    `make_valid`. Lines and points are dropped.

    Args:
        geometry: Any geometry.

    Returns:
        A valid polygon or multipolygon; None if nothing has area.
    """
    if isinstance(geometry, Polygon) and not geometry.is_valid:
        return fill_even_odd(
            [shapely.get_coordinates(ring) for ring in (geometry.exterior, *geometry.interiors)]
        )
    valid = geometry if shapely.is_valid(geometry) else shapely.make_valid(geometry)
    parts = [part for part in shapely.get_parts(valid, return_index=False) if part.area > 0]
    polygons = [
        polygon for part in parts for polygon in shapely.get_parts(part) if isinstance(polygon, Polygon)
    ]
    if not polygons:
        return None
    if len(polygons) == 1:
        return polygons[0]
    # polygons of several parts may overlap: then their union is the valid one
    merged = MultiPolygon(polygons)
    return merged if merged.is_valid else valid_outline(shapely.union_all(polygons))
