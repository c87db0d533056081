"""QuPath's properties: class, color, measurements, score, plane and id of an annotation."""

import json
import math
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.annotations.qupath_properties import class_color
from histoscout.annotations.read import Annotations
from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Region, Regions
from tests.annotations.geojson_files import HOLED, SQUARE, feature, read_content
from tests.annotations.notes import only_note

Reader = Callable[[Any], Annotations]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Reads JSON, or text that only looks like it, after writing it to a file."""
    return partial(read_content, tmp_path)


@given(st.text())
def test_every_label_has_one_visible_color(label: str) -> None:
    color = class_color(label)
    assert color == class_color(label)
    assert all(0 <= part <= 255 for part in color)
    # never white on white
    assert min(color) < 200


def test_no_class_is_gray() -> None:
    assert class_color("") == class_color("  ") == (128, 128, 128)


@pytest.mark.parametrize(
    ("classification", "label"),
    [
        ({"name": "UDH", "color": [1, 2, 3]}, "UDH"),
        ({"name": "UDH", "colorRGB": -3670016}, "UDH"),
        ({"names": ["Tumor", "Positive"], "color": [1, 2, 3]}, "Tumor: Positive"),
        ({"name": "Tumor: Positive"}, "Tumor: Positive"),
        (
            {"parentClass": {"name": "Tumor", "colorRGB": 1}, "name": "Invasive", "colorRGB": 2},
            "Tumor: Invasive",
        ),
        ("UDH", "UDH"),
        (None, ""),
        ({}, ""),
        ({"name": None}, ""),
    ],
)
def test_the_label_is_the_full_name_of_the_class(read: Reader, classification: object, label: str) -> None:
    (region,) = read(feature(classification=classification)).regions
    assert region.label == label


@pytest.mark.parametrize("color", [{"color": [200, 0, 0]}, {"colorRGB": -3670016}])
def test_the_color_of_a_class_is_kept_and_written(
    tmp_path: Path, read: Reader, color: dict[str, Any]
) -> None:
    annotations = read(feature(classification={"name": "UDH", **color}))
    write_geojson(annotations.regions, tmp_path / "out.geojson")
    written = json.loads((tmp_path / "out.geojson").read_text())["features"][0]
    assert written["properties"]["classification"] == {"name": "UDH", "color": [200, 0, 0]}


def test_a_class_without_a_color_gets_the_color_of_its_name(tmp_path: Path) -> None:
    write_geojson(Regions.of([Region(Polygon(SQUARE[0]), "UDH")]), tmp_path / "out.geojson")
    written = json.loads((tmp_path / "out.geojson").read_text())["features"][0]
    assert written["properties"]["classification"] == {"name": "UDH", "color": list(class_color("UDH"))}
    assert class_color("UDH") != class_color("Benign")


@pytest.mark.parametrize(
    "measurements",
    [
        {"Area": 12.5, "Count": 3, "Missing": "NaN"},
        [{"name": "Area", "value": 12.5}, {"name": "Count", "value": 3}, {"name": "Missing", "value": "NaN"}],
    ],
)
def test_measurements_are_read_from_a_map_and_from_a_list(read: Reader, measurements: object) -> None:
    annotations = read(feature(measurements=measurements, classification="UDH"))
    assert annotations.regions[0].properties["measurements"] == {"Area": 12.5, "Count": 3}
    assert annotations.notes == ()


def test_measurements_that_are_not_numbers_are_noted(read: Reader) -> None:
    annotations = read(feature(measurements={"Area": "large", "Count": 3}, classification="UDH"))
    assert annotations.regions[0].properties["measurements"] == {"Count": 3}
    assert only_note(annotations.notes, "measurements", "feature 1")


def test_a_bare_nan_is_a_missing_measurement(read: Reader) -> None:
    annotations = read(
        json.dumps(feature(measurements={"Area": math.nan, "Length": math.inf}, classification="UDH"))
    )
    assert (annotations.regions[0].properties, annotations.notes) == ({}, ())


def test_a_probability_of_another_program_is_not_a_score(read: Reader) -> None:
    (region,) = read(feature(measurements={"Probability": 0.875})).regions
    assert region.score is None


def test_a_score_above_1_is_left_out_and_noted(read: Reader) -> None:
    annotations = read(feature(measurements={"histoscout score": 7}, classification="UDH"))
    assert annotations.regions[0].score is None
    assert only_note(annotations.notes, "score", "feature 1")


def test_numbers_that_json_cannot_hold_are_written_as_text(tmp_path: Path) -> None:
    properties = {"measurements": {"a": math.nan, "b": 1.0}, "note": [math.inf, {"deep": -math.inf}]}
    write_geojson(
        Regions.of([Region(Polygon(SQUARE[0]), "UDH", properties=properties)]), tmp_path / "o.geojson"
    )
    (region,) = read_geojson(tmp_path / "o.geojson").regions
    assert region.properties == {"measurements": {"b": 1.0}, "note": ["inf", {"deep": "-inf"}]}


def test_the_plane_of_a_stack_is_kept_and_noted(tmp_path: Path, read: Reader) -> None:
    in_stack = feature(classification="UDH")
    in_stack["geometry"]["plane"] = {"c": -1, "z": 2, "t": 1}
    annotations = read(in_stack)
    assert only_note(annotations.notes, "plane", "feature 1")
    write_geojson(annotations.regions, tmp_path / "out.geojson")
    written = json.loads((tmp_path / "out.geojson").read_text())["features"][0]
    assert written["geometry"]["plane"] == {"c": -1, "z": 2, "t": 1}


# ---------------------------------------------------------------- ids


def test_an_annotation_without_an_id_gets_the_same_one_each_time(read: Reader) -> None:
    first, second = (read([feature(), feature(HOLED)]).regions for _ in range(2))
    assert [region.id for region in first] == [region.id for region in second]
    assert len({region.id for region in first}) == 2


def test_before_version_04_the_id_was_the_type(read: Reader) -> None:
    (region,) = read({**feature(), "id": "PathDetectionObject"}).regions
    uuid.UUID(region.id)
    assert region.properties == {"objectType": "detection"}


def test_repeated_ids_are_kept_and_noted(read: Reader) -> None:
    annotations = read([{**feature(classification="UDH"), "id": "x"}] * 2)
    assert [region.id for region in annotations.regions] == ["x", "x"]
    assert only_note(annotations.notes, "id", "(x)")


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    "classification", [7, [1], {"name": 7}, {"names": [1]}, {"name": "a", "parentClass": 3}]
)
def test_an_invalid_classification_is_refused(read: Reader, classification: object) -> None:
    with pytest.raises(AnnotationError, match=r"slide\.geojson, feature 1: .*classification"):
        read(feature(classification=classification))
