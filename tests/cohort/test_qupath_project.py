"""QuPath projects as cohorts: where slides are found, what is noted, what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from histoscout.cohort.cohort import read_cohort
from histoscout.cohort.qupath_project import read_project
from histoscout.conversion import ConvertOptions, convert
from histoscout.errors import CohortError
from histoscout.progress import NoProgress
from tests.annotations import qpdata_writer as write
from tests.annotations.qpdata_writer import DataFile, QupathObject

MICRONS = {side: {"value": 0.5, "unit": "µm"} for side in ("pixelWidth", "pixelHeight")}


def image(slide: str, number: object, **more: Any) -> dict[str, Any]:
    server = {
        "builderType": "uri",
        "uri": slide,
        "metadata": {"width": 64, "height": 64, "pixelCalibration": MICRONS},
    }
    name = slide.rsplit("/", 1)[-1]
    return {"serverBuilder": server, "entryID": number, "imageName": name, "metadata": {}, **more}


def project(folder: Path, images: list[dict[str, Any]], uri: str | None = None) -> Path:
    """A project whose entries "1" and "2" have annotations."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"version": "0.5.1", "uri": uri or (folder / "project.qpproj").as_uri(), "images": images}
    (folder / "project.qpproj").write_text(json.dumps(content), encoding="utf-8")
    for number in ("1", "2"):
        data(folder / f"data/{number}/data.qpdata")
    return folder / "project.qpproj"


def data(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = QupathObject(write.corners_roi("RectangleROI", 1, 2, 11, 12), write.path_class("UDH"))
    path.write_bytes(bytes(DataFile([drawn])))


def slide(path: Path) -> str:
    """A file where a slide should be, and its URI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path.as_uri()


def test_a_project_is_a_cohort(tmp_path: Path) -> None:
    images = [image(slide(tmp_path / f"slides/a b {n}.svs"), n) for n in (1, 2, 3)]
    path = project(tmp_path / "qupath", images)
    cohort = read_cohort(path)
    assert [case.slide for case in cohort.cases] == [tmp_path / f"slides/a b {n}.svs" for n in (1, 2, 3)]
    assert [case.annotations for case in cohort.cases] == [
        tmp_path / "qupath/data/1/data.qpdata",
        tmp_path / "qupath/data/2/data.qpdata",
        None,
    ]
    assert {case.mpp for case in cohort.cases} == {0.5}
    assert cohort.patients == ("a b 1", "a b 2", "a b 3")
    assert cohort.notes == (
        "3 slides without a patient: each counts as a patient of its own",
        "1 of 3 images of the project has no data file (a%20b%203.svs)",
    )
    assert read_cohort(path.parent) == cohort


def test_slides_of_one_name_in_several_folders_are_patients_of_their_own(tmp_path: Path) -> None:
    images = [image(slide(tmp_path / f"p{n}/HE.svs"), n) for n in (1, 2)]
    assert read_cohort(project(tmp_path / "qupath", images)).patients == ("p1/HE", "p2/HE")


@pytest.mark.parametrize("key", ["patient", "Patient ID", "case-id"])
def test_patients_are_taken_from_the_projects_table(tmp_path: Path, key: str) -> None:
    images = [image(slide(tmp_path / f"{n}.svs"), n, metadata={key: " P7 ", "other": "x"}) for n in (1, 2)]
    cohort = read_cohort(project(tmp_path, images))
    assert cohort.patients == ("P7",)
    assert cohort.notes == ()


def test_a_project_moved_with_its_slides_finds_them(tmp_path: Path) -> None:
    old = "file:/C:/Users/me/study/qupath/project.qpproj"
    images = [
        image(f"file:/C:/Users/me/study/{place}/a%20{n}.svs", n)
        for n, place in ((1, "qupath"), (2, "slides"))
    ]
    path = project(tmp_path / "qupath", images, old)
    slide(tmp_path / "qupath/a 1.svs")
    slide(tmp_path / "slides/a 2.svs")
    assert [case.slide for case in read_cohort(path).cases] == [
        tmp_path / "qupath/a 1.svs",
        tmp_path / "slides/a 2.svs",
    ]


def test_moved_slides_are_found_again_by_their_names(tmp_path: Path) -> None:
    path = project(
        tmp_path / "qupath", [image(f"file:/gone/{name}", n) for n, name in ((1, "A.svs"), (2, "b.ndpi"))]
    )
    with pytest.raises(CohortError, match=r"project.qpproj: none of its 2 slides .*A.svs, b.ndpi.*--slides"):
        read_cohort(path)
    slide(tmp_path / "now/here/a.SVS")
    slide(tmp_path / "now/there/b.tif")
    cohort = read_cohort(path, tmp_path / "now")
    assert [case.slide.name for case in cohort.cases] == ["a.SVS", "b.tif"]
    assert f"2 slides were found by name under {tmp_path / 'now'}" in cohort.notes


def test_slides_that_are_missing_are_left_out_with_a_line(tmp_path: Path) -> None:
    images = [image(f"file:/gone/{name}.svs", n) for n, name in enumerate("abc", 1)]
    path = project(tmp_path / "qupath", images)
    (tmp_path / "qupath/data/2/data.qpdata").touch()
    (tmp_path / "qupath/data/1/data.qpdata").unlink(missing_ok=True)
    slide(tmp_path / "now/c.svs")
    cohort = read_cohort(path, tmp_path / "now")
    assert [case.slide.name for case in cohort.cases] == ["c.svs"]
    (line,) = [note for note in cohort.notes if "left out" in note]
    assert "2 of 3 slides" in line
    assert "1 of them annotated (a.svs, b.svs)" in line
    assert "--slides" in line


def test_slides_of_a_table_are_found_again_too(tmp_path: Path) -> None:
    slide(tmp_path / "now/deep/a.svs")
    (tmp_path / "cohort.csv").write_text("slide,patient\nD:\\old\\a.svs,P\n", encoding="utf-8")
    with pytest.raises(CohortError, match=r"there is no slide"):
        read_cohort(tmp_path / "cohort.csv")
    cohort = read_cohort(tmp_path / "cohort.csv", tmp_path / "now")
    assert cohort.cases[0].slide == tmp_path / "now/deep/a.svs"
    assert "1 slide was found by name" in cohort.notes[0]


def test_two_slides_of_the_name_are_refused(tmp_path: Path) -> None:
    path = project(tmp_path / "qupath", [image("file:/gone/a.svs", 1)])
    slide(tmp_path / "now/1/a.svs")
    slide(tmp_path / "now/2/a.svs")
    with pytest.raises(CohortError, match=r"2 slides called a\.svs"):
        read_cohort(path, tmp_path / "now")
    with pytest.raises(CohortError, match="elsewhere"):
        read_cohort(path, tmp_path / "elsewhere")


def test_moved_slides_make_no_sense_without_a_list(tmp_path: Path) -> None:
    slide(tmp_path / "a.svs")
    with pytest.raises(CohortError, match="Leave out --slides"):
        read_cohort(tmp_path, tmp_path)


def test_images_without_slide_and_annotations_are_left_out(tmp_path: Path) -> None:
    path = project(tmp_path, [image(slide(tmp_path / "a.svs"), 1), image("file:/gone/b.svs", 9)])
    slide(tmp_path / "c.svs")
    cohort = read_cohort(path)
    assert [case.name for case in cohort.cases] == ["a"]
    assert any("1 of 2 slides" in note and "none of them annotated (b.svs)" in note for note in cohort.notes)
    assert "slides beside the project that are not in it, left out: 1 (c.svs)" in cohort.notes


def test_another_image_of_the_same_file_gives_way_to_the_one_with_annotations(tmp_path: Path) -> None:
    uri = slide(tmp_path / "a.svs")
    (case,) = read_cohort(project(tmp_path, [image(uri, 7), image(uri, 1), image(uri, 8)])).cases
    assert case.annotations == tmp_path / "data/1/data.qpdata"
    with pytest.raises(CohortError, match=r"a\.svs in two entries"):
        read_cohort(project(tmp_path, [image(uri, 1), image(uri, 2)]))


def test_a_cropped_image_is_found_by_what_is_inside(tmp_path: Path) -> None:
    inner = image(slide(tmp_path / "a.svs"), 1)["serverBuilder"]
    server = {"builderType": "cropped", "region": {"x": 5, "y": 5}, "builder": inner}
    (case,) = read_cohort(project(tmp_path, [image("", 1, serverBuilder=server)])).cases
    assert case.slide == tmp_path / "a.svs"


def test_a_project_of_version_0_1_is_read(tmp_path: Path) -> None:
    slide(tmp_path / "in/a b.svs")
    slide(tmp_path / "outside.svs")
    images = [
        {"path": "{$PROJECT_DIR}/in/a b.svs", "name": "a b.svs"},
        {"path": str(tmp_path / "outside.svs"), "name": "outside.svs", "metadata": {"Patient": "P"}},
    ]
    (tmp_path / "project.qpproj").write_text(
        json.dumps({"createTimestamp": 1, "images": images}), encoding="utf-8"
    )
    data(tmp_path / "data/a b.svs.qpdata")
    cohort = read_cohort(tmp_path)
    assert [case.slide.name for case in cohort.cases] == ["a b.svs", "outside.svs"]
    assert cohort.cases[0].annotations == tmp_path / "data/a b.svs.qpdata"
    assert cohort.cases[1].annotations is None
    assert cohort.cases[1].patient == "P"


def test_a_project_cannot_point_out_of_its_folder(tmp_path: Path) -> None:
    data(tmp_path / "secret/data.qpdata")
    path = project(tmp_path / "qupath", [image("file:/x.svs", "../../secret"), image("file:/y\0.svs", "1\0")])
    assert [entry.annotations for entry in read_project(path).entries] == [None, None]


def test_a_project_without_its_slides_is_converted(tmp_path: Path) -> None:
    path = project(tmp_path / "qupath", [image(f"file:/gone/{n}.svs", n) for n in (1, 2, 3)])
    rows = convert(path, tmp_path / "out")
    assert [(row.target.name, row.regions) for row in rows] == [("1.geojson", 1), ("2.geojson", 1)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("{", "not valid JSON"),
        ("[]", "is not a QuPath project"),
        ('{"images": 5}', "is not a QuPath project"),
        ('{"images": []}', "lists no images"),
        ('{"images": [1, null]}', "lists no images"),
    ],
)
def test_what_is_no_project_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "project.qpproj"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CohortError, match=rf"project\.qpproj: .*{expected}"):
        read_cohort(path)


@pytest.mark.shared
def test_the_projects_at_hand_are_read(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "qupath"
    entries = read_project(folder / "ttcs/project.qpproj").entries
    assert len([entry for entry in entries if entry.annotations]) == len(entries) == 12
    orion = read_project(folder / "orion/project.qpproj").entries
    assert len([entry for entry in orion if entry.annotations]) == 1 < len(orion)
    some = read_cohort(folder / "ttcs", folder / "ttcs/images")
    assert len(some.cases) == 2
    assert any(note.startswith("10 of 12 slides of the project are not where") for note in some.notes)
    there = tmp_path / "slides"
    there.mkdir()
    for entry in entries:
        shutil.copy(folder / "ttcs/images/BA_1581.jpg.tif", there / f"{entry.name}.tif")
    cohort = read_cohort(folder / "ttcs/project.qpproj", there)
    assert len(cohort.cases) == 12
    assert "12 slides were found by name" in cohort.notes[-1]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8-sig"])
def test_a_project_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = project(tmp_path, [image(slide(tmp_path / "Präparat.svs"), 1)])
    content = path.read_text(encoding="utf-8").encode().decode("unicode_escape")
    path.write_bytes(content.encode(encoding))
    cohort = read_cohort(path)
    assert [case.name for case in cohort.cases] == ["Präparat"]
    assert any("UTF-8" in note for note in cohort.notes) is (encoding != "utf-8-sig")


def test_data_files_without_an_image_are_named(tmp_path: Path) -> None:
    path = project(tmp_path, [image(slide(tmp_path / "a.svs"), 1)])
    (note,) = [note for note in read_cohort(path).notes if "data files" in note]
    assert "1 (data/2/data.qpdata)" in note


def test_a_patient_that_is_no_value_is_none(tmp_path: Path) -> None:
    path = project(tmp_path, [image(slide(tmp_path / "a.svs"), 1, metadata={"Patient ID": "N/A"})])
    assert read_project(path).entries[0].patient == ""


def test_images_of_one_name_are_converted_to_numbered_files(tmp_path: Path) -> None:
    names = ["scan1.vsi - 20x_01", "scan1.vsi - 20x_02", "T24.100", "T24.200.svs", "HE.svs", "he.ndpi"]
    images = [image("file:/gone/x.svs", number, imageName=name) for number, name in enumerate(names, 1)]
    path = project(tmp_path / "qp", images)
    for number in range(3, 7):
        data(path.parent / f"data/{number}/data.qpdata")
    results = convert(path.parent, tmp_path / "out")
    assert [result.target.stem for result in results] == [*names[:3], "T24.200", "HE", "he (2)"]
    assert all(result.regions == 1 and result.target.exists() for result in results)


def test_a_fault_of_a_data_file_names_the_image(tmp_path: Path) -> None:
    path = project(tmp_path / "qp", [image("file:/gone/x.svs", 1, imageName="x - 20x_02")])
    (path.parent / "data/1/data.qpdata").write_bytes(b"no data")
    (result,) = convert(path, tmp_path / "out")
    assert result.fault.startswith("x - 20x_02: ")


def test_a_project_beside_loose_annotation_files_is_not_passed_over_silently(tmp_path: Path) -> None:
    path = project(tmp_path / "qp", [image("file:/gone/x.svs", 1)])
    convert(path, tmp_path / "out")
    shutil.copy(tmp_path / "out" / "x.geojson", path.parent / "loose.geojson")
    notes: list[str] = []
    progress = NoProgress()
    progress.note = notes.append  # type: ignore[assignment, method-assign]
    (result,) = convert(path.parent, tmp_path / "again", ConvertOptions(progress=progress))
    assert result.target.stem == "loose"
    assert any(str(path) in note for note in notes)
