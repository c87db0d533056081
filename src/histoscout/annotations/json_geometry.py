"""GeoJSON geometries (RFC 7946, section 3.1) to outlines and back."""

from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from histoscout.errors import AnnotationError
from histoscout.geometry.even_odd import is_tangled
from histoscout.geometry.regions import Outline, polygonal

FARTHEST = 1e9  # level-0 px; a slide of that size would be a quarter of a kilometre wide
WITHOUT_AREA = frozenset({"Point", "MultiPoint", "LineString", "MultiLineString"})
WITH_AREA = frozenset({"Polygon", "MultiPolygon"})
GEOMETRIES = WITHOUT_AREA | WITH_AREA | {"GeometryCollection"}
_CORRECT = "Correct this coordinate, or export the file again"


class Drawn(NamedTuple):
    """What a geometry holds: an outline (None if nothing in it has area), and what it holds besides."""

    outline: Outline | None
    mended: bool
    without_area: tuple[str, ...]  # types of the points and lines in it


def is_geometry(value: object) -> bool:
    """Whether this is a GeoJSON geometry, by its type."""
    kind = value.get("type") if isinstance(value, dict) else None
    return isinstance(kind, str) and kind in GEOMETRIES


def read_outline(geometry: object, where: str) -> Drawn:
    """The outline of a GeoJSON geometry; AnnotationError for coordinates that are not finite numbers.

    A valid outline comes back as it was written, to the last bit. Rings that cross themselves are split,
    parts that overlap are joined.
    """
    polygons: list[Polygon] = []
    without_area: list[str] = []
    several = False
    to_do = [geometry]
    while to_do:
        kind, content = _kind_and_content(to_do.pop(), where)
        if kind == "GeometryCollection":
            to_do += reversed(_listed(content, where))
        elif kind == "Polygon":
            polygons.append(_polygon(content, where))
        elif kind == "MultiPolygon":
            polygons += [_polygon(part, where) for part in _listed(content, where)]
            several = True
        elif kind is not None:
            without_area.append(kind)
    outline, mended = joined(polygons, several or len(polygons) > 1)
    return Drawn(outline, mended, tuple(without_area))


def _kind_and_content(geometry: object, where: str) -> tuple[str | None, object]:
    if geometry is None:
        return None, None
    if not isinstance(geometry, dict):
        raise AnnotationError(where, "its geometry is not a GeoJSON object", "Export the file again")
    kind = geometry.get("type")
    if not is_geometry(geometry):
        raise AnnotationError(
            where, f"its geometry is of the unknown type {str(kind)[:40]!r}", "Export the file again"
        )
    return kind, geometry.get("geometries" if kind == "GeometryCollection" else "coordinates")


def _listed(content: object, where: str) -> list[Any]:
    if not isinstance(content, list):
        raise AnnotationError(
            where, "its geometry lacks a list of parts or coordinates", "Export the file again"
        )
    return content


def _polygon(rings: object, where: str) -> Polygon:
    """A polygon of rings; rings of fewer than three points enclose nothing and make it empty."""
    points = [_points(ring, where) for ring in _listed(rings, where)]
    if not points or len(points[0]) < 3:
        return Polygon()
    return Polygon(points[0], [hole for hole in points[1:] if len(hole) >= 3])


def _points(ring: object, where: str) -> NDArray[np.float64]:
    """The points of a ring: float64 (N, 2); heights, which GeoJSON allows, are left out."""
    listed = _listed(ring, where)
    if not listed:
        return np.empty((0, 2))
    if not set(map(type, listed)) <= {list} or not set(map(type, chain.from_iterable(listed))) <= {
        int,
        float,
    }:
        raise AnnotationError(
            where, f"has a point that is not [x, y] in numbers: {_odd_point(listed)}", _CORRECT
        )
    try:
        points = np.asarray(listed)
    except ValueError as error:  # points of different lengths
        raise AnnotationError(
            where, f"has a point that is not [x, y]: {_odd_point(listed)}", _CORRECT
        ) from error
    if points.dtype.kind not in "iuf" or points.ndim != 2 or points.shape[1] < 2:
        raise AnnotationError(
            where, f"has a point that is not [x, y] in numbers: {_odd_point(listed)}", _CORRECT
        )
    points = points[:, :2].astype(np.float64)
    wrong = np.flatnonzero(~(np.abs(points) <= FARTHEST).all(axis=1))
    if len(wrong):
        fault = f"point {wrong[0] + 1} of a ring is at {_short(listed[wrong[0]])}, where no slide is"
        raise AnnotationError(where, fault, _CORRECT)
    return points


def _odd_point(points: list[Any]) -> str:
    def is_number(value: object) -> bool:
        return isinstance(value, int | float) and abs(value) <= FARTHEST

    def is_odd(point: object) -> bool:
        return not isinstance(point, list) or len(point) < 2 or not all(map(is_number, point))

    number, odd = next(((n, p) for n, p in enumerate(points, 1) if is_odd(p)), (1, points[0]))
    return f"point {number} is {_short(odd)}"


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def joined(polygons: list[Polygon], several: bool) -> tuple[Outline | None, bool]:
    """One outline of several polygons, and whether anything had to be mended for it.

    No outline, and that it would have to be mended, if their edges cross too often for that.
    """
    solid = [polygon for polygon in polygons if not polygon.is_empty]
    whole: Outline = MultiPolygon(solid) if several else solid[0] if solid else Polygon()
    if len(solid) == len(polygons) and whole.is_valid and whole.area > 0:
        return whole, False
    if is_tangled(MultiPolygon(solid)):
        return None, True
    parts = [part for part in map(polygonal, solid) if part is not None]
    outline = polygonal(shapely.union_all(parts)) if parts else None
    return outline, outline is not None


def geometry_of(outline: Outline) -> dict[str, Any]:
    """The GeoJSON geometry of an outline, every digit kept."""
    if isinstance(outline, Polygon):
        return {"type": "Polygon", "coordinates": _rings_of(outline)}
    return {"type": "MultiPolygon", "coordinates": [_rings_of(part) for part in outline.geoms]}


def _rings_of(polygon: Polygon) -> list[Any]:
    return [shapely.get_coordinates(ring).tolist() for ring in (polygon.exterior, *polygon.interiors)]
