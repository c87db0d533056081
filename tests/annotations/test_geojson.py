import gzip
import json
import math
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from shapely.geometry import MultiPolygon, Polygon

from histoscout.annotations.geojson import MANY, read_geojson, write_geojson
from histoscout.annotations.qupath_properties import color_of
from histoscout.annotations.read import Annotations
from histoscout.errors import AnnotationError, OutputError
from histoscout.geometry.regions import Region, Regions
from tests.strategies import region_lists

SQUARE = [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]
HOLED = [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]], [[3, 3], [6, 3], [6, 6], [3, 6], [3, 3]]]
BOW_TIE = [[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]]
Reader = Callable[[Any], Annotations]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """What the reader makes of some JSON (or of text that only looks like it)."""

    def written_and_read(content: Any) -> Annotations:
        path = tmp_path / "slide.geojson"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return read_geojson(path)

    return written_and_read


def feature(coordinates: Any = SQUARE, kind: str = "Polygon", **properties: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


# ---------------------------------------------------------------- the law


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
    regions = Regions.of([Region(Polygon(SQUARE[0]), "UDH", 0.25, "a")])
    plain, packed, again = (tmp_path / name for name in ("a.geojson", "a.geojson.gz", "b.geojson.gz"))
    for path in (plain, packed, again):
        write_geojson(regions, path)
    assert read_geojson(packed).regions == read_geojson(plain).regions == regions
    assert packed.read_bytes() == again.read_bytes()
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()


def test_many_regions_are_detections_and_come_back_as_they_were(tmp_path: Path) -> None:
    regions = Regions.of(
        [Region(shapely.box(i, 0, i + 1, 1), "UDH", id=str(uuid.UUID(int=i))) for i in range(MANY)]
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
def test_every_way_to_say_one_outline(read: Reader, content: Any) -> None:
    (region,) = read(content).regions
    assert region.outline.area == 100
    assert region.label == ""


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(feature(classification={"name": "naïve"})).encode())
    assert read_geojson(path).regions.labels == ["naïve"]


def test_holes_are_left_out_of_the_area(read: Reader) -> None:
    (region,) = read(feature(HOLED)).regions
    assert region.outline.area == 81 - 9


def test_nested_objects_follow_the_object_they_lie_in(read: Reader) -> None:
    grandchild = feature(classification={"name": "c"})
    children = [feature(classification={"name": "b"}, childObjects=[grandchild]), feature(classification="d")]
    found = read([feature(classification={"name": "a"}, childObjects=children), feature(classification="e")])
    assert [region.label for region in found.regions] == ["a", "b", "c", "d", "e"]
    assert all("childObjects" not in region.properties for region in found.regions)


def test_a_key_that_stands_twice_is_refused_unless_both_say_the_same(read: Reader) -> None:
    with pytest.raises(AnnotationError, match="has the key 'coordinates' twice"):
        read('{"type": "Polygon", "coordinates": [], "coordinates": [[[0, 0], [1, 0], [1, 1]]]}')
    twice = '"coordinates": [[[0, 0], [1, 0], [1, 1]]]'
    assert len(read(f'{{"type": "Polygon", {twice}, {twice}}}').regions) == 1


def test_a_long_text_among_a_million_numbers_asks_for_no_memory(read: Reader) -> None:
    """As an array of texts, each as long as the longest, these points would take 80 GB."""
    ring = [[i % 1000, i // 1000] for i in range(100_000)]
    with pytest.raises(AnnotationError, match="point 100001 is"):
        read(feature([[*ring, ["x" * 100_000, 0]]]))


def test_a_ring_of_many_points_is_read_and_a_scribble_is_told(read: Reader) -> None:
    turns = [2 * math.pi * i / 200_000 for i in range(200_000)]
    circle = [[5e4 + 4e4 * math.cos(turn), 5e4 + 4e4 * math.sin(turn)] for turn in turns]
    assert read(feature([circle])).regions[0].outline.area == pytest.approx(math.pi * 16e8, rel=1e-6)
    scribble = [[i * 7919 % 10_007, i * 104_729 % 9_973] for i in range(5_000)]
    found = read(feature([scribble]))
    assert len(found.regions) == 0
    assert "crosses itself too often" in found.notes[0]


def test_ten_thousand_objects_within_one_another_are_refused_or_read_but_never_crash(read: Reader) -> None:
    inner = '{"type": "Feature", "geometry": null, "properties": {"childObjects": ['
    with pytest.raises(AnnotationError, match="nested too deeply"):
        read(inner * 10_000 + "]}}" * 10_000)


def test_an_empty_collection_is_fine_and_said_to_be(read: Reader) -> None:
    found = read({"type": "FeatureCollection", "features": []})
    assert (len(found.regions), found.notes) == (0, ("no outlines in this file",))


# ---------------------------------------------------------------- what QuPath says of an outline


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
def test_the_label_is_the_classs_full_name(read: Reader, classification: object, label: str) -> None:
    (region,) = read(feature(classification=classification)).regions
    assert region.label == label


@pytest.mark.parametrize("colour", [{"color": [200, 0, 0]}, {"colorRGB": -3670016}])
def test_a_classs_own_color_is_kept_and_written(tmp_path: Path, read: Reader, color: dict[str, Any]) -> None:
    found = read(feature(classification={"name": "UDH", **color}))
    write_geojson(found.regions, tmp_path / "out.geojson")
    written = json.loads((tmp_path / "out.geojson").read_text())["features"][0]
    assert written["properties"]["classification"] == {"name": "UDH", "color": [200, 0, 0]}


def test_a_class_without_a_color_gets_its_own(tmp_path: Path) -> None:
    write_geojson(Regions.of([Region(Polygon(SQUARE[0]), "UDH")]), tmp_path / "out.geojson")
    written = json.loads((tmp_path / "out.geojson").read_text())["features"][0]
    assert written["properties"]["classification"] == {"name": "UDH", "color": list(color_of("UDH"))}
    assert color_of("UDH") != color_of("Benign")


@pytest.mark.parametrize(
    "measurements",
    [
        {"Area": 12.5, "Count": 3, "Missing": "NaN"},
        [{"name": "Area", "value": 12.5}, {"name": "Count", "value": 3}, {"name": "Missing", "value": "NaN"}],
    ],
)
def test_measurements_are_read_from_a_map_and_from_a_list(read: Reader, measurements: object) -> None:
    found = read(feature(measurements=measurements, classification="UDH"))
    assert found.regions[0].properties["measurements"] == {"Area": 12.5, "Count": 3}
    assert found.notes == ()


def test_measurements_that_are_no_numbers_are_reported(read: Reader) -> None:
    found = read(feature(measurements={"Area": "large", "Count": 3}, classification="UDH"))
    assert found.regions[0].properties["measurements"] == {"Count": 3}
    assert found.notes == ("outlines with measurements that are no numbers, left out: 1 (feature 1)",)


def test_a_bare_nan_is_a_missing_measurement(read: Reader) -> None:
    found = read(
        json.dumps(feature(measurements={"Area": math.nan, "Length": math.inf}, classification="UDH"))
    )
    assert (found.regions[0].properties, found.notes) == ({}, ())


def test_somebodys_probability_is_not_our_score(read: Reader) -> None:
    (region,) = read(feature(measurements={"Probability": 0.875})).regions
    assert region.score is None


def test_a_score_beyond_reason_is_reported(read: Reader) -> None:
    found = read(feature(measurements={"histoscout score": 7}, classification="UDH"))
    assert found.regions[0].score is None
    assert found.notes == ("outlines with a score outside 0 to 1, left out: 1 (feature 1)",)


def test_numbers_that_json_cannot_say_do_not_spoil_the_file(tmp_path: Path) -> None:
    properties = {"measurements": {"a": math.nan, "b": 1.0}, "note": [math.inf, {"deep": -math.inf}]}
    write_geojson(
        Regions.of([Region(Polygon(SQUARE[0]), "UDH", properties=properties)]), tmp_path / "o.geojson"
    )
    (region,) = read_geojson(tmp_path / "o.geojson").regions
    assert region.properties == {"measurements": {"b": 1.0}, "note": ["inf", {"deep": "-inf"}]}


def test_the_place_in_a_stack_is_kept_and_reported(tmp_path: Path, read: Reader) -> None:
    drawn = feature(classification="UDH")
    drawn["geometry"]["plane"] = {"c": -1, "z": 2, "t": 1}
    found = read(drawn)
    assert found.notes == ("outlines drawn on another plane of a stack than the first: 1 (feature 1)",)
    write_geojson(found.regions, tmp_path / "out.geojson")
    written = json.loads((tmp_path / "out.geojson").read_text())["features"][0]
    assert written["geometry"]["plane"] == {"c": -1, "z": 2, "t": 1}


# ---------------------------------------------------------------- ids


def test_an_outline_without_an_id_gets_the_same_one_each_time(read: Reader) -> None:
    first, second = (read([feature(), feature(HOLED)]).regions for _ in range(2))
    assert [region.id for region in first] == [region.id for region in second]
    assert len({region.id for region in first}) == 2


def test_before_version_04_the_id_was_the_type(read: Reader) -> None:
    (region,) = read({**feature(), "id": "PathDetectionObject"}).regions
    uuid.UUID(region.id)
    assert region.properties == {"objectType": "detection"}


def test_ids_that_occur_twice_are_kept_and_reported(read: Reader) -> None:
    found = read([{**feature(classification="UDH"), "id": "x"}] * 2)
    assert [region.id for region in found.regions] == ["x", "x"]
    assert found.notes == ("ids that occur more than once: 1 (x)",)


# ---------------------------------------------------------------- what must be mended or left out


def test_a_self_crossing_outline_is_mended_and_reported(read: Reader) -> None:
    found = read({**feature(BOW_TIE, classification="UDH"), "id": "tie"})
    assert found.regions[0].outline.is_valid
    assert found.regions[0].outline.area == 8
    assert found.notes == ("outlines that crossed themselves, mended: 1 (feature 1, id tie)",)


def test_overlapping_parts_are_joined_rather_than_cut_out(read: Reader) -> None:
    shifted = [[[x + 5, y] for x, y in SQUARE[0]]]
    found = read(feature([SQUARE, shifted], "MultiPolygon", classification="UDH"))
    assert found.regions[0].outline.area == 150


def test_an_open_ring_is_closed(read: Reader) -> None:
    found = read(feature([SQUARE[0][:-1]], classification="UDH"))
    assert (found.regions[0].outline.area, found.notes) == (100, ())


def test_heights_are_left_out(read: Reader) -> None:
    (region,) = read(feature([[[x, y, 7] for x, y in SQUARE[0]]])).regions
    assert region.outline == Polygon(SQUARE[0])


@pytest.mark.parametrize(
    "coordinates",
    [[], [[]], [[[0, 0]]], [[[0, 0], [1, 1]]], [[[0, 0], [1, 1], [2, 2], [0, 0]]], [[[5, 5]] * 4]],
)
def test_outlines_without_area_are_left_out_and_reported(read: Reader, coordinates: object) -> None:
    found = read([feature(coordinates), feature(classification="UDH")])
    assert len(found.regions) == 1
    assert found.notes == ("objects left out, as their outline encloses no area: 1 (feature 1)",)


@pytest.mark.parametrize(
    ("kind", "coordinates"),
    [("Point", [1, 2]), ("MultiPoint", [[1, 2], [3, 4]]), ("LineString", [[0, 0], [1, 1]])],
)
def test_points_and_lines_are_left_out_and_reported(read: Reader, kind: str, coordinates: object) -> None:
    found = read([feature(classification="UDH"), feature(coordinates, kind)])
    assert len(found.regions) == 1
    assert found.notes == (f"points and lines left out, as they have no area: 1 (feature 2: {kind})",)


def test_a_collection_keeps_its_areas_and_reports_its_lines(read: Reader) -> None:
    line = {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}
    inner = {"type": "GeometryCollection", "geometries": [line, {"type": "Polygon", "coordinates": HOLED}]}
    far = {"type": "Polygon", "coordinates": [[[20, 0], [30, 0], [30, 10]]]}
    found = read({"type": "GeometryCollection", "geometries": [inner, far]})
    assert isinstance(found.regions[0].outline, MultiPolygon)
    assert found.regions[0].outline.area == 72 + 50
    assert "points and lines left out, as they have no area: 1 (feature 1: LineString)" in found.notes


def test_outlines_without_a_class_are_reported(read: Reader) -> None:
    assert read([feature(), feature(HOLED)]).notes == ("unclassified outlines: 2 (feature 1, feature 2)",)


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ('["a", 1]', "point 2 is ['a', 1]"),
        ('["1", "2"]', "point 2 is ['1', '2']"),
        ("[NaN, 1]", "where no slide is"),
        ("[1, Infinity]", "where no slide is"),
        ("[1e999, 1]", "where no slide is"),
        ("[1e300, 1]", "where no slide is"),
        ("[1" + "0" * 400 + ", 1]", "point 2 is"),
        ("[null, 1]", "point 2 is [None, 1]"),
        ("[1]", "point 2 is [1]"),
        ("[]", "point 2 is []"),
        ("7", "point 2 is 7"),
        ('{"x": 1}', "point 2 is {'x': 1}"),
        ("[[1, 2], [3, 4]]", "point 2 is"),
    ],
)
def test_a_bad_coordinate_is_refused_with_its_place(read: Reader, point: str, said: str) -> None:
    ring = f"[[0, 0], {point}, [10, 10], [0, 10], [0, 0]]"
    bad = f'{{"type": "Polygon", "coordinates": [{ring}]}}'
    with pytest.raises(AnnotationError, match="feature 2") as caught:
        read(f"[{json.dumps(feature())}, {bad}]")
    assert said in caught.value.fault


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
def test_what_is_not_geojson_is_refused(read: Reader, content: str) -> None:
    with pytest.raises(AnnotationError, match=r"slide\.geojson"):
        read(content)


@pytest.mark.parametrize(
    "classification", [7, [1], {"name": 7}, {"names": [1]}, {"name": "a", "parentClass": 3}]
)
def test_a_class_that_makes_no_sense_is_refused(read: Reader, classification: object) -> None:
    with pytest.raises(AnnotationError, match="feature 1: its classification"):
        read(feature(classification=classification))


def test_a_gzipped_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    whole = gzip.compress(json.dumps([feature()] * 100).encode())
    for length in (3, 12, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:length])
        with pytest.raises(AnnotationError, match="cut short or damaged"):
            read_geojson(path)


def test_a_region_without_area_is_not_written(tmp_path: Path) -> None:
    flat = Region(Polygon([(0, 0), (1, 1), (2, 2)]), "UDH", id="flat")
    with pytest.raises(OutputError, match="flat has no area"):
        write_geojson(Regions.of([flat]), tmp_path / "a.geojson")
    assert list(tmp_path.iterdir()) == []


def test_a_self_crossing_region_is_mended_before_it_is_written(tmp_path: Path) -> None:
    write_geojson(Regions.of([Region(Polygon(BOW_TIE[0]), "UDH")]), tmp_path / "a.geojson")
    found = read_geojson(tmp_path / "a.geojson")
    assert (found.regions[0].outline.area, found.notes) == (8, ())


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
    found = read_geojson(shared_data / name)
    assert len(found.regions) == count
    write_geojson(found.regions, tmp_path / "again.geojson")
    assert read_geojson(tmp_path / "again.geojson").regions == found.regions


@pytest.mark.shared
def test_all_versions_of_qupath_say_the_same(shared_data: Path) -> None:
    versions = [
        read_geojson(shared_data / f"qupath/versions/qupath-v{version}.geojson").regions
        for version in ("0.2.3", "0.4.4", "0.6.0")
    ]
    assert versions[0].labels == ["", "Benign duct", "Region*", "Tumor", "Tumor: Invasive", "UDH"]
    for other in versions[1:]:
        assert [region.label for region in other] == [region.label for region in versions[0]]
        for mine, theirs in zip(versions[0], other, strict=True):
            assert shapely.symmetric_difference(mine.outline, theirs.outline).area < 1e-2 * mine.outline.area
            for said in ("measurements", "classColor", "isLocked", "objectType", "name", "plane"):
                assert mine.properties.get(said) == theirs.properties.get(said)
