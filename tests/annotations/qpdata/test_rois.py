"""ROIs of QuPath's data files: every type as a polygon, and damaged ones refused with their byte."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Point, Polygon, box

from histoscout.annotations.qpdata.reader import read_qpdata
from histoscout.annotations.read import Annotations
from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Outline, Region
from tests.annotations import qpdata_writer as write
from tests.annotations.java_writer import Array, Java
from tests.annotations.notes import only_note
from tests.annotations.qpdata_seeds import HOLE, RING
from tests.annotations.qpdata_writer import QupathObject, write_data_file

UDH = write.path_class("UDH", -3670016)


def only(annotations: Annotations) -> Region:
    assert len(annotations.regions) == 1, annotations
    return annotations.regions[0]


def outline(folder: Path, roi: Java) -> Outline:
    return only(read_qpdata(write_data_file(folder, [QupathObject(roi, UDH)]))).outline


def test_a_valid_polygon_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    exact = Polygon(np.random.default_rng(0).uniform(0, 9e4, (3, 2)))
    assert outline(tmp_path, write.geometry_roi(exact)) == exact
    parts = MultiPolygon([exact])
    assert outline(tmp_path, write.geometry_roi(parts)) == parts
    single = Polygon(RING)
    assert outline(tmp_path, write.points_roi("PolygonROI", RING)) == single


def test_little_endian_geometries_are_read(tmp_path: Path) -> None:
    exact = Polygon(RING, [HOLE])
    assert outline(tmp_path, write.geometry_roi(shapely.to_wkb(exact, byte_order=1))) == exact


def test_a_collection_keeps_its_polygons(tmp_path: Path) -> None:
    mixed = shapely.GeometryCollection([box(0, 0, 2, 2), Point(1, 1), MultiPolygon([box(5, 5, 6, 6)])])
    annotations = read_qpdata(write_data_file(tmp_path, [QupathObject(write.geometry_roi(mixed), UDH)]))
    assert only(annotations).outline.area == 5
    assert only_note(annotations.notes, "no area", "object 1: Point")


rings = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=3, max_size=8, unique=True)


@given(st.lists(rings, min_size=1, max_size=4))
@example([[(0, 0), (2, 0), (22, 18)], [(0, 0), (22, 17), (2, 0), (22, 18)], [(0, 0), (0, 1), (6, 1)]])
def test_an_area_holds_what_an_odd_number_of_its_rings_enclose(
    tmp_path_factory: pytest.TempPathFactory, area_rings: list[list[tuple[int, int]]]
) -> None:
    folder = tmp_path_factory.mktemp("area")
    annotations = read_qpdata(
        write_data_file(folder, [QupathObject(write.area_roi(area_rings), UDH)], version="0.1")
    )
    odd = np.zeros((30, 30), bool)
    for ring in area_rings:
        odd ^= even_odd(ring)
    area = only(annotations).outline if len(annotations.regions) else Polygon()
    assert np.array_equal(shapely.contains_xy(area, *POINTS), odd)


# points that are on no edge between whole numbers
POINTS = np.mgrid[:30, :30][::-1] + np.array([0.3717, 0.4139])[:, None, None]


def even_odd(ring: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Whether each of 30 x 30 points is inside: it has an odd number of edges to its left."""
    x, y = POINTS
    inside = np.zeros((30, 30), bool)
    for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if y1 != y2:
            inside ^= ((y1 > y) != (y2 > y)) & (x > x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside


def test_an_ellipse_is_the_polygon_that_qupath_exports(tmp_path: Path) -> None:
    ellipse = outline(tmp_path, write.corners_roi("EllipseROI", 1500, 1900, 1900, 2100))
    points = shapely.get_coordinates(ellipse)
    assert np.round(points[:3], 2).tolist() == [[1900, 2000], [1899.61, 2006.28], [1898.42, 2012.53]]
    assert ellipse.area == pytest.approx(np.pi * 200 * 100, rel=1e-3)


def test_a_roi_of_an_unknown_type_is_noted(tmp_path: Path) -> None:
    roi = Java(f"{write.ROI}GeometryROI$SerializationProxy", [("L", "geometry", None)])
    notes = read_qpdata(write_data_file(tmp_path, [QupathObject(roi, UDH)])).notes
    assert only_note(notes, "object 1: qupath.lib.roi.Geom")


# ---------------------------------------------------------------- damaged ROIs


def test_arrays_that_are_referred_to_too_often_are_refused(tmp_path: Path) -> None:
    """The file has 60 KB and stands for 500 million points."""
    many = write.points_roi("PolygonROI", np.tile(RING, (12_500, 1))[:50_000])
    x, y = (value for kind, _, value in many.fields if kind == "[F")
    rings_of = {name: Array("[[F", [value] * 10_000) for name, value in (("x", x), ("y", y))}
    roi = Java(f"{write.ROI}AreaROI$SerializationProxy", [("[[F", name, rings_of[name]) for name in "xy"])
    with pytest.raises(AnnotationError, match=r"slide\.qpdata, byte \d+: "):
        read_qpdata(write_data_file(tmp_path, [QupathObject(roi)]))


def _polygon_with(field: str, value: Any) -> Callable[[], Java]:
    def roi() -> Java:
        polygon = write.points_roi("PolygonROI", RING)
        polygon.fields = [(kind, name, value if name == field else old) for kind, name, old in polygon.fields]
        return polygon

    return roi


WKB = shapely.to_wkb(Polygon(RING), byte_order=0)


@pytest.mark.parametrize(
    ("roi", "keyword"),
    [
        (_polygon_with("x", None), "coordinates"),
        (_polygon_with("x", Array("[F", [1.0])), "coordinates"),
        (_polygon_with("x", Array("[F", [1, 2, 3, np.nan])), "point 4 "),
        (_polygon_with("y", Array("[F", [1, 2, np.inf, 4])), "point 3 "),
        (lambda: write.geometry_roi(WKB[:30]), " bytes "),
        (lambda: write.geometry_roi(b""), " bytes "),
        (lambda: write.geometry_roi(b"\x02" + WKB[1:]), "byte order"),
        (lambda: write.geometry_roi(WKB[:4] + b"\x11" + WKB[5:]), " 17"),
        (lambda: write.geometry_roi(WKB[:5] + b"\xff" * 4 + WKB[9:]), " bytes "),
        (lambda: write.geometry_roi(WKB[:9] + b"\xff" * 4 + WKB[13:]), " bytes "),
        (lambda: write.geometry_roi((b"\x00" + struct.pack(">II", 7, 1)) * 100_000), " bytes "),
        (lambda: write.corners_roi("RectangleROI", 0, float("nan"), 1, 1), "point 1 "),
        (lambda: write.area_roi([RING, [[0, 0], [1, 1], [1e30, 0]]]), "point 3 "),
        (lambda: Java(f"{write.ROI}EllipseROI$SerializationProxy"), "corners"),
        (lambda: Java(f"{write.ROI}AreaROI$SerializationProxy"), "coordinates"),
        (lambda: Java(f"{write.ROI}GeometryROI$WKBSerializationProxy"), "geometry"),
    ],
)
def test_damaged_rois_are_refused_with_their_byte(
    tmp_path: Path, roi: Callable[[], Java], keyword: str
) -> None:
    with pytest.raises(AnnotationError, match=rf"slide\.qpdata, byte \d+: .*{keyword}"):
        read_qpdata(write_data_file(tmp_path, [QupathObject(roi())]))
