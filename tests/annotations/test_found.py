"""Found regions are no annotations until somebody confirms them; classes in other properties."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

from histoscout.annotations.class_property import with_class_property
from histoscout.annotations.found import is_unconfirmed, leave_out_found, mark_found, overlap_note, read_found
from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.annotations.masks import read_mask
from histoscout.annotations.read import read_annotations
from histoscout.annotations.write import MaskCanvas, write_annotations
from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.case import Case
from histoscout.conversion import ConvertOptions, convert
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe_sections import ClassConfig
from tests.annotations.notes import note_with

DETECTED = Regions.of(
    [
        Region(shapely.box(0, 0, 10, 10), "UDH", 0.61, id="a", properties={"metadata": {"model": "m"}}),
        Region(shapely.box(50, 0, 60, 10), "UDH", 0.92, id="b", properties={"metadata": {"model": "m"}}),
    ]
)
DRAWN = Region(shapely.box(0, 0, 10, 9), "UDH", id="c")


def test_found_regions_have_a_derived_class_and_a_name() -> None:
    marked = mark_found(DETECTED)
    assert marked.labels == ["UDH: found"]
    assert [region.properties["name"] for region in marked] == ["UDH .61 no. 2", "UDH .92 no. 1"]
    assert [region.outline for region in marked] == [region.outline for region in DETECTED]


@pytest.mark.parametrize("version", ["this", "earlier"])
def test_found_regions_are_left_out_of_annotations(tmp_path: Path, version: str) -> None:
    path = tmp_path / "a.geojson"
    found = mark_found(DETECTED) if version == "this" else DETECTED
    write_geojson(Regions.of([*found, DRAWN]), path)
    case = Case(Path("a.svs"), path)
    annotations = labeled_regions(case, ClassConfig())
    assert [region.id for region in annotations.regions] == ["c"]
    assert note_with(annotations.notes, "--keep-found")
    kept = labeled_regions(replace(case, keep_found=True), ClassConfig())
    assert kept.regions.labels == ["UDH"]
    assert len(kept.regions) == 3
    assert note_with(kept.notes, "drawn twice")
    # and they stay readable as detections
    assert read_found(path).labels == ["UDH"]


def test_a_region_of_a_class_that_a_person_gave_counts() -> None:
    confirmed, other = (replace(region, label="UDH") for region in mark_found(DETECTED))
    kept, notes = leave_out_found(
        Regions.of([confirmed, *mark_found(DETECTED)[1:], replace(other, label="ADH", id="d")])
    )
    assert [(region.id, region.label) for region in kept] == [(confirmed.id, "UDH"), ("d", "ADH")]
    assert len(notes) == 1


def test_marks_survive_a_file(tmp_path: Path) -> None:
    write_geojson(mark_found(DETECTED), tmp_path / "a.geojson")
    regions = read_geojson(tmp_path / "a.geojson").regions
    assert regions == mark_found(DETECTED)
    assert all(map(is_unconfirmed, regions))


def test_conversion_leaves_found_regions_out(tmp_path: Path) -> None:
    write_geojson(Regions.of([*mark_found(DETECTED), DRAWN]), tmp_path / "a.geojson")
    (result,) = convert(tmp_path / "a.geojson", tmp_path / "a.xml")
    assert result.regions == 1
    (result,) = convert(tmp_path / "a.geojson", tmp_path / "b.xml", ConvertOptions(keep_found=True))
    assert result.regions == 3
    assert read_annotations(tmp_path / "b.xml").regions.labels == ["UDH"]


def test_annotations_of_other_classes_or_less_overlap_are_not_listed() -> None:
    box = shapely.box(0, 0, 10, 10)
    apart = Regions.of([Region(box, "UDH"), Region(box, "ADH"), Region(shapely.box(6, 0, 16, 10), "UDH")])
    assert overlap_note(apart) == []
    assert overlap_note(Regions.of([Region(box, "UDH"), Region(shapely.box(5, 0, 15, 10), "UDH")]))


# ---------------------------------------------------------------- classes in other properties


def _file(path: Path, *properties: dict[str, object]) -> Path:
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[n, 0], [n + 1, 0], [n + 1, 1], [n, 1], [n, 0]]],
            },
            "properties": each,
        }
        for n, each in enumerate(properties)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.mark.parametrize(
    ("properties", "name", "label"),
    [
        ({"type_str": "neoplastic", "type_int": 1}, "type_str", "neoplastic"),
        ({"label": {"value": "UDH"}}, "label.value", "UDH"),
        ({"type": "UDH", "id_in_tool": "f3"}, "type", "UDH"),
        ({"class": 3}, "class", "3"),
        ({"metadata": {"Category": "UDH"}}, "Category", "UDH"),
    ],
)
def test_a_property_with_the_class_is_named_and_can_be_chosen(
    tmp_path: Path, properties: dict[str, object], name: str, label: str
) -> None:
    path = _file(tmp_path / "a.geojson", properties)
    annotations = read_annotations(path)
    assert annotations.regions.labels == [""]
    assert f"--class-property {name}" in note_with(annotations.notes, "another property")
    assert read_annotations(path, class_property=name).regions.labels == [label]
    for case, classes in [
        (Case(Path("a.svs"), path, class_property=name), ClassConfig()),
        (Case(Path("a.svs"), path), ClassConfig(class_property=name)),
    ]:
        assert labeled_regions(case, classes).regions.labels == [label]


def test_a_property_called_a_class_is_named_however_few_regions_have_it(tmp_path: Path) -> None:
    each: list[dict[str, object]] = [
        {"type_str": "a"},
        {"label": {"value": "UDH"}},
        {"type": "UDH", "prob": 0.9},
        {"class": "UDH"},
        {},
    ]
    notes = read_annotations(_file(tmp_path / "a.geojson", *each)).notes
    note = note_with(notes, "another property")
    assert all(f"{name} (" in note for name in ("class", "type", "type_str"))


def test_regions_without_the_property_keep_their_class(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.geojson", {"type": "ADH"}, {"classification": {"name": "UDH"}})
    annotations = with_class_property(read_annotations(path), "type")
    assert [region.label for region in annotations.regions] == ["ADH", "UDH"]
    assert note_with(annotations.notes, "without the property type")


# ---------------------------------------------------------------- masks of a single value


@pytest.mark.parametrize(
    ("labels", "expected"),
    [({}, "255"), ({1: "UDH"}, "UDH"), ({255: "ADH"}, "ADH"), ({1: "UDH", 2: "ADH"}, "ignore")],
)
def test_the_only_value_of_a_mask_is_its_class(tmp_path: Path, labels: dict[int, str], expected: str) -> None:
    values = np.zeros((9, 9), np.uint8)
    values[2:5, 2:5] = 255
    Image.fromarray(values).save(tmp_path / "a.png")
    annotations = read_mask(tmp_path / "a.png", labels)
    assert annotations.regions.labels == [expected]
    assert any("255" in note for note in annotations.notes) == (255 not in labels)


def test_ignored_areas_of_a_mask_that_histoscout_wrote_stay_ignored(tmp_path: Path) -> None:
    write_annotations(
        Regions.of([Region(shapely.box(1, 1, 5, 5), "ignore")]),
        tmp_path / "a.png",
        MaskCanvas(width=9, height=9),
    )
    assert read_annotations(tmp_path / "a.png").regions.labels == ["ignore"]
