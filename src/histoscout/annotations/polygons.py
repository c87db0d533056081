"""Polygons from GeoJSON geometries and named shapes, and subtracting holes.

GeoJSON geometries follow RFC 7946, section 3.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from histoscout.errors import AnnotationError, OutputError
from histoscout.geometry.regions import Outline, Region, has_too_many_crossings, valid_outline
from histoscout.io.notes import NoteCounter

MAX_COORDINATE = 1e9
"""In level-0 px; a slide of that size would be a quarter of a kilometer wide."""
ELLIPSE_POINTS = 120
"""Corners of the polygon that stands for an ellipse; its area is 0.05 % less."""
WITHOUT_AREA = frozenset({"Point", "MultiPoint", "LineString", "MultiLineString"})
WITH_AREA = frozenset({"Polygon", "MultiPolygon"})
GEOMETRIES = WITHOUT_AREA | WITH_AREA | {"GeometryCollection"}
Shape = Literal["polygon", "rectangle", "ellipse"]
_CORRECT = "Correct this coordinate, or export the file again"


@dataclass(frozen=True)
class ParsedGeometry:
    """A geometry as it was read.

    Attributes:
        outline: Its polygon, in the coordinates of the file; None if nothing in it has area.
        repaired: Whether the polygon crossed itself and was repaired. Without an outline: whether it crosses
            itself too often to be repaired.
        without_area: GeoJSON types of the points and lines in the geometry.
    """

    outline: Outline | None
    repaired: bool
    without_area: tuple[str, ...]


# ---------------------------------------------------------------- GeoJSON


def is_geometry(value: object) -> bool:
    """Whether this is a GeoJSON geometry, by its type.

    Args:
        value: A JSON value.

    Returns:
        Whether it names a type of geometry.
    """
    kind = value.get("type") if isinstance(value, dict) else None
    return isinstance(kind, str) and kind in GEOMETRIES


def parse_geometry(geometry: object, where: str) -> ParsedGeometry:
    """Convert a GeoJSON geometry to a polygon.

    A valid polygon comes back as it was written, to the last bit. Rings that cross themselves are split,
    parts that overlap are joined.

    Args:
        geometry: A GeoJSON geometry, or None.
        where: The place in the file, for errors.

    Returns:
        The polygon, and what else the geometry holds.

    Raises:
        AnnotationError: The geometry is invalid, or its coordinates are not finite numbers.
    """
    polygons: list[Polygon] = []
    without_area: list[str] = []
    is_multi = False
    # a stack instead of recursion, since collections may be nested without limit
    stack = [geometry]
    while stack:
        kind, content = _kind_and_content(stack.pop(), where)
        if kind == "GeometryCollection":
            stack += reversed(_checked_list(content, where))
        elif kind == "Polygon":
            polygons.append(_parse_polygon(content, where))
        elif kind == "MultiPolygon":
            polygons += [_parse_polygon(part, where) for part in _checked_list(content, where)]
            is_multi = True
        elif kind is not None:
            without_area.append(kind)
    outline, repaired = join_polygons(polygons, is_multi or len(polygons) > 1)
    return ParsedGeometry(outline, repaired, tuple(without_area))


def _kind_and_content(geometry: object, where: str) -> tuple[str | None, object]:
    """The type of a geometry, and its coordinates or parts."""
    if geometry is None:
        return None, None
    if not isinstance(geometry, dict):
        raise AnnotationError(where, "the geometry is not a GeoJSON object", "Export the file again")
    kind = geometry.get("type")
    if not is_geometry(geometry):
        fault = f"the geometry is of the unknown type {str(kind)[:40]!r}"
        raise AnnotationError(where, fault, "Export the file again")
    return kind, geometry.get("geometries" if kind == "GeometryCollection" else "coordinates")


def _checked_list(content: object, where: str) -> list[Any]:
    if not isinstance(content, list):
        fault = "the geometry lacks a list of parts or coordinates"
        raise AnnotationError(where, fault, "Export the file again")
    return content


def _parse_polygon(rings: object, where: str) -> Polygon:
    listed = _checked_list(rings, where)
    # some programs write one list of points where GeoJSON has a list of rings
    if is_one_ring(listed):
        listed = [listed]
    return polygon_of_rings([_parse_ring(ring, where) for ring in listed])


def is_one_ring(coordinates: Sequence[object]) -> bool:
    """Whether the coordinates of a polygon are one list of points instead of a list of rings.

    Args:
        coordinates: The coordinates of a GeoJSON polygon.
    """
    return bool(coordinates) and all(
        isinstance(point, list) and len(point) >= 2 and not isinstance(point[0], list)
        for point in coordinates
    )


def polygon_of_rings(rings: Sequence[NDArray[np.float64]]) -> Polygon:
    """Build a polygon from rings (N, 2): the first is its edge, the others are its holes.

    Args:
        rings: The rings; one of fewer than three points encloses nothing.

    Returns:
        The polygon; an empty one if its edge encloses nothing.
    """
    if not rings or len(rings[0]) < 3:
        return Polygon()
    return Polygon(rings[0], [hole for hole in rings[1:] if len(hole) >= 3])


def _parse_ring(ring: object, where: str) -> NDArray[np.float64]:
    """The points of a ring: float64 (N, 2); heights, which GeoJSON allows, are left out."""
    points = _checked_list(ring, where)
    if not points:
        return np.empty((0, 2))
    # types are checked before numpy sees them: one long text would make an array of gigabytes
    are_lists = set(map(type, points)) <= {list}
    if not are_lists or not set(map(type, chain.from_iterable(points))) <= {int, float}:
        fault = f"a point is not [x, y] in numbers: {_name_odd_point(points)}"
        raise AnnotationError(where, fault, _CORRECT)
    try:
        array = np.asarray(points)
    except ValueError as error:
        # the points have different lengths
        fault = f"a point is not [x, y]: {_name_odd_point(points)}"
        raise AnnotationError(where, fault, _CORRECT) from error
    if array.dtype.kind not in "iuf" or array.ndim != 2 or array.shape[1] < 2:
        fault = f"a point is not [x, y] in numbers: {_name_odd_point(points)}"
        raise AnnotationError(where, fault, _CORRECT)
    # heights are dropped; NaN fails the comparison
    array = array[:, :2].astype(np.float64)
    outside = np.flatnonzero(~(np.abs(array) <= MAX_COORDINATE).all(axis=1))
    if len(outside):
        place = _shorten(points[outside[0]])
        fault = f"point {outside[0] + 1} of a ring is at {place}, outside any slide"
        raise AnnotationError(where, fault, _CORRECT)
    return array


def _name_odd_point(points: list[Any]) -> str:
    """Number and content of the first point that is not two finite numbers."""

    def is_number(value: object) -> bool:
        return isinstance(value, int | float) and abs(value) <= MAX_COORDINATE

    def is_odd(point: object) -> bool:
        return not isinstance(point, list) or len(point) < 2 or not all(map(is_number, point))

    odd_points = ((number, point) for number, point in enumerate(points, 1) if is_odd(point))
    number, point = next(odd_points, (1, points[0]))
    return f"point {number} is {_shorten(point)}"


def _shorten(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def join_polygons(polygons: list[Polygon], is_multi: bool) -> tuple[Outline | None, bool]:
    """Join polygons to one outline, and repair what crosses itself.

    Args:
        polygons: The polygons; empty ones are left out.
        is_multi: Whether a valid result is a MultiPolygon.

    Returns:
        The outline, and whether it was repaired. (None, True) if edges cross too often to be repaired,
        (None, False) if nothing has area.
    """
    solid = [polygon for polygon in polygons if not polygon.is_empty]
    whole: Outline = MultiPolygon(solid) if is_multi else solid[0] if solid else Polygon()
    # a valid outline stays as it is, to the last bit
    if len(solid) == len(polygons) and whole.is_valid and whole.area > 0:
        return whole, False
    if has_too_many_crossings(MultiPolygon(solid)):
        return None, True
    # overlapping parts are joined
    parts = [part for part in map(valid_outline, solid) if part is not None]
    outline = valid_outline(shapely.union_all(parts)) if parts else None
    return outline, outline is not None


def writable_outline(region: Region, path: Path) -> Outline:
    """Take the outline of a region for writing, repaired if it is invalid.

    Args:
        region: The region.
        path: The file to write, for the error.

    Returns:
        A valid outline.

    Raises:
        OutputError: The outline has no area, or coordinates that are not finite.
    """
    outline = region.outline if region.outline.is_valid else valid_outline(region.outline)
    if outline is None or not 0 < outline.area < float("inf"):
        fault = f"region {region.id} has no area"
        raise OutputError(path, fault, "Leave out regions without area before writing")
    return outline


def outline_to_geojson(outline: Outline) -> dict[str, Any]:
    """Convert a polygon to a GeoJSON geometry, with every digit.

    Args:
        outline: A polygon or multipolygon.

    Returns:
        The geometry as a dictionary for JSON.
    """
    if isinstance(outline, Polygon):
        return {"type": "Polygon", "coordinates": _ring_lists(outline)}
    return {"type": "MultiPolygon", "coordinates": [_ring_lists(part) for part in outline.geoms]}


def _ring_lists(polygon: Polygon) -> list[Any]:
    return [shapely.get_coordinates(ring).tolist() for ring in (polygon.exterior, *polygon.interiors)]


# ---------------------------------------------------------------- shapes


def shape_outline(shape: Shape, points: NDArray[np.float64], where: str) -> ParsedGeometry:
    """Convert a named shape of a slide viewer to a polygon.

    Args:
        shape: "polygon", "rectangle" or "ellipse".
        points: (N, 2) float64 in level-0 px. A rectangle has two opposite corners or all four, which may be
            rotated; an ellipse has two corners of its bounding box.
        where: The place in the file, for errors.

    Returns:
        The polygon.

    Raises:
        AnnotationError: A point is outside any slide.
    """
    check_points(points, where)
    if len(points) < 2 or (shape == "polygon" and len(points) < 3):
        return ParsedGeometry(None, repaired=False, without_area=())
    # two corners of the bounding box are enough for a rectangle or an ellipse
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    if shape == "rectangle" and len(points) < 4:
        polygon = Polygon([(left, top), (right, top), (right, bottom), (left, bottom)])
    elif shape == "ellipse" and len(points) <= 4:
        radii = np.array([right - left, bottom - top]) / 2
        center = np.array([left + right, top + bottom]) / 2
        polygon = Polygon(ellipse_points(center, radii, ELLIPSE_POINTS))
    else:
        polygon = Polygon(points)
    outline, repaired = join_polygons([polygon], is_multi=False)
    return ParsedGeometry(outline, repaired, ())


def ellipse_points(
    center: NDArray[np.float64], radii: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """Place points on an ellipse at equal angles.

    Args:
        center: x and y.
        radii: Half the width and half the height.
        count: Number of points.

    Returns:
        (count, 2) float64, the first at the right.
    """
    angles = np.arange(count) * (2 * np.pi / count)
    points: NDArray[np.float64] = center + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return points


def check_points(points: NDArray[np.float64], where: str) -> None:
    """Refuse points that are outside any slide, or not numbers.

    Args:
        points: (N, 2) float64 in level-0 px.
        where: The place in the file, for the error.

    Raises:
        AnnotationError: A coordinate is NaN, infinite or above MAX_COORDINATE.
    """
    outside = np.flatnonzero(~(np.abs(points) <= MAX_COORDINATE).all(axis=1))
    if len(outside):
        x, y = points[outside[0]]
        fault = f"point {outside[0] + 1} of an annotation is at {x:g}, {y:g}, outside any slide"
        raise AnnotationError(where, fault, _CORRECT)


# ---------------------------------------------------------------- holes


def subtract_holes(
    regions: Sequence[Region], holes: Sequence[tuple[Outline, str]], counter: NoteCounter
) -> list[Region]:
    """Subtract holes from every region that they share area with.

    Args:
        regions: The regions, in level-0 px.
        holes: The outline of each hole in level-0 px, and its name in notes.
        counter: Counts regions with nothing left, and holes outside all regions.

    Returns:
        The regions without the holes, those with nothing left dropped.
    """
    holes_by_region = _find_holes(regions, holes)
    used: set[int] = set()
    kept = []
    for number, region in enumerate(regions):
        inside = [holes[hole][0] for hole in holes_by_region.get(number, [])]
        # refuse what would take forever: every crossing costs time and memory
        if inside and has_too_many_crossings(MultiPolygon(_polygons([region.outline, *inside]))):
            counter.add("annotations left out, as holes cross them too often to be subtracted", region.id)
            used.update(holes_by_region[number])
            continue
        outline = _subtract(region.outline, inside)
        if outline is None or outline.area < region.outline.area:
            used.update(holes_by_region[number])
        if outline is None:
            counter.add("annotations left out, as holes cover them", region.id)
        else:
            kept.append(region if outline is region.outline else replace(region, outline=outline))
    # a hole that changed nothing was probably drawn in the wrong place
    for number, (_, name) in enumerate(holes):
        if number not in used:
            counter.add("holes outside all annotations, left out", name)
    return kept


def _find_holes(regions: Sequence[Region], holes: Sequence[tuple[Outline, str]]) -> dict[int, list[int]]:
    """Indices of the holes that intersect each region, found with a spatial index."""
    by_region: dict[int, list[int]] = {}
    if regions and holes:
        tree = shapely.STRtree([outline for outline, _ in holes])
        pairs = tree.query([region.outline for region in regions], predicate="intersects")
        for region, hole in sorted(zip(*pairs.tolist(), strict=True)):
            by_region.setdefault(region, []).append(hole)
    return by_region


def _polygons(outlines: Sequence[Outline]) -> list[Polygon]:
    return [
        part
        for outline in outlines
        for part in ([outline] if isinstance(outline, Polygon) else outline.geoms)
    ]


def _subtract(outline: Outline, holes: list[Outline]) -> Outline | None:
    if not holes:
        return outline
    rings = [hole.exterior for hole in holes if isinstance(hole, Polygon) and not hole.interiors]
    if isinstance(outline, Polygon) and len(rings) == len(holes):
        exact = Polygon(outline.exterior, [*outline.interiors, *rings])
        # each hole is inside and apart from the others: every point stays as it was drawn
        if exact.is_valid:
            return exact
    return valid_outline(outline.difference(shapely.union_all(holes)))
