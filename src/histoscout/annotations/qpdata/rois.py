"""ROIs of QuPath's data files as polygons: each type of ROI is a small record of numbers.

Since version 0.2 most of them are well-known binary (OGC 06-103r4, section 8).
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from histoscout.annotations.polygons import (
    ParsedGeometry,
    check_points,
    ellipse_points,
    join_polygons,
    polygon_of_rings,
)
from histoscout.annotations.qpdata.java import JavaObject
from histoscout.errors import AnnotationError
from histoscout.geometry.regions import fill_even_odd, has_too_many_crossings

QUPATH_ELLIPSE_POINTS = 100
"""Corners of an ellipse in QuPath's own export; their polygon has 0.07 % less area than the ellipse."""
_REMEDY = "Open the file in QuPath and use File > Export objects as GeoJSON"

# geometry types of well-known binary
_POINT = 1
_LINE = 2
_POLYGON = 3
_MULTI_POLYGON = 6
_COLLECTIONS = frozenset({4, 5, _MULTI_POLYGON, 7})
_WITHOUT_AREA = {_POINT: "Point", _LINE: "LineString"}


@dataclass
class ReadContext:
    """The file that is read, and how many more values it may stand for.

    Objects of a Java stream may refer to the same array again and again: a small file could stand for any
    number of points.

    Attributes:
        path: The file, for errors.
        values_left: Values that may still be read.
    """

    path: Path
    values_left: int

    def where(self, offset: int) -> str:
        """The place in the file, for errors."""
        return f"{self.path}, byte {offset}"

    def refuse(self, fault: str, offset: int) -> NoReturn:
        """Raise an AnnotationError that names the file and the byte."""
        raise AnnotationError(self.where(offset), fault, _REMEDY)

    def spend(self, count: int, offset: int) -> None:
        """Count values that are read, and refuse a file that stands for far too many."""
        self.values_left -= count
        if self.values_left < 0:
            self.refuse("the file refers to the same values far more often than annotations do", offset)


def read_roi(roi: JavaObject, context: ReadContext) -> ParsedGeometry | None:
    """Convert a ROI to a polygon.

    A valid polygon comes back as it was saved, to the last bit.

    Args:
        roi: The ROI.
        context: The file that is read.

    Returns:
        The polygon in px of the image that QuPath showed; None for an unknown type of ROI.

    Raises:
        AnnotationError: The values are not a polygon; it names the byte.
    """
    kind, _, proxy = roi.class_name.removeprefix("qupath.lib.roi.").partition("$")
    read = _ROI_READERS.get(f"{kind}${proxy}")
    return None if read is None else read(roi, context)


def plane_of(roi: JavaObject) -> dict[str, int]:
    """Channel, slice and time of a ROI, as QuPath's GeoJSON has them.

    Args:
        roi: A ROI of a data file.

    Returns:
        The indices by name, without those that are 0.
    """
    return {
        axis: value if isinstance(value := roi.fields.get(axis), int) else default
        for axis, default in (("c", -1), ("z", 0), ("t", 0))
    }


# ---------------------------------------------------------------- types of ROI


def _polygon(roi: JavaObject, context: ReadContext) -> ParsedGeometry:
    return _single_ring(_ring(roi.fields.get("x"), roi.fields.get("y"), roi=roi, context=context))


def _area(roi: JavaObject, context: ReadContext) -> ParsedGeometry:
    """Rings of which an odd number enclose every point inside; holes are rings too."""
    x = roi.fields.get("x")
    y = roi.fields.get("y")
    if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y):
        context.refuse("an annotation has no coordinates", roi.offset)
    rings = [_ring(ring_x, ring_y, roi=roi, context=context) for ring_x, ring_y in zip(x, y, strict=True)]
    rings = [ring for ring in rings if len(ring) > 2]
    if has_too_many_crossings(MultiPolygon([Polygon(ring) for ring in rings])):
        return ParsedGeometry(None, True, ())
    return ParsedGeometry(fill_even_odd(rings), False, ())


def _geometry(roi: JavaObject, context: ReadContext) -> ParsedGeometry:
    wkb = roi.fields.get("wkb")
    if not isinstance(wkb, np.ndarray):
        context.refuse("an annotation has no geometry", roi.offset)
    context.spend(len(wkb), roi.offset)
    return _read_wkb(wkb.tobytes(), context.where(roi.offset))


def _rectangle(roi: JavaObject, context: ReadContext) -> ParsedGeometry:
    (x, y), (x2, y2) = _corners(roi, context)
    return _single_ring(np.array([[x, y], [x2, y], [x2, y2], [x, y2]]))


def _ellipse(roi: JavaObject, context: ReadContext) -> ParsedGeometry:
    corners = _corners(roi, context)
    radii = np.ptp(corners, axis=0) / 2
    return _single_ring(ellipse_points(corners.mean(axis=0), radii, QUPATH_ELLIPSE_POINTS))


def _without_area(kind: str) -> Callable[[JavaObject, ReadContext], ParsedGeometry]:
    return lambda roi, context: ParsedGeometry(None, False, (kind,))


_ROI_READERS: Mapping[str, Callable[[JavaObject, ReadContext], ParsedGeometry]] = MappingProxyType(
    {
        "PolygonROI$SerializationProxy": _polygon,
        "AreaROI$SerializationProxy": _area,
        "AWTAreaROI$SerializationProxy": _area,
        "GeometryROI$WKBSerializationProxy": _geometry,
        "RectangleROI$SerializationProxy": _rectangle,
        "EllipseROI$SerializationProxy": _ellipse,
        "LineROI$SerializationProxy": _without_area("LineString"),
        "PolylineROI$SerializationProxy": _without_area("LineString"),
        "PointsROI$SerializationProxy": _without_area("MultiPoint"),
    }
)
"""Class of a ROI in a file, of all versions of QuPath -> its reader."""


def _ring(x: object, y: object, *, roi: JavaObject, context: ReadContext) -> NDArray[np.float64]:
    """The points of a ring: (N, 2) float64."""
    xs = _floats(x, roi, context)
    ys = _floats(y, roi, context)
    if len(xs) != len(ys):
        context.refuse("an annotation lacks some of its coordinates", roi.offset)
    points = np.stack([xs, ys], axis=1)
    check_points(points, context.where(roi.offset))
    return points


def _floats(values: object, roi: JavaObject, context: ReadContext) -> NDArray[np.float64]:
    if not isinstance(values, np.ndarray):
        context.refuse("an annotation has no coordinates", roi.offset)
    context.spend(len(values), roi.offset)
    # some signaling NaN raise a warning here; they are refused later
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def _corners(roi: JavaObject, context: ReadContext) -> NDArray[np.float64]:
    """Two opposite corners: (2, 2) float64."""
    values = [roi.fields.get(name) for name in ("x", "y", "x2", "y2")]
    if not all(isinstance(value, int | float) for value in values):
        context.refuse("an annotation has no corners", roi.offset)
    corners = np.array(values, np.float64).reshape(2, 2)
    check_points(corners, context.where(roi.offset))
    return corners


def _single_ring(points: NDArray[np.float64]) -> ParsedGeometry:
    outline, repaired = join_polygons([Polygon(points) if len(points) > 2 else Polygon()], is_multi=False)
    return ParsedGeometry(outline, repaired, ())


# ---------------------------------------------------------------- well-known binary


def _read_wkb(data: bytes, where: str) -> ParsedGeometry:
    """The polygon of a two-dimensional geometry, in time that grows with its bytes."""
    reader = _WkbReader(data, where)
    polygons: list[Polygon] = []
    without_area: list[str] = []
    is_multi = False
    # a counter instead of recursion, since collections may be nested without limit
    geometries_left = 1
    while geometries_left:
        geometries_left -= 1
        kind = reader.read_kind()
        if kind in _COLLECTIONS:
            geometries_left += reader.read_count()
            is_multi |= kind == _MULTI_POLYGON
        elif kind == _POLYGON:
            rings = [reader.read_points(reader.read_count()) for _ in range(reader.read_count())]
            polygons.append(polygon_of_rings(rings))
        elif kind in _WITHOUT_AREA:
            reader.read_points(reader.read_count() if kind == _LINE else 1)
            without_area.append(_WITHOUT_AREA[kind])
        else:
            raise reader.error(f"is of the unknown type {kind}")
    outline, repaired = join_polygons(polygons, is_multi or len(polygons) > 1)
    return ParsedGeometry(outline, repaired, tuple(dict.fromkeys(without_area)))


class _WkbReader:
    """Reads numbers from well-known binary, in the byte order that each geometry states."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data = data
        self.where = where
        self.position = 0
        self.byte_order = ">"

    def error(self, fault: str) -> AnnotationError:
        remedy = "Export the objects from QuPath as GeoJSON"
        return AnnotationError(self.where, f"the geometry {fault}", remedy)

    def read_kind(self) -> int:
        order = self._take(1)[0]
        if order > 1:
            raise self.error("does not state its byte order")
        self.byte_order = "<" if order else ">"
        return self.read_count()

    def read_count(self) -> int:
        return int(struct.unpack(f"{self.byte_order}I", self._take(4))[0])

    def read_points(self, count: int) -> NDArray[np.float64]:
        values = np.frombuffer(self._take(16 * count), f"{self.byte_order}f8")
        points = values.reshape(-1, 2).astype(np.float64)
        check_points(points, self.where)
        return points

    def _take(self, count: int) -> bytes:
        if count > len(self.data) - self.position:
            raise self.error(f"is cut short: {count} bytes should follow its byte {self.position}")
        self.position += count
        return self.data[self.position - count : self.position]


# ---------------------------------------------------------------- values of an object


class Cursor:
    """Walks through what an object wrote, value by value; numbers are bytes between objects.

    Args:
        written: The object.
        context: The file that is read.
    """

    def __init__(self, written: JavaObject, context: ReadContext) -> None:
        self.written = written
        self.context = context
        self._next = 0
        self._numbers = b""

    @property
    def at_number(self) -> bool:
        """Whether the next value is a number."""
        return bool(self._numbers) or isinstance(self._peek(), bytes)

    def _peek(self) -> Any:
        if self._next >= len(self.written.content):
            self.context.refuse("an object lacks a part", self.written.offset)
        return self.written.content[self._next]

    def object(self) -> Any:
        """The next value, which has to be an object (or a text, an array or None)."""
        if self.at_number:
            self.context.refuse("the parts of an object are in an unknown order", self.written.offset)
        self._next += 1
        return self.written.content[self._next - 1]

    def objects(self, count: int) -> list[Any]:
        """The next `count` objects."""
        if not 0 <= count <= len(self.written.content) - self._next:
            self.context.refuse(f"an object should hold {count} others", self.written.offset)
        return [self.object() for _ in range(count)]

    def number(self, form: str) -> Any:
        """The next number, in a format of `struct`."""
        # bytes may hold several numbers; take the next bytes when they are used up
        if not self._numbers:
            self._numbers = self._peek()
            if not isinstance(self._numbers, bytes):
                self._numbers = b""
                self.context.refuse("an object lacks a number", self.written.offset)
            self._next += 1
        size = struct.calcsize(form)
        taken = self._numbers[:size]
        self._numbers = self._numbers[size:]
        if len(taken) < size:
            self.context.refuse("an object lacks a part of a number", self.written.offset)
        return struct.unpack(form, taken)[0]
