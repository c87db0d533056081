"""Data files that are broken, or made to do harm, are refused with their place."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import Polygon

from histoscout.annotations.qpdata.reader import read_qpdata
from histoscout.errors import AnnotationError
from tests.annotations import qpdata_writer as write
from tests.annotations.java_writer import Array, Java
from tests.annotations.qpdata_seeds import RING, rich_file
from tests.annotations.qpdata_writer import Drawn, Saved, saved

UDH = write.path_class("UDH", -3670016)


@pytest.mark.parametrize("number", ["0", "5", "99", "x", ""])
def test_other_versions_are_refused(tmp_path: Path, number: str) -> None:
    with pytest.raises(AnnotationError, match=r"slide\.qpdata: is (of the unknown version|a Java file)"):
        read_qpdata(saved(tmp_path, data_version=number))


def test_a_file_without_its_end_is_read_and_told(tmp_path: Path) -> None:
    drawn = [Drawn(write.points_roi("PolygonROI", RING), UDH)]
    whole = bytes(Saved(drawn, end=True))
    path = tmp_path / "slide.qpdata"
    path.write_bytes(bytes(Saved(drawn, end=False)))
    assert read_qpdata(path).notes == ("the file ends without QuPath's end mark; all its outlines were read",)
    path.write_bytes(whole[:-20])
    (note,) = read_qpdata(path).notes
    assert note.startswith("the file is damaged after its outlines, which were read (")
    assert "slide.qpdata, byte" in note


def test_a_file_that_ends_before_its_objects_is_refused(tmp_path: Path) -> None:
    whole = rich_file("0.5")
    path = tmp_path / "slide.qpdata"
    for length in range(0, whole.index(b"EOF") - 200, 37):
        path.write_bytes(whole[:length])
        with pytest.raises(AnnotationError, match=r"slide\.qpdata"):
            read_qpdata(path)


def test_objects_nested_too_deep_are_refused(tmp_path: Path) -> None:
    def nested(depth: int) -> Drawn:
        return Drawn(write.points_roi("PolygonROI", RING), children=[nested(depth - 1)] if depth else [])

    with pytest.raises(AnnotationError, match=r"slide\.qpdata, byte .*nested more than 150 deep"):
        read_qpdata(saved(tmp_path, [nested(200)]))


def test_an_object_within_itself_is_refused(tmp_path: Path) -> None:
    drawn = Drawn(write.points_roi("PolygonROI", RING))
    java = drawn.written("0.3")
    assert java.content is not None
    number_of_children = java.content.index(struct.pack(">i", 0))
    java.content[number_of_children : number_of_children + 1] = [struct.pack(">i", 1), java]
    with pytest.raises(
        AnnotationError, match=r"slide\.qpdata, byte .*holds an object twice, or within itself"
    ):
        read_qpdata(saved(tmp_path, [drawn], version="0.3"))


def test_an_object_that_is_held_twice_is_refused(tmp_path: Path) -> None:
    drawn = Drawn(write.points_roi("PolygonROI", RING))
    with pytest.raises(
        AnnotationError, match=r"slide\.qpdata, byte .*holds an object twice, or within itself"
    ):
        read_qpdata(saved(tmp_path, [drawn, drawn]))


def test_a_class_derived_from_itself_is_refused(tmp_path: Path) -> None:
    endless = write.path_class("A")
    endless.fields = [*endless.fields[:2], (*endless.fields[2][:2], endless)]
    with pytest.raises(AnnotationError, match="class whose name does not end"):
        read_qpdata(saved(tmp_path, [Drawn(write.points_roi("PolygonROI", RING), endless)]))


def test_numbers_referred_to_again_and_again_are_refused(tmp_path: Path) -> None:
    """A file of 60 KB that stands for 500 million points."""
    many = write.points_roi("PolygonROI", np.tile(RING, (12_500, 1))[:50_000])
    x, y = (value for kind, _, value in many.fields if kind == "[F")
    rings_of = {name: Array("[[F", [value] * 10_000) for name, value in (("x", x), ("y", y))}
    roi = Java(f"{write.ROI}AreaROI$SerializationProxy", [("[[F", name, rings_of[name]) for name in "xy"])
    with pytest.raises(AnnotationError, match="same numbers again and again"):
        read_qpdata(saved(tmp_path, [Drawn(roi)]))


def _with(field: str, value: Any) -> Callable[[], Java]:
    def made() -> Java:
        roi = write.points_roi("PolygonROI", RING)
        roi.fields = [(kind, name, value if name == field else old) for kind, name, old in roi.fields]
        return roi

    return made


WKB = shapely.to_wkb(Polygon(RING), byte_order=0)


@pytest.mark.parametrize(
    ("roi", "said"),
    [
        (_with("x", None), "without coordinates"),
        (_with("x", Array("[F", [1.0])), "coordinates are missing"),
        (_with("x", Array("[F", [1, 2, 3, np.nan])), "point 4 .* where no slide is"),
        (_with("y", Array("[F", [1, 2, np.inf, 4])), "point 3 .* where no slide is"),
        (lambda: write.geometry_roi(WKB[:30]), "cut short"),
        (lambda: write.geometry_roi(b""), "cut short"),
        (lambda: write.geometry_roi(b"\x02" + WKB[1:]), "order of its bytes"),
        (lambda: write.geometry_roi(WKB[:4] + b"\x11" + WKB[5:]), "unknown kind 17"),
        (lambda: write.geometry_roi(WKB[:5] + b"\xff" * 4 + WKB[9:]), "cut short"),
        (lambda: write.geometry_roi(WKB[:9] + b"\xff" * 4 + WKB[13:]), "cut short"),
        (lambda: write.geometry_roi((b"\x00" + struct.pack(">II", 7, 1)) * 100_000), "cut short"),
        (lambda: write.corners_roi("RectangleROI", 0, float("nan"), 1, 1), "where no slide is"),
        (lambda: write.area_roi([RING, [[0, 0], [1, 1], [1e30, 0]]]), "where no slide is"),
        (lambda: Java(f"{write.ROI}EllipseROI$SerializationProxy"), "without its corners"),
        (lambda: Java(f"{write.ROI}AreaROI$SerializationProxy"), "without coordinates"),
        (lambda: Java(f"{write.ROI}GeometryROI$WKBSerializationProxy"), "without its geometry"),
    ],
)
def test_broken_outlines_are_refused_with_their_place(
    tmp_path: Path, roi: Callable[[], Java], said: str
) -> None:
    with pytest.raises(AnnotationError, match=rf"slide\.qpdata, byte \d+: .*{said}"):
        read_qpdata(saved(tmp_path, [Drawn(roi())]))


def test_other_java_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.qpdata"
    path.write_bytes(bytes(Saved())[:4] + b"\x70")
    with pytest.raises(AnnotationError, match="not one of QuPath's data files"):
        read_qpdata(path)


@pytest.mark.parametrize("text", ["{", '{"server": ' + "[" * 100_000, '{"server": 1' + "0" * 5000 + "}"])
def test_a_text_about_the_image_that_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    path = saved(tmp_path, server="@")
    whole = path.read_bytes()
    said = json.dumps({"dataVersion": 3, "qupathVersion": "0.5.0", "server": "@"}).encode()
    start = whole.index(said) - 3
    path.write_bytes(
        whole[:start]
        + b"\x7c"
        + struct.pack(">Q", len(text))
        + text.encode()
        + whole[start + 3 + len(said) :]
    )
    with pytest.raises(AnnotationError, match="is not valid JSON"):
        read_qpdata(path)
