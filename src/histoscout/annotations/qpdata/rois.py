"""Outlines as QuPath's data files hold them: each kind of ROI is written as a small record of numbers.

Walking through what an object of a Java stream wrote by itself, value by value.
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

from histoscout.annotations.polygons import Drawn, check_points, joined, read_wkb
from histoscout.annotations.qpdata.java import JavaObject
from histoscout.errors import AnnotationError
from histoscout.geometry.validity import even_odd, is_tangled

ELLIPSE_POINTS = 100  # as many as QuPath exports; their polygon has .07 % less area than the ellipse
_REMEDY = "Open the file in QuPath and use File > Export objects as GeoJSON"


@dataclass
class Reading:
    """The file that is read, and how many more numbers it may stand for.

    Arrays of a Java stream may be referred to again and again: a small file would stand for any number of points.
    """

    path: Path
    left: int

    def where(self, offset: int) -> str:
        return f"{self.path}, byte {offset}"

    def refuse(self, fault: str, offset: int) -> NoReturn:
        raise AnnotationError(self.where(offset), fault, _REMEDY)

    def spend(self, count: int, offset: int) -> None:
        self.left -= count
        if self.left < 0:
            self.refuse("refers to the same numbers again and again, far more often than outlines do", offset)


def read_roi(roi: JavaObject, reading: Reading) -> Drawn | None:
    """What a ROI encloses, in px of the image in QuPath; None for one of a kind that is not known.

    A valid outline comes back as it was saved, to the last bit. AnnotationError for numbers that are no outline.
    """
    kind, _, proxy = roi.class_name.removeprefix("qupath.lib.roi.").partition("$")
    read = _KINDS.get(f"{kind}${proxy}")
    return None if read is None else read(roi, reading)


def plane_of(roi: JavaObject) -> dict[str, int]:
    """Channel, slice and time of a ROI, as QuPath's GeoJSON has them."""
    return {
        axis: value if isinstance(value := roi.fields.get(axis), int) else default
        for axis, default in (("c", -1), ("z", 0), ("t", 0))
    }


def _floats(values: object, roi: JavaObject, reading: Reading) -> NDArray[np.float64]:
    if not isinstance(values, np.ndarray):
        reading.refuse("holds an outline without coordinates", roi.offset)
    reading.spend(len(values), roi.offset)
    with np.errstate(invalid="ignore"):  # some of the numbers that are none; they are refused later
        return values.astype(np.float64)


def _ring(x: object, y: object, roi: JavaObject, reading: Reading) -> NDArray[np.float64]:
    across, down = _floats(x, roi, reading), _floats(y, roi, reading)
    if len(across) != len(down):
        reading.refuse("holds an outline of which coordinates are missing", roi.offset)
    points = np.stack([across, down], axis=1)
    check_points(points, reading.where(roi.offset))
    return points


def _drawn(points: NDArray[np.float64]) -> Drawn:
    outline, mended = joined([Polygon(points) if len(points) > 2 else Polygon()], several=False)
    return Drawn(outline, mended, ())


def _polygon(roi: JavaObject, reading: Reading) -> Drawn:
    return _drawn(_ring(roi.fields.get("x"), roi.fields.get("y"), roi, reading))


def _area(roi: JavaObject, reading: Reading) -> Drawn:
    """Rings of which a place lies inside that an odd number of them enclose; holes are rings too."""
    x, y = roi.fields.get("x"), roi.fields.get("y")
    if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y):
        reading.refuse("holds an outline without coordinates", roi.offset)
    rings = [_ring(across, down, roi, reading) for across, down in zip(x, y, strict=True)]
    rings = [ring for ring in rings if len(ring) > 2]
    if is_tangled(MultiPolygon([Polygon(ring) for ring in rings])):
        return Drawn(None, True, ())
    return Drawn(even_odd(rings), False, ())


def _geometry(roi: JavaObject, reading: Reading) -> Drawn:
    written = roi.fields.get("wkb")
    if not isinstance(written, np.ndarray):
        reading.refuse("holds an outline without its geometry", roi.offset)
    reading.spend(len(written), roi.offset)
    return read_wkb(written.tobytes(), reading.where(roi.offset))


def _corners(roi: JavaObject, reading: Reading) -> NDArray[np.float64]:
    """Two opposite corners: float64 (2, 2)."""
    said = [roi.fields.get(name) for name in ("x", "y", "x2", "y2")]
    if not all(isinstance(value, int | float) for value in said):
        reading.refuse("holds an outline without its corners", roi.offset)
    corners = np.array(said, np.float64).reshape(2, 2)
    check_points(corners, reading.where(roi.offset))
    return corners


def _rectangle(roi: JavaObject, reading: Reading) -> Drawn:
    (x, y), (x2, y2) = _corners(roi, reading)
    return _drawn(np.array([[x, y], [x2, y], [x2, y2], [x, y2]]))


def _ellipse(roi: JavaObject, reading: Reading) -> Drawn:
    corners = _corners(roi, reading)
    radii, center = np.ptp(corners, axis=0) / 2, corners.mean(axis=0)
    turns = np.arange(ELLIPSE_POINTS) * (2 * np.pi / ELLIPSE_POINTS)
    return _drawn(center + radii * np.stack([np.cos(turns), np.sin(turns)], axis=1))


def _without_area(kind: str) -> Callable[[JavaObject, Reading], Drawn]:
    return lambda roi, reading: Drawn(None, False, (kind,))


# kinds of ROI as they stand in a file, of all versions, and how each is read
_KINDS: Mapping[str, Callable[[JavaObject, Reading], Drawn]] = MappingProxyType(
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


class Cursor:
    """What an object wrote, one value after the other: objects as such, numbers as bytes between them."""

    def __init__(self, written: JavaObject, reading: Reading) -> None:
        self.written, self.reading = written, reading
        self._next, self._numbers = 0, b""

    @property
    def at_number(self) -> bool:
        return bool(self._numbers) or isinstance(self._peek(), bytes)

    def _peek(self) -> Any:
        if self._next >= len(self.written.content):
            self.reading.refuse("holds an object of which a part is missing", self.written.offset)
        return self.written.content[self._next]

    def object(self) -> Any:
        if self.at_number:
            self.reading.refuse("holds an object whose parts are in an unknown order", self.written.offset)
        self._next += 1
        return self.written.content[self._next - 1]

    def objects(self, count: int) -> list[Any]:
        if not 0 <= count <= len(self.written.content) - self._next:
            self.reading.refuse(f"holds an object that should hold {count} others", self.written.offset)
        return [self.object() for _ in range(count)]

    def number(self, form: str) -> Any:
        if not self._numbers:
            self._numbers = self._peek()
            if not isinstance(self._numbers, bytes):
                self._numbers = b""
                self.reading.refuse("holds an object that lacks a number", self.written.offset)
            self._next += 1
        size = struct.calcsize(form)
        taken, self._numbers = self._numbers[:size], self._numbers[size:]
        if len(taken) < size:
            self.reading.refuse("holds an object of which a number is missing", self.written.offset)
        return struct.unpack(form, taken)[0]
