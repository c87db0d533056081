"""Outlines in well-known binary (OGC 06-103r4, section 8), as QuPath keeps them since version 0.2."""

import struct

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

from histoscout.annotations.json_geometry import Drawn, joined
from histoscout.annotations.shapes import check_points
from histoscout.errors import AnnotationError

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
            polygons.append(_polygon(source))
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


def _polygon(source: _Bytes) -> Polygon:
    """A polygon of rings; rings of fewer than three points enclose nothing."""
    rings = [source.points(source.count()) for _ in range(source.count())]
    if not rings or len(rings[0]) < 3:
        return Polygon()
    return Polygon(rings[0], [hole for hole in rings[1:] if len(hole) >= 3])
