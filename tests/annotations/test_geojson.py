"""GeoJSON: what is written is read, what QuPath writes is read, and what is invalid is refused."""

import gzip
import json
import math
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from shapely.geometry import MultiPolygon, Polygon

from histoscout.annotations.geojson import DETECTIONS_FROM, read_geojson, write_geojson
from histoscout.annotations.read import Annotations
from histoscout.errors import AnnotationError, OutputError
from histoscout.geometry.regions import Region, Regions
from tests.annotations.geojson_files import BOW_TIE, HOLED, SQUARE, feature, read_content
from tests.annotations.notes import note_with, only_note
from tests.strategies import region_lists

Reader = Callable[[Any], Annotations]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Reads JSON, or text that only looks like it, after writing it to a file."""
    return partial(read_content, tmp_path)


# ---------------------------------------------------------------- round trip


@given(region_lists())
@settings(max_examples=100)
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, regions: Regions) -> None:
    path = tmp_path_factory.mktemp("law") / "slide.geojson"
    write_geojson(regions, path)
    assert read_geojson(path).regions == regions


@given(region_lists())
def test_what_is_written_is_what_qupath_reads(
    tmp_path_factory: pytest.TempPathFactory, regions: Regions
) -> None:
    """The rules of QuPath's reader: whatever breaks one of them makes it refuse the whole file."""
    path = tmp_path_factory.mktemp("law") / "slide.geojson"
    write_geojson(regions, path)
    content = json.loads(path.read_text(encoding="ascii"), parse_constant=pytest.fail)
    assert content["type"] == "FeatureCollection"
    assert len(content["features"]) == len(regions)
    for written in content["features"]:
        uuid.UUID(written["id"])
        assert shapely.from_geojson(json.dumps(written["geometry"])).is_valid
        properties = written["properties"]
        assert properties["objectType"] in {"annotation", "detection", "tile", "cell", "tmaCore"}
        assert isinstance(properties.get("name", ""), str)
        assert all(type(part) is int for part in properties.get("color", []))
        assert len(properties.get("color", [0, 0, 0])) == 3
        assert properties.get("isLocked", True) is True
        measured = properties.get("measurements", {"one": 1.0})
        assert measured
        assert all(type(value) in (int, float) for value in measured.values())
        assert all(isinstance(value, str) for value in properties.get("metadata", {}).values())
        assert not {"childObjects", "children", "object_type"} & set(properties)
        if "classification" in properties:
            name = properties["classification"]["name"]
            assert name == name.strip() != ""
            assert len(name.splitlines()) == 1
            assert all(0 <= part <= 255 for part in properties["classification"]["color"])


def test_a_gzipped_file_is_the_same_and_does_not_change(tmp_path: Path) -> None:
    regions = Regions.of([Region(Polygon(SQUARE[0]), "UDH", 0.25, id="a")])
    plain, packed, again = (tmp_path / name for name in ("a.geojson", "a.geojson.gz", "b.geojson.gz"))
    for path in (plain, packed, again):
        write_geojson(regions, path)
    assert read_geojson(packed).regions == read_geojson(plain).regions == regions
    assert packed.read_bytes() == again.read_bytes()
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()


def test_many_regions_are_detections_and_come_back_as_they_were(tmp_path: Path) -> None:
    regions = Regions.of(
        [Region(shapely.box(i, 0, i + 1, 1), "UDH", id=str(uuid.UUID(int=i))) for i in range(DETECTIONS_FROM)]
    )
    path = tmp_path / "many.geojson"
    write_geojson(regions, path)
    content = json.loads(path.read_text())
    assert {f["properties"]["objectType"] for f in content["features"]} == {"detection"}
    assert read_geojson(path).regions == regions


# ---------------------------------------------------------------- shapes of files


@pytest.mark.parametrize(
    "content",
    [
        {"type": "FeatureCollection", "features": [feature()]},
        {"features": [feature()]},
        [feature()],
        feature(),
        {"type": "Polygon", "coordinates": SQUARE},
        [{"type": "Polygon", "coordinates": SQUARE}],
        {"type": "MultiPolygon", "coordinates": [SQUARE]},
        {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": SQUARE}]},
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": SQUARE}},
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": SQUARE}, "properties": None},
    ],
)
def test_every_way_to_store_one_polygon_is_read(read: Reader, content: Any) -> None:
    (region,) = read(content).regions
    assert region.outline.area == 100
    assert region.label == ""


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(feature(classification={"name": "naïve"})).encode())
    assert read_geojson(path).regions.labels == ["naïve"]


def test_holes_are_left_out_of_the_area(read: Reader) -> None:
    (region,) = read(feature(HOLED)).regions
    assert region.outline.area == 81 - 9


def test_nested_objects_follow_their_parent(read: Reader) -> None:
    grandchild = feature(classification={"name": "c"})
    children = [feature(classification={"name": "b"}, childObjects=[grandchild]), feature(classification="d")]
    annotations = read(
        [feature(classification={"name": "a"}, childObjects=children), feature(classification="e")]
    )
    assert [region.label for region in annotations.regions] == ["a", "b", "c", "d", "e"]
    assert all("childObjects" not in region.properties for region in annotations.regions)


def test_a_repeated_key_is_refused_unless_the_values_are_equal(read: Reader) -> None:
    with pytest.raises(AnnotationError, match=r"slide\.geojson: .*'coordinates'"):
        read('{"type": "Polygon", "coordinates": [], "coordinates": [[[0, 0], [1, 0], [1, 1]]]}')
    twice = '"coordinates": [[[0, 0], [1, 0], [1, 1]]]'
    assert len(read(f'{{"type": "Polygon", {twice}, {twice}}}').regions) == 1


def test_a_long_text_among_many_numbers_takes_no_memory(read: Reader) -> None:
    """As an array of texts, each as long as the longest, these points would take 80 GB."""
    ring = [[i % 1000, i // 1000] for i in range(100_000)]
    with pytest.raises(AnnotationError, match="point 100001 "):
        read(feature([[*ring, ["x" * 100_000, 0]]]))


def test_a_ring_of_many_points_is_read_and_a_scribble_is_noted(read: Reader) -> None:
    angles = [2 * math.pi * i / 200_000 for i in range(200_000)]
    circle = [[5e4 + 4e4 * math.cos(angle), 5e4 + 4e4 * math.sin(angle)] for angle in angles]
    assert read(feature([circle])).regions[0].outline.area == pytest.approx(math.pi * 16e8, rel=1e-6)
    scribble = [[i * 7919 % 10_007, i * 104_729 % 9_973] for i in range(5_000)]
    annotations = read(feature([scribble]))
    assert len(annotations.regions) == 0
    assert only_note(annotations.notes, "too often")


def test_ten_thousand_nested_objects_are_refused(read: Reader) -> None:
    inner = '{"type": "Feature", "geometry": null, "properties": {"childObjects": ['
    with pytest.raises(AnnotationError, match=r"slide\.geojson: "):
        read(inner * 10_000 + "]}}" * 10_000)


def test_an_empty_collection_is_read_and_noted(read: Reader) -> None:
    annotations = read({"type": "FeatureCollection", "features": []})
    assert len(annotations.regions) == 0
    assert len(annotations.notes) == 1


# ---------------------------------------------------------------- repaired and left out


def test_a_self_crossing_polygon_is_repaired_and_noted(read: Reader) -> None:
    annotations = read({**feature(BOW_TIE, classification="UDH"), "id": "tie"})
    assert annotations.regions[0].outline.is_valid
    assert annotations.regions[0].outline.area == 8
    assert only_note(annotations.notes, "repaired", "feature 1, id tie")


def test_overlapping_parts_are_joined(read: Reader) -> None:
    shifted = [[[x + 5, y] for x, y in SQUARE[0]]]
    annotations = read(feature([SQUARE, shifted], "MultiPolygon", classification="UDH"))
    assert annotations.regions[0].outline.area == 150


def test_an_open_ring_is_closed(read: Reader) -> None:
    annotations = read(feature([SQUARE[0][:-1]], classification="UDH"))
    assert (annotations.regions[0].outline.area, annotations.notes) == (100, ())


def test_heights_are_left_out(read: Reader) -> None:
    (region,) = read(feature([[[x, y, 7] for x, y in SQUARE[0]]])).regions
    assert region.outline == Polygon(SQUARE[0])


@pytest.mark.parametrize(
    "coordinates",
    [[], [[]], [[[0, 0]]], [[[0, 0], [1, 1]]], [[[0, 0], [1, 1], [2, 2], [0, 0]]], [[[5, 5]] * 4]],
)
def test_polygons_without_area_are_left_out_and_noted(read: Reader, coordinates: object) -> None:
    annotations = read([feature(coordinates), feature(classification="UDH")])
    assert len(annotations.regions) == 1
    assert only_note(annotations.notes, "no area", "feature 1")


@pytest.mark.parametrize(
    ("kind", "coordinates"),
    [("Point", [1, 2]), ("MultiPoint", [[1, 2], [3, 4]]), ("LineString", [[0, 0], [1, 1]])],
)
def test_points_and_lines_are_left_out_and_noted(read: Reader, kind: str, coordinates: object) -> None:
    annotations = read([feature(classification="UDH"), feature(coordinates, kind)])
    assert len(annotations.regions) == 1
    assert only_note(annotations.notes, "no area", f"feature 2: {kind}")


def test_a_collection_keeps_its_polygons_and_notes_its_lines(read: Reader) -> None:
    line = {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}
    inner = {"type": "GeometryCollection", "geometries": [line, {"type": "Polygon", "coordinates": HOLED}]}
    far = {"type": "Polygon", "coordinates": [[[20, 0], [30, 0], [30, 10]]]}
    annotations = read({"type": "GeometryCollection", "geometries": [inner, far]})
    assert isinstance(annotations.regions[0].outline, MultiPolygon)
    assert annotations.regions[0].outline.area == 72 + 50
    assert note_with(annotations.notes, "no area", "feature 1: LineString")


def test_annotations_without_a_class_are_noted(read: Reader) -> None:
    assert only_note(read([feature(), feature(HOLED)]).notes, "class", "2 (feature 1, feature 2)")


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("point", "keyword"),
    [
        ('["a", 1]', "point 2 is ['a', 1]"),
        ('["1", "2"]', "point 2 is ['1', '2']"),
        ("[NaN, 1]", "point 2 "),
        ("[1, Infinity]", "point 2 "),
        ("[1e999, 1]", "point 2 "),
        ("[1e300, 1]", "point 2 "),
        ("[1" + "0" * 400 + ", 1]", "point 2 is"),
        ("[null, 1]", "point 2 is [None, 1]"),
        ("[1]", "point 2 is [1]"),
        ("[]", "point 2 is []"),
        ("7", "point 2 is 7"),
        ('{"x": 1}', "point 2 is {'x': 1}"),
        ("[[1, 2], [3, 4]]", "point 2 is"),
    ],
)
def test_a_bad_coordinate_is_refused_with_its_place(read: Reader, point: str, keyword: str) -> None:
    ring = f"[[0, 0], {point}, [10, 10], [0, 10], [0, 0]]"
    bad = f'{{"type": "Polygon", "coordinates": [{ring}]}}'
    with pytest.raises(AnnotationError, match="feature 2") as caught:
        read(f"[{json.dumps(feature())}, {bad}]")
    assert keyword in caught.value.fault


@pytest.mark.parametrize(
    "content",
    [
        "",
        "   \n",
        "not json",
        '{"type": "FeatureCollection", "features": [',
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" + "1" * 5000 + "]",
        "7",
        '"text"',
        "null",
        "{}",
        '{"type": "Topology"}',
        '{"type": "FeatureCollection"}',
        '{"type": "FeatureCollection", "features": {}}',
        "[7]",
        "[[1, 2]]",
        '[{"type": "Feature", "geometry": 3}]',
        '[{"type": "Feature", "geometry": {"type": "Circle"}}]',
        '[{"type": "Feature", "geometry": {"type": ["Polygon"]}}]',
        '[{"type": "Feature", "geometry": {"type": "Polygon"}}]',
        '[{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": 3}}]',
        '[{"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [3]}}]',
        '[{"type": "Feature", "geometry": {"type": "GeometryCollection", "geometries": 3}}]',
        '[{"type": "Feature", "properties": [1]}]',
        '[{"type": "Feature", "geometry": null, "properties": {"childObjects": [3]}}]',
    ],
)
def test_other_content_than_geojson_is_refused(read: Reader, content: str) -> None:
    with pytest.raises(AnnotationError, match=r"slide\.geojson"):
        read(content)


def test_a_gzipped_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    whole = gzip.compress(json.dumps([feature()] * 100).encode())
    for length in (3, 12, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:length])
        with pytest.raises(AnnotationError, match=r"a\.geojson\.gz: "):
            read_geojson(path)


def test_a_region_without_area_is_not_written(tmp_path: Path) -> None:
    flat = Region(Polygon([(0, 0), (1, 1), (2, 2)]), "UDH", id="flat")
    with pytest.raises(OutputError, match=r"a\.geojson: .*flat"):
        write_geojson(Regions.of([flat]), tmp_path / "a.geojson")
    assert list(tmp_path.iterdir()) == []


def test_a_self_crossing_region_is_repaired_before_it_is_written(tmp_path: Path) -> None:
    write_geojson(Regions.of([Region(Polygon(BOW_TIE[0]), "UDH")]), tmp_path / "a.geojson")
    annotations = read_geojson(tmp_path / "a.geojson")
    assert (annotations.regions[0].outline.area, annotations.notes) == (8, ())


# ---------------------------------------------------------------- real files


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("geojson/dlup_qupath05.geojson", 3),
        ("geojson/histoqc_holed.geojson", 1),
        ("geojson/qupath_polygon.geojson", 1),
        ("glas/annotations/patient_10.geojson", 360),
        ("qupath/versions/qupath-v0.2.3.geojson", 10),
        ("qupath/versions/qupath-v0.4.4.geojson", 10),
        ("qupath/versions/qupath-v0.6.0.geojson", 10),
    ],
)
def test_real_files_are_read_and_come_back(shared_data: Path, tmp_path: Path, name: str, count: int) -> None:
    annotations = read_geojson(shared_data / name)
    assert len(annotations.regions) == count
    write_geojson(annotations.regions, tmp_path / "again.geojson")
    assert read_geojson(tmp_path / "again.geojson").regions == annotations.regions


@pytest.mark.shared
def test_all_versions_of_qupath_agree(shared_data: Path) -> None:
    versions = [
        read_geojson(shared_data / f"qupath/versions/qupath-v{version}.geojson").regions
        for version in ("0.2.3", "0.4.4", "0.6.0")
    ]
    assert versions[0].labels == ["", "Benign duct", "Region*", "Tumor", "Tumor: Invasive", "UDH"]
    for other in versions[1:]:
        assert [region.label for region in other] == [region.label for region in versions[0]]
        for region, other_region in zip(versions[0], other, strict=True):
            assert (
                shapely.symmetric_difference(region.outline, other_region.outline).area
                < 1e-2 * region.outline.area
            )
            for key in ("measurements", "classColor", "isLocked", "objectType", "name", "plane"):
                assert region.properties.get(key) == other_region.properties.get(key)
