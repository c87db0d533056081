"""QuPath's data files: every version, every kind of outline, and what QuPath itself says of them."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Point, Polygon, box

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.annotations.qpdata.reader import read_qpdata, read_whole_qpdata
from histoscout.annotations.read import Annotations, ImageFacts, read_annotations
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import mask_of
from histoscout.geometry.regions import Outline, Region
from tests.annotations import qpdata_writer as write
from tests.annotations.java_writer import Java
from tests.annotations.qpdata_seeds import HOLE, RING, SERVER, VERSIONS, rich_file
from tests.annotations.qpdata_writer import Drawn, saved

every_version = pytest.mark.parametrize("version", VERSIONS)
UDH = write.path_class("UDH", -3670016)


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


def test_a_grid_names_its_cores_again(tmp_path: Path) -> None:
    inside = Drawn(write.points_roi("PolygonROI", RING), UDH)
    cores = [
        Drawn(write.corners_roi("EllipseROI", 0, 0, 9, 9), kind="TMACoreObject", children=children)
        for children in ([inside], [])
    ]
    found = read_qpdata(saved(tmp_path, cores, grid=(0, 1)))
    assert only(found).label == "UDH"
    assert found.notes == ("left out, as only annotations are read: TMA cores (2)",)


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
@example([[(0, 0), (2, 0), (22, 18)], [(0, 0), (22, 17), (2, 0), (22, 18)], [(0, 0), (0, 1), (6, 1)]])
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
            of_class = len(found.regions.labeled("" if label == "Unclassified" else label))
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
