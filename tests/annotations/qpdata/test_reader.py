"""QuPath's data files: every version, damaged files, and agreement with QuPath's own exports."""

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from shapely.geometry import Polygon

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.annotations.qpdata.reader import read_qpdata, read_whole_qpdata
from histoscout.annotations.read import Annotations, ImageMetadata, read_annotations
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.regions import Region
from tests.annotations import qpdata_writer as write
from tests.annotations.notes import note_with, only_note
from tests.annotations.qpdata_seeds import HOLE, RING, SERVER, VERSIONS, rich_file
from tests.annotations.qpdata_writer import DataFile, QupathObject, write_data_file

every_version = pytest.mark.parametrize("version", VERSIONS)
UDH = write.path_class("UDH", -3670016)


def only(annotations: Annotations) -> Region:
    assert len(annotations.regions) == 1, annotations
    return annotations.regions[0]


# ---------------------------------------------------------------- objects and properties


@every_version
def test_every_version_is_read_alike(tmp_path: Path, version: str) -> None:
    path = tmp_path / "slide.qpdata"
    path.write_bytes(rich_file(version))
    annotations = read_qpdata(path)
    assert [region.label for region in annotations.regions] == [
        "Region*",
        "Tumor",
        "Tumor: Invasive",
        "Tumor: Invasive",
        "Tumor",
        "Tumor",
    ]
    child = annotations.regions[2]
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
    assert annotations.regions[3].outline.equals(Polygon(RING, [HOLE]))
    assert annotations.regions[4].properties["plane"] == {"c": -1, "z": 2, "t": 1}
    ids = [region.id for region in annotations.regions]
    if "0.4" <= version <= "0.7":
        assert ids[:3] == [f"00000000-0000-0000-0000-0000000000{number}" for number in ("10", "11", "02")]
    assert read_qpdata(path) == annotations
    assert len(set(ids)) == (1 if version == "uuid" else 6)


@every_version
def test_objects_that_are_left_out_are_noted(tmp_path: Path, version: str) -> None:
    path = tmp_path / "slide.qpdata"
    path.write_bytes(rich_file(version))
    notes = read_qpdata(path).notes
    assert note_with(notes, "cells (1), detections (1), TMA cores (1), tiles (1)")
    assert note_with(notes, ": 3 (object 8: LineString, object 9 'a line': ")
    assert note_with(notes, "no area", "(object 11 'flat')")
    assert note_with(notes, "repaired", "(object 12 'bow tie')")


@every_version
def test_detections_and_cells_are_read_on_request(tmp_path: Path, version: str) -> None:
    path = tmp_path / "slide.qpdata"
    path.write_bytes(rich_file(version))
    annotations = read_annotations(path, everything=True)
    assert annotations == read_whole_qpdata(path)
    kinds = {region.properties.get("objectType"): region for region in annotations.regions}
    assert kinds["cell"].properties["measurements"] == {"Nucleus: Area": 42.25}
    assert kinds["tmaCore"].properties["isMissing"] is True
    assert {"tile", "detection"} < set(kinds)
    assert note_with(annotations.notes, "nuclei", "(object 4)")


@every_version
def test_all_objects_come_back_from_geojson(tmp_path: Path, version: str) -> None:
    path = tmp_path / "slide.qpdata"
    path.write_bytes(rich_file(version))
    annotations = read_whole_qpdata(path).regions
    write_geojson(annotations, tmp_path / "slide.geojson")
    assert read_geojson(tmp_path / "slide.geojson").regions == annotations


def test_stable_ids_do_not_depend_on_what_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "slide.qpdata"
    path.write_bytes(rich_file("0.3"))
    some, whole = (read(path).regions for read in (read_qpdata, read_whole_qpdata))
    assert [region.id for region in some] == [r.id for r in whole if "objectType" not in r.properties]


def test_a_file_without_annotations_is_noted(tmp_path: Path) -> None:
    annotations = read_qpdata(write_data_file(tmp_path))
    assert len(annotations.regions) == 0
    assert len(annotations.notes) == 1


def test_nested_annotations_follow_their_parent(tmp_path: Path) -> None:
    def nested(depth: int) -> QupathObject:
        children = (
            [nested(depth - 1), QupathObject(write.corners_roi("RectangleROI", 0, 0, 1, 1), UDH)]
            if depth
            else []
        )
        return QupathObject(write.corners_roi("RectangleROI", 0, 0, depth + 2, 9), UDH, children=children)

    widths = [region.box.width for region in read_qpdata(write_data_file(tmp_path, [nested(3)])).regions]
    assert widths == [5, 4, 3, 2, 1, 1, 1]


def test_objects_without_a_polygon_are_noted(tmp_path: Path) -> None:
    annotations = read_qpdata(write_data_file(tmp_path, [QupathObject(None, UDH, name="whole slide")]))
    assert only_note(annotations.notes, "object 1 'whole slide'")


def test_files_from_before_locks_are_read(tmp_path: Path) -> None:
    annotation = QupathObject(write.points_roi("PolygonROI", RING), UDH, locked=None)
    assert only(read_qpdata(write_data_file(tmp_path, [annotation], version="0.1"))).label == "UDH"


def test_a_text_of_more_than_64_kb_about_the_image_is_read(tmp_path: Path) -> None:
    server = {**SERVER, "args": ["x" * 70_000]}
    path = write_data_file(tmp_path, [QupathObject(write.points_roi("PolygonROI", RING), UDH)], server=server)
    assert only(read_qpdata(path)).label == "UDH"
    assert read_qpdata(path).image == ImageMetadata(name="BRACS 1494.svs", width=4000, height=3000, mpp=0.25)


def test_a_gzipped_file_is_read_as_well(tmp_path: Path) -> None:
    path = write_data_file(tmp_path, [QupathObject(write.points_roi("PolygonROI", RING), UDH)])
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert only(read_qpdata(path)).label == "UDH"


def test_cores_of_a_grid_are_counted_once(tmp_path: Path) -> None:
    inside = QupathObject(write.points_roi("PolygonROI", RING), UDH)
    cores = [
        QupathObject(write.corners_roi("EllipseROI", 0, 0, 9, 9), kind="TMACoreObject", children=children)
        for children in ([inside], [])
    ]
    annotations = read_qpdata(write_data_file(tmp_path, cores, grid=(0, 1)))
    assert only(annotations).label == "UDH"
    assert only_note(annotations.notes, "TMA cores (2)")


# ---------------------------------------------------------------- damaged files, and files made to do harm


@pytest.mark.parametrize("number", ["0", "5", "99", "x", ""])
def test_unknown_versions_are_refused(tmp_path: Path, number: str) -> None:
    with pytest.raises(AnnotationError, match=r"slide\.qpdata: "):
        read_qpdata(write_data_file(tmp_path, data_version=number))


def test_a_file_without_its_end_is_read_and_noted(tmp_path: Path) -> None:
    objects = [QupathObject(write.points_roi("PolygonROI", RING), UDH)]
    whole = bytes(DataFile(objects, end=True))
    path = tmp_path / "slide.qpdata"
    path.write_bytes(bytes(DataFile(objects, end=False)))
    annotations = read_qpdata(path)
    assert only(annotations).label == "UDH"
    assert only_note(annotations.notes, "end mark")
    path.write_bytes(whole[:-20])
    annotations = read_qpdata(path)
    assert only(annotations).label == "UDH"
    assert only_note(annotations.notes, "slide.qpdata, byte")


def test_a_file_that_ends_before_its_objects_is_refused(tmp_path: Path) -> None:
    whole = rich_file("0.5")
    path = tmp_path / "slide.qpdata"
    for length in range(0, whole.index(b"EOF") - 200, 37):
        path.write_bytes(whole[:length])
        with pytest.raises(AnnotationError, match=r"slide\.qpdata"):
            read_qpdata(path)


def test_objects_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    def nested(depth: int) -> QupathObject:
        return QupathObject(
            write.points_roi("PolygonROI", RING), children=[nested(depth - 1)] if depth else []
        )

    with pytest.raises(AnnotationError, match=r"slide\.qpdata, byte .*150"):
        read_qpdata(write_data_file(tmp_path, [nested(200)]))


def test_an_object_within_itself_is_refused(tmp_path: Path) -> None:
    annotation = QupathObject(write.points_roi("PolygonROI", RING))
    java = annotation.to_java("0.3")
    assert java.content is not None
    number_of_children = java.content.index(struct.pack(">i", 0))
    java.content[number_of_children : number_of_children + 1] = [struct.pack(">i", 1), java]
    with pytest.raises(AnnotationError, match=r"slide\.qpdata, byte \d+: .*twice"):
        read_qpdata(write_data_file(tmp_path, [annotation], version="0.3"))


def test_an_object_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    annotation = QupathObject(write.points_roi("PolygonROI", RING))
    with pytest.raises(AnnotationError, match=r"slide\.qpdata, byte \d+: .*twice"):
        read_qpdata(write_data_file(tmp_path, [annotation, annotation]))


def test_a_class_derived_from_itself_is_refused(tmp_path: Path) -> None:
    endless = write.path_class("A")
    endless.fields = [*endless.fields[:2], (*endless.fields[2][:2], endless)]
    with pytest.raises(AnnotationError, match=r"slide\.qpdata, byte \d+: .*class"):
        read_qpdata(write_data_file(tmp_path, [QupathObject(write.points_roi("PolygonROI", RING), endless)]))


def test_other_java_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.qpdata"
    path.write_bytes(bytes(DataFile())[:4] + b"\x70")
    with pytest.raises(AnnotationError, match=r"list\.qpdata: "):
        read_qpdata(path)


@pytest.mark.parametrize("text", ["{", '{"server": ' + "[" * 100_000, '{"server": 1' + "0" * 5000 + "}"])
def test_an_image_description_that_is_not_json_is_refused(tmp_path: Path, text: str) -> None:
    path = write_data_file(tmp_path, server="@")
    whole = path.read_bytes()
    description = json.dumps({"dataVersion": 3, "qupathVersion": "0.5.0", "server": "@"}).encode()
    start = whole.index(description) - 3
    path.write_bytes(
        whole[:start]
        + b"\x7c"
        + struct.pack(">Q", len(text))
        + text.encode()
        + whole[start + 3 + len(description) :]
    )
    with pytest.raises(AnnotationError, match=r"slide\.qpdata: .*JSON"):
        read_qpdata(path)


# ---------------------------------------------------------------- files of QuPath itself


@pytest.mark.shared
@pytest.mark.parametrize("version", ["0.2.3", "0.4.4", "0.6.0"])
def test_qupaths_files_agree_with_its_own_export(shared_data: Path, version: str) -> None:
    folder = shared_data / "qupath/versions"
    annotations = read_annotations(folder / f"qupath-v{version}.qpdata", everything=True).regions
    exported = read_geojson(folder / f"qupath-v{version}.geojson").regions
    assert len(annotations) == len(exported) == 10
    for region, reference in zip(annotations, exported, strict=True):
        assert region.outline.area == pytest.approx(reference.outline.area, rel=1e-3)
        apart = region.outline.symmetric_difference(reference.outline).area
        assert apart < 1e-3 * reference.outline.area
        assert (region.label, region.properties) == (reference.label, reference.properties)
        if version >= "0.4":
            assert region.id == reference.id


@pytest.mark.shared
def test_a_file_of_0_1_agrees_with_its_dump(shared_data: Path) -> None:
    folder = shared_data / "qupath/versions"
    annotations = read_annotations(folder / "qupath-v0.1.2.qpdata", everything=True).regions
    rows = [line.split("\t") for line in (folder / "qupath-v0.1.2.dump.txt").read_text("utf-8").splitlines()]
    dumped = [row for row in rows if row[-1].startswith("area=")]
    assert len(annotations) == len(dumped) == 9
    for region, (_, kind, name, label, _, _, _, area) in zip(annotations, dumped, strict=True):
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
        content = json.loads(summary.read_text("utf-8"))
        annotations = read_qpdata(summary.with_name("data.qpdata"))
        classes = content["hierarchy"]["annotationClassificationCounts"]
        assert len(annotations.regions) + left_out(annotations) == content["hierarchy"]["nObjects"] - 1
        assert len(annotations.regions) + left_out(annotations) == sum(classes.values())
        for label, count in classes.items():
            of_class = len(annotations.regions.with_labels("" if label == "Unclassified" else label))
            assert count - left_out(annotations) <= of_class <= count
        assert annotations.image is not None
        assert (annotations.image.width, annotations.image.height) == (
            content["server"]["width"],
            content["server"]["height"],
        )


def left_out(annotations: Annotations) -> int:
    """The number of objects that the notes count as without area."""
    notes = [note for note in annotations.notes if "no area" in note]
    return sum(int(note.split(": ")[1].split(" ")[0]) for note in notes)


@pytest.mark.shared
def test_polygons_agree_with_exported_masks(shared_data: Path) -> None:
    folder = shared_data / "qupath/ttcs"
    project = json.loads((folder / "project.qpproj").read_text("utf-8"))
    overlaps = []
    for entry in project["images"]:
        annotations = read_qpdata(folder / f"data/{entry['entryID']}/data.qpdata")
        truth = tifffile.imread(folder / f"masks/{entry['imageName']}.tif") > 0
        whole = Box(0, 0, truth.shape[1], truth.shape[0])
        ours = np.any([polygon_to_mask(region.outline, whole, 1) for region in annotations.regions], axis=0)
        overlaps.append(np.sum(ours & truth) / np.sum(ours | truth))
    assert np.mean(overlaps) >= 0.97
