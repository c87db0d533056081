"""QuPath's data files: every version, every kind of outline, what QuPath says of each, and broken ones."""

import gzip
import json
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Point, Polygon, box

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.annotations.image_facts import ImageFacts
from histoscout.annotations.qpdata import read_qpdata, read_qpdata_image, read_whole_qpdata
from histoscout.annotations.qupath_server import read_server
from histoscout.annotations.read import Annotations, read_annotations, read_image_facts
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.raster import mask_of
from histoscout.geometry.regions import Outline, Region
from tests.annotations import qpdata_writer as write
from tests.annotations.java_writer import Array, Java
from tests.annotations.qpdata_seeds import HOLE, RING, SERVER, VERSIONS, rich_file
from tests.annotations.qpdata_writer import Drawn, Saved

every_version = pytest.mark.parametrize("version", VERSIONS)
UDH = write.path_class("UDH", -3670016)


def saved(folder: Path, objects: Sequence[Drawn] = (), **how: Any) -> Path:
    path = folder / "slide.qpdata"
    path.write_bytes(bytes(Saved(objects, **how)))
    return path


def only(found: Annotations) -> Region:
    assert len(found.regions) == 1, found
    return found.regions[0]


def outline(folder: Path, roi: Java, **how: Any) -> Outline:
    return only(read_qpdata(saved(folder, [Drawn(roi, UDH)], **how))).outline


# ---------------------------------------------------------------- what is kept


@every_version
def test_every_version_is_read_alike(tmp_path: Path, version: str) -> None:
    path = tmp_path / "slide.qpdata"
    path.write_bytes(rich_file(version))
    found = read_qpdata(path)
    assert [region.label for region in found.regions] == [
        "Region*",
        "Tumor",
        "Tumor: Invasive",
        "Tumor: Invasive",
        "Tumor",
        "Tumor",
    ]
    child = found.regions[2]
    assert child.score == 0.5
    assert child.properties == {
        "name": "naïve 乳 \N{MICROSCOPE}\0",
        "color": [0, 255, 255],
        "classColor": [18, 52, 86],
        "isLocked": True,
        "measurements": {"Area": 12.5},
        "metadata": {"ANNOTATION_DESCRIPTION": "sure"},
        "classProbability": 0.75,
    }
    assert found.regions[3].outline.equals(Polygon(RING, [HOLE]))
    assert found.regions[4].properties["plane"] == {"c": -1, "z": 2, "t": 1}
    ids = [region.id for region in found.regions]
    if "0.4" <= version <= "0.7":
        assert ids[:3] == [f"00000000-0000-0000-0000-0000000000{number}" for number in ("10", "11", "02")]
    assert read_qpdata(path) == found
    assert len(set(ids)) == (1 if version == "uuid" else 6)


@every_version
def test_what_is_not_read_is_told(tmp_path: Path, version: str) -> None:
    path = tmp_path / "slide.qpdata"
    path.write_bytes(rich_file(version))
    notes = read_qpdata(path).notes
    assert (
        "left out, as only annotations are read: cells (1), detections (1), TMA cores (1), tiles (1)" in notes
    )
    assert (
        "points and lines left out, as they have no area: 3 (object 8: LineString, object 9 'a line': "
        in ("; ".join(notes))
    )
    assert "objects left out, as their outline encloses no area: 1 (object 11 'flat')" in notes
    assert "outlines that crossed themselves, mended: 1 (object 12 'bow tie')" in notes


@every_version
def test_everything_is_read_where_that_is_asked_for(tmp_path: Path, version: str) -> None:
    path = tmp_path / "slide.qpdata"
    path.write_bytes(rich_file(version))
    found = read_annotations(path, everything=True)
    assert found == read_whole_qpdata(path)
    kinds = {region.properties.get("objectType"): region for region in found.regions}
    assert kinds["cell"].properties["measurements"] == {"Nucleus: Area": 42.25}
    assert kinds["tmaCore"].properties["isMissing"] is True
    assert {"tile", "detection"} < set(kinds)
    assert "nuclei of cells left out: 1 (object 4)" in found.notes


@every_version
def test_what_was_read_survives_geojson(tmp_path: Path, version: str) -> None:
    path = tmp_path / "slide.qpdata"
    path.write_bytes(rich_file(version))
    found = read_whole_qpdata(path).regions
    write_geojson(found, tmp_path / "slide.geojson")
    assert read_geojson(tmp_path / "slide.geojson").regions == found


def test_stable_ids_do_not_depend_on_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "slide.qpdata"
    path.write_bytes(rich_file("0.3"))
    some, whole = (read(path).regions for read in (read_qpdata, read_whole_qpdata))
    assert [region.id for region in some] == [r.id for r in whole if "objectType" not in r.properties]


def test_nothing_annotated_is_told(tmp_path: Path) -> None:
    assert read_qpdata(saved(tmp_path)).notes == ("no outlines in this file",)


def test_nested_annotations_follow_what_they_lie_in(tmp_path: Path) -> None:
    def nested(depth: int) -> Drawn:
        children = (
            [nested(depth - 1), Drawn(write.corners_roi("RectangleROI", 0, 0, 1, 1), UDH)] if depth else []
        )
        return Drawn(write.corners_roi("RectangleROI", 0, 0, depth + 2, 9), UDH, children=children)

    widths = [region.box.width for region in read_qpdata(saved(tmp_path, [nested(3)])).regions]
    assert widths == [5, 4, 3, 2, 1, 1, 1]


def test_objects_without_an_outline_are_told(tmp_path: Path) -> None:
    found = read_qpdata(saved(tmp_path, [Drawn(None, UDH, name="whole slide")]))
    assert found.notes == ("objects without an outline, left out: 1 (object 1 'whole slide')",)


def test_files_of_before_locks_are_read(tmp_path: Path) -> None:
    drawn = Drawn(write.points_roi("PolygonROI", RING), UDH, locked=None)
    assert only(read_qpdata(saved(tmp_path, [drawn], version="0.1"))).label == "UDH"


def test_a_text_of_more_than_64_kb_about_the_image_is_read(tmp_path: Path) -> None:
    server = {**SERVER, "args": ["x" * 70_000]}
    path = saved(tmp_path, [Drawn(write.points_roi("PolygonROI", RING), UDH)], server=server)
    assert only(read_qpdata(path)).label == "UDH"
    assert read_qpdata(path).image == ImageFacts("BRACS 1494.svs", 4000, 3000, 0.25)


def test_a_gzipped_file_is_read_as_well(tmp_path: Path) -> None:
    path = saved(tmp_path, [Drawn(write.points_roi("PolygonROI", RING), UDH)])
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert only(read_qpdata(path)).label == "UDH"


# ---------------------------------------------------------------- outlines


def test_a_valid_outline_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    exact = Polygon(np.random.default_rng(0).uniform(0, 9e4, (3, 2)))
    assert outline(tmp_path, write.geometry_roi(exact)) == exact
    parts = MultiPolygon([exact])
    assert outline(tmp_path, write.geometry_roi(parts)) == parts
    single = Polygon(RING)
    assert outline(tmp_path, write.points_roi("PolygonROI", RING)) == single


def test_little_endian_geometries_are_read(tmp_path: Path) -> None:
    exact = Polygon(RING, [HOLE])
    assert outline(tmp_path, write.geometry_roi(shapely.to_wkb(exact, byte_order=1))) == exact


def test_a_collection_keeps_what_has_area(tmp_path: Path) -> None:
    mixed = shapely.GeometryCollection([box(0, 0, 2, 2), Point(1, 1), MultiPolygon([box(5, 5, 6, 6)])])
    found = read_qpdata(saved(tmp_path, [Drawn(write.geometry_roi(mixed), UDH)]))
    assert only(found).outline.area == 5
    assert found.notes == ("points and lines left out, as they have no area: 1 (object 1: Point)",)


rings = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=3, max_size=8, unique=True)


@given(st.lists(rings, min_size=1, max_size=4))
def test_an_area_holds_what_an_odd_number_of_its_rings_enclose(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[list[tuple[int, int]]]
) -> None:
    folder = tmp_path_factory.mktemp("area")
    found = read_qpdata(saved(folder, [Drawn(write.area_roi(drawn), UDH)], version="0.1"))
    odd = np.zeros((30, 30), bool)
    for ring in drawn:
        odd ^= even_odd(ring)
    area = only(found).outline if len(found.regions) else Polygon()
    assert np.array_equal(shapely.contains_xy(area, *PLACES), odd)


PLACES = (
    np.mgrid[:30, :30][::-1] + np.array([0.3717, 0.4139])[:, None, None]
)  # on no edge between whole numbers


def even_odd(ring: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which of 30 x 30 places an odd number of crossings to the left make inside."""
    x, y = PLACES
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


def test_an_outline_of_an_early_test_version_is_told(tmp_path: Path) -> None:
    roi = Java(f"{write.ROI}GeometryROI$SerializationProxy", [("L", "geometry", None)])
    (note,) = read_qpdata(saved(tmp_path, [Drawn(roi, UDH)])).notes
    assert note.startswith("outlines in a form that is not known, left out: 1 (object 1: qupath.lib.roi.Geom")


# ---------------------------------------------------------------- the image


def test_the_image_is_known(tmp_path: Path) -> None:
    path = saved(tmp_path, server=SERVER)
    facts = ImageFacts("BRACS 1494.svs", 4000, 3000, 0.25)
    assert read_qpdata(path).image == read_qpdata_image(path) == read_image_facts(path) == facts
    assert read_image_facts(tmp_path / "a.geojson") is None


@pytest.mark.parametrize(
    "image_path", ["/data/a b.svs", "file:/C:/x/a%20b.svs", "C:\\data\\a b.svs", "file:///x/a%20b.svs"]
)
def test_before_0_3_the_image_is_known_by_name(tmp_path: Path, image_path: str) -> None:
    path = saved(tmp_path, server=image_path, version="0.2")
    assert read_qpdata(path).image == ImageFacts("a b.svs")


@pytest.mark.parametrize("server", [None, {}, {"uri": 5}, {"metadata": [1]}, {"metadata": {"width": "wide"}}])
def test_an_image_that_is_not_described_is_unknown(tmp_path: Path, server: dict[str, Any] | None) -> None:
    facts = read_qpdata(saved(tmp_path, server=server)).image
    assert facts in (None, ImageFacts())


def test_pixels_that_qupath_cannot_measure_are_unknown(tmp_path: Path) -> None:
    side = {"value": 1.0, "unit": "px"}
    server = {**SERVER, "metadata": {"pixelCalibration": {"pixelWidth": side, "pixelHeight": side}}}
    assert read_qpdata_image(saved(tmp_path, server=server)) == ImageFacts("BRACS 1494.svs")


def turned(pixels: NDArray[Any], rotation: str) -> NDArray[Any]:
    return np.rot90(pixels, {"ROTATE_NONE": 0, "ROTATE_90": -1, "ROTATE_180": 2, "ROTATE_270": 1}[rotation])


@pytest.mark.parametrize("rotation", ["ROTATE_NONE", "ROTATE_90", "ROTATE_180", "ROTATE_270"])
@pytest.mark.parametrize("as_argument", [False, True])
def test_outlines_on_a_turned_image_are_turned_back(tmp_path: Path, rotation: str, as_argument: bool) -> None:
    """The mask of the outline that is read, turned as the image was, is the mask of what was drawn."""
    drawn = Polygon([(1, 2), (11, 2), (11, 5), (4, 5), (4, 9), (1, 9)])
    height, width = turned(np.empty((20, 30)), rotation).shape
    size = {"width": width, "height": height}
    if as_argument:
        server = {
            "builderType": "uri",
            "uri": "file:/a.svs",
            "args": ["--rotate", rotation],
            "metadata": size,
        }
    else:
        inner = {"builderType": "uri", "uri": "file:/a.svs"}
        server = {"builderType": "rotated", "rotation": rotation, "builder": inner, "metadata": size}
    path = saved(tmp_path, [Drawn(write.geometry_roi(drawn), UDH)], server=server)
    found = read_qpdata(path)
    assert found.image == ImageFacts("a.svs", 30, 20)
    mask = mask_of(only(found).outline, Box(0, 0, 30, 20), 1)
    assert np.array_equal(turned(mask, rotation), mask_of(drawn, Box(0, 0, width, height), 1))
    assert bool(found.notes) == (rotation != "ROTATE_NONE")


def test_outlines_on_a_cropped_and_turned_image_are_brought_back(tmp_path: Path) -> None:
    cropped = {
        "builderType": "cropped",
        "region": {"x": 100, "y": 200, "width": 50, "height": 40},
        "builder": SERVER,
        "metadata": {"width": 50, "height": 40},
    }
    both = {
        "builderType": "rotated",
        "rotation": "ROTATE_90",
        "builder": cropped,
        "metadata": {"width": 40, "height": 50},
    }
    drawn = [Drawn(write.corners_roi("RectangleROI", 0, 0, 10, 5), UDH)]
    found = read_qpdata(saved(tmp_path, drawn, server=cropped))
    assert only(found).outline.bounds == (100, 200, 110, 205)
    assert found.image == ImageFacts("BRACS 1494.svs", 4000, 3000, 0.25)
    found = read_qpdata(saved(tmp_path, drawn, server=both))
    assert only(found).outline.bounds == (100, 230, 105, 240)
    assert (
        "QuPath showed the image turned by 90 degrees and cropped at 100, 200; outlines are moved"
        in found.notes[0]
    )


@pytest.mark.parametrize("kind", ["affine", "sparse", "labelled", 5])
def test_images_that_cannot_be_brought_back_are_refused(tmp_path: Path, kind: object) -> None:
    path = saved(tmp_path, server={"builderType": kind, "builder": SERVER})
    with pytest.raises(
        AnnotationError, match=rf"slide\.qpdata: was drawn on an image that QuPath showed changed .{kind}"
    ):
        read_qpdata(path)


@pytest.mark.parametrize("kind", ["pyramidize", "channels"])
def test_images_whose_pixels_stay_in_place_are_read(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, server={"builderType": kind, "builder": SERVER})
    assert read_qpdata(path).image == ImageFacts("BRACS 1494.svs", 4000, 3000, 0.25)


@pytest.mark.parametrize(
    "server",
    [
        {"builderType": "rotated", "rotation": "ROTATE_90", "builder": {"uri": "file:/a.svs"}},
        {"builderType": "rotated", "rotation": "ROTATE_45", "metadata": {"width": 5, "height": 5}},
        {"builderType": "cropped", "builder": SERVER},
        {"builderType": "cropped", "region": {"x": "1", "y": 2}},
    ],
)
def test_turns_and_crops_that_are_not_described_are_refused(tmp_path: Path, server: dict[str, Any]) -> None:
    with pytest.raises(AnnotationError, match=r"slide\.qpdata: was drawn on a"):
        read_qpdata(saved(tmp_path, server=server))


KEYS = {
    "builderType",
    "builder",
    "metadata",
    "uri",
    "args",
    "region",
    "x",
    "y",
    "rotation",
    "width",
    "height",
} | {
    "pixelCalibration",
    "pixelWidth",
    "pixelHeight",
    "value",
    "unit",
}
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(
        ["uri", "rotated", "cropped", "ROTATE_90", "--rotate", "µm", "file:/a.svs", "http://[", 10**400]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(KEYS)), inner, max_size=6)
    ),
)


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), ANYTHING, max_size=8))
def test_no_server_gives_a_foreign_error(server: dict[str, Any]) -> None:
    with suppress(AnnotationError):
        assert read_server(server, "a").matrix.shape == (3, 3)


def test_a_turned_image_of_before_0_3_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="turned or cropped, and does not say how"):
        read_qpdata(saved(tmp_path, server="/data/a.svs (rotated)", version="0.1"))


# ---------------------------------------------------------------- broken files


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


def test_a_grid_names_its_cores_again(tmp_path: Path) -> None:
    inside = Drawn(write.points_roi("PolygonROI", RING), UDH)
    cores = [
        Drawn(write.corners_roi("EllipseROI", 0, 0, 9, 9), kind="TMACoreObject", children=children)
        for children in ([inside], [])
    ]
    found = read_qpdata(saved(tmp_path, cores, grid=(0, 1)))
    assert only(found).label == "UDH"
    assert found.notes == ("left out, as only annotations are read: TMA cores (2)",)


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


# ---------------------------------------------------------------- files of QuPath itself


@pytest.mark.shared
@pytest.mark.parametrize("version", ["0.2.3", "0.4.4", "0.6.0"])
def test_qupaths_files_agree_with_its_own_export(shared_data: Path, version: str) -> None:
    folder = shared_data / "qupath/versions"
    found = read_annotations(folder / f"qupath-v{version}.qpdata", everything=True).regions
    said = read_geojson(folder / f"qupath-v{version}.geojson").regions
    assert len(found) == len(said) == 10
    for ours, theirs in zip(found, said, strict=True):
        assert ours.outline.area == pytest.approx(theirs.outline.area, rel=1e-3)
        apart = ours.outline.symmetric_difference(theirs.outline).area
        assert apart < 1e-3 * theirs.outline.area
        assert (ours.label, ours.properties) == (theirs.label, theirs.properties)
        if version >= "0.4":
            assert ours.id == theirs.id


@pytest.mark.shared
def test_a_file_of_0_1_agrees_with_a_dump(shared_data: Path) -> None:
    folder = shared_data / "qupath/versions"
    found = read_annotations(folder / "qupath-v0.1.2.qpdata", everything=True).regions
    rows = [line.split("\t") for line in (folder / "qupath-v0.1.2.dump.txt").read_text("utf-8").splitlines()]
    said = [row for row in rows if row[-1].startswith("area=")]
    assert len(found) == len(said) == 9
    for region, (_, kind, name, label, _, _, _, area) in zip(found, said, strict=True):
        assert region.outline.area == pytest.approx(float(area.removeprefix("area=")), rel=1e-3)
        assert region.label == ("" if label == "null" else label)
        assert region.properties.get("name", "null") == name
        assert region.properties.get("objectType", "annotation").casefold() in kind.casefold()


@pytest.mark.shared
@pytest.mark.parametrize("project", ["ttcs", "orion", "empty_hierarchy"])
def test_counts_agree_with_qupaths_summaries(shared_data: Path, project: str) -> None:
    summaries = sorted((shared_data / "qupath" / project / "data").glob("*/summary.json"))
    assert summaries
    for summary in summaries:
        said = json.loads(summary.read_text("utf-8"))
        found = read_qpdata(summary.with_name("data.qpdata"))
        classes = said["hierarchy"]["annotationClassificationCounts"]
        assert len(found.regions) + left_out(found) == said["hierarchy"]["nObjects"] - 1
        assert len(found.regions) + left_out(found) == sum(classes.values())
        for label, count in classes.items():
            of_class = len(found.regions.labelled("" if label == "Unclassified" else label))
            assert count - left_out(found) <= of_class <= count
        assert found.image is not None
        assert (found.image.width, found.image.height) == (said["server"]["width"], said["server"]["height"])


def left_out(found: Annotations) -> int:
    """How many objects the notes say have no area."""
    told = [note for note in found.notes if "as they have no area" in note or "encloses no area" in note]
    return sum(int(note.split(": ")[1].split(" ")[0]) for note in told)


@pytest.mark.shared
def test_outlines_agree_with_exported_masks(shared_data: Path) -> None:
    folder = shared_data / "qupath/ttcs"
    project = json.loads((folder / "project.qpproj").read_text("utf-8"))
    overlaps = []
    for entry in project["images"]:
        found = read_qpdata(folder / f"data/{entry['entryID']}/data.qpdata")
        truth = tifffile.imread(folder / f"masks/{entry['imageName']}.tif") > 0
        whole = Box(0, 0, truth.shape[1], truth.shape[0])
        ours = np.any([mask_of(region.outline, whole, 1) for region in found.regions], axis=0)
        overlaps.append(np.sum(ours & truth) / np.sum(ours | truth))
    assert np.mean(overlaps) >= 0.97
