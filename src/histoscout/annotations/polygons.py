"""GeoJSON geometries (RFC 7946, section 3.1) to outlines and back.

The shapes that slide viewers know by name, as outlines.

Outlines in well-known binary (OGC 06-103r4, section 8), as QuPath keeps them since version 0.2.

Outlines that mean "not this": taken out of the outlines that they lie in.
"""

import struct
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Outline, Region, polygonal
from histoscout.geometry.validity import is_tangled
from histoscout.io.notes import Findings

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
            polygons.append(_json_polygon(content, where))
        elif kind == "MultiPolygon":
            polygons += [_json_polygon(part, where) for part in _listed(content, where)]
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


def _json_polygon(rings: object, where: str) -> Polygon:
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


Shape = Literal["polygon", "rectangle", "ellipse"]
ELLIPSE_POINTS = 120  # their polygon has .05 % less area than the ellipse


def drawn_shape(shape: Shape, points: NDArray[np.float64], where: str) -> Drawn:
    """The outline of a shape given by its points, float64 (N, 2) in level-0 px.

    A rectangle may be given by two opposite corners or by all four, which may be turned; an ellipse by two corners
    of the rectangle round it. AnnotationError for points where no slide is.
    """
    check_points(points, where)
    if len(points) < 2 or (shape == "polygon" and len(points) < 3):
        return Drawn(None, mended=False, without_area=())
    outline, mended = joined([_polygon(shape, points)], several=False)
    return Drawn(outline, mended, ())


def _polygon(shape: Shape, points: NDArray[np.float64]) -> Polygon:
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    if shape == "rectangle" and len(points) < 4:
        return Polygon([(left, top), (right, top), (right, bottom), (left, bottom)])
    if shape == "ellipse" and len(points) <= 4:
        turns = np.arange(ELLIPSE_POINTS) * (2 * np.pi / ELLIPSE_POINTS)
        radii = np.array([right - left, bottom - top]) / 2
        center = np.array([left + right, top + bottom]) / 2
        return Polygon(center + radii * np.stack([np.cos(turns), np.sin(turns)], axis=1))
    return Polygon(points)


def check_points(points: NDArray[np.float64], where: str) -> None:
    """AnnotationError if one of the points, float64 (N, 2) in level-0 px, lies where no slide is, or nowhere."""
    far = np.flatnonzero(~(np.abs(points) <= FARTHEST).all(axis=1))
    if len(far):
        x, y = points[far[0]]
        fault = f"point {far[0] + 1} of an outline is at {x:g}, {y:g}, where no slide is"
        raise AnnotationError(where, fault, "Correct this coordinate, or export the file again")


_LINE, _POLYGON, _MULTI_POLYGON = 2, 3, 6
_COLLECTIONS = frozenset({4, 5, _MULTI_POLYGON, 7})
_WITHOUT_AREA = {1: "Point", 2: "LineString"}


def read_wkb(data: bytes, where: str) -> Drawn:
    """The outline of a two-dimensional geometry; AnnotationError for bytes that are none.

    Collections in collections, however deep, take no more time than their bytes.
    """
    source = _Bytes(data, where)
    polygons: list[Polygon] = []
    without_area: list[str] = []
    several, to_come = False, 1
    while to_come:
        to_come -= 1
        kind = source.kind()
        if kind in _COLLECTIONS:
            to_come += source.count()
            several |= kind == _MULTI_POLYGON
        elif kind == _POLYGON:
            polygons.append(_wkb_polygon(source))
        elif kind in _WITHOUT_AREA:
            source.points(source.count() if kind == _LINE else 1)
            without_area.append(_WITHOUT_AREA[kind])
        else:
            raise source.fault(f"is of the unknown kind {kind}")
    outline, mended = joined(polygons, several or len(polygons) > 1)
    return Drawn(outline, mended, tuple(dict.fromkeys(without_area)))


class _Bytes:
    """Numbers from a piece of well-known binary, in the order of bytes that each geometry states."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where, self.at, self.order = data, where, 0, ">"

    def fault(self, words: str) -> AnnotationError:
        return AnnotationError(self.where, f"an outline {words}", "Export the objects from QuPath as GeoJSON")

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise self.fault(f"is cut short: {count} bytes should follow its byte {self.at}")
        self.at += count
        return self.data[self.at - count : self.at]

    def kind(self) -> int:
        order = self.take(1)[0]
        if order > 1:
            raise self.fault("does not say the order of its bytes")
        self.order = "<" if order else ">"
        return self.count()

    def count(self) -> int:
        return int(struct.unpack(f"{self.order}I", self.take(4))[0])

    def points(self, count: int) -> NDArray[np.float64]:
        points = np.frombuffer(self.take(16 * count), f"{self.order}f8").reshape(-1, 2).astype(np.float64)
        check_points(points, self.where)
        return points


def _wkb_polygon(source: _Bytes) -> Polygon:
    """A polygon of rings; rings of fewer than three points enclose nothing."""
    rings = [source.points(source.count()) for _ in range(source.count())]
    if not rings or len(rings[0]) < 3:
        return Polygon()
    return Polygon(rings[0], [hole for hole in rings[1:] if len(hole) >= 3])


def without_holes(
    regions: Sequence[Region], holes: Sequence[tuple[Outline, str]], findings: Findings
) -> list[Region]:
    """The regions less the holes, each an outline and what to call it; both in level-0 px.

    A hole is taken out of every region that it shares area with. Holes that lie in no region, and regions that
    nothing is left of, are told.
    """
    cut = _holes_by_region(regions, holes)
    used: set[int] = set()
    kept = []
    for number, region in enumerate(regions):
        inside = [holes[hole][0] for hole in cut.get(number, [])]
        if inside and is_tangled(MultiPolygon(_polygons([region.outline, *inside]))):
            findings.add("outlines left out, as holes cross them too often to be taken out", region.id)
            used.update(cut[number])
            continue
        outline = _cut(region.outline, inside)
        if outline is None or outline.area < region.outline.area:
            used.update(cut[number])
        if outline is None:
            findings.add("outlines left out, as holes cover them", region.id)
        else:
            kept.append(region if outline is region.outline else replace(region, outline=outline))
    for number, (_, name) in enumerate(holes):
        if number not in used:
            findings.add("holes that lie in no outline, left out", name)
    return kept


def _holes_by_region(regions: Sequence[Region], holes: Sequence[tuple[Outline, str]]) -> dict[int, list[int]]:
    """The holes that meet each region, by number; each region is prepared once, however many holes it has."""
    met: dict[int, list[int]] = {}
    if regions and holes:
        tree = shapely.STRtree([outline for outline, _ in holes])
        pairs = tree.query([region.outline for region in regions], predicate="intersects")
        for region, hole in sorted(zip(*pairs.tolist(), strict=True)):
            met.setdefault(region, []).append(hole)
    return met


def _polygons(outlines: Sequence[Outline]) -> list[Polygon]:
    return [
        part
        for outline in outlines
        for part in ([outline] if isinstance(outline, Polygon) else outline.geoms)
    ]


def _cut(outline: Outline, holes: list[Outline]) -> Outline | None:
    if not holes:
        return outline
    rings = [hole.exterior for hole in holes if isinstance(hole, Polygon) and not hole.interiors]
    if isinstance(outline, Polygon) and len(rings) == len(holes):
        exact = Polygon(outline.exterior, [*outline.interiors, *rings])
        if exact.is_valid:  # each hole inside, apart from the others: every point stays as it was drawn
            return exact
    return polygonal(outline.difference(shapely.union_all(holes)))
