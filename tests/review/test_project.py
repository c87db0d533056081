"""Results as a QuPath project: what it holds, and that it comes back without a change until somebody edits it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import shapely
from shapely.affinity import translate

from histoscout.annotations.geojson import write_geojson
from histoscout.annotations.qpdata.reader import read_qpdata
from histoscout.annotations.qpdata.writer import write_qpdata
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import read_cohort
from histoscout.detection.results import ResultFolder
from histoscout.errors import OutputError, ReviewError
from histoscout.geometry.regions import Region
from histoscout.review.changes import SlideChanges, find_changes
from histoscout.review.operation import Operation
from histoscout.review.project import BIOFORMATS, OPENSLIDE, image_server, write_project
from histoscout.review.returned import cases_of_results, find_returned, read_returned
from histoscout.review.review import Review
from tests.viewer.results import NAMES, write_results


@pytest.fixture
def output(tmp_path: Path) -> ResultFolder:
    return ResultFolder(write_results(tmp_path))


def changes_of(folder: Path, output: ResultFolder) -> list[SlideChanges]:
    """What `histoscout review import` would take from a project."""
    review = Review.of_results(output)
    files = find_returned([folder], cases_of_results(output)).files
    return [find_changes(review, read_returned(file, output, "QP")[0]) for file in files]


def test_a_project_that_nobody_edited_comes_back_without_a_change(
    output: ResultFolder, tmp_path: Path
) -> None:
    review = Review.of_results(output)
    first = review.findings(NAMES[0])[0]
    review.record(Operation(kind="reject", reader="AB", slide=NAMES[0], sources=(first.id,)))
    drawn = Region(shapely.box(700, 700, 760, 760), "ADH", id="not a UUID")
    review.record(Operation(kind="add", reader="AB", slide=NAMES[0], regions=(drawn,)))
    project = write_project(review, cases_of_results(output), tmp_path / "project")
    assert project.slides == NAMES
    found = changes_of(tmp_path / "project", output)
    assert len(found) == len(NAMES)
    assert not any(slide.changes or slide.notes for slide in found)

    # the slides are found, and findings that nobody judged are no annotations
    cohort = read_cohort(project.path)
    assert [case.name for case in cohort.cases] == list(NAMES)
    assert [case.patient for case in cohort.cases] == [f"patient {name}" for name in NAMES]


def test_what_is_edited_in_the_project_is_found(output: ResultFolder, tmp_path: Path) -> None:
    review = Review.of_results(output)
    project = write_project(review, cases_of_results(output), tmp_path / "project")
    data = project.path.parent / "data" / "1" / "data.qpdata"
    regions = list(read_qpdata(data).regions)
    locked = [region for region in regions if region.properties.get("isLocked")]
    found = [region for region in regions if region not in locked]
    assert len(locked) == 2
    assert {region.label for region in found} == {"UDH: found"}
    # one is accepted, one moved, one drawn, and an annotation of the cohort deleted
    edited = [
        locked[0],
        replace(found[0], label="UDH"),
        replace(found[1], outline=translate(found[1].outline, 20, 0)),
        Region(shapely.box(700, 700, 760, 760), "UDH"),
    ]
    write_qpdata(edited, data, {"builderType": "uri", "uri": "file:/A1.tif"}, 1)
    first, second = changes_of(tmp_path / "project", output)
    assert first.counts == {"accepted": 1, "edited": 1, "added": 1}
    assert not second.changes


def test_a_project_is_never_overwritten(output: ResultFolder, tmp_path: Path) -> None:
    review = Review.of_results(output)
    write_project(review, cases_of_results(output), tmp_path / "project")
    with pytest.raises(OutputError):
        write_project(review, cases_of_results(output), tmp_path / "project")


def test_slides_that_are_gone_are_named(output: ResultFolder, tmp_path: Path) -> None:
    review = Review.of_results(output)
    here, gone = cases_of_results(output)
    gone = replace(gone, slide=tmp_path / "nowhere" / gone.slide.name)
    project = write_project(review, [here, gone], tmp_path / "project")
    assert any(gone.name in note for note in project.notes)
    with pytest.raises(ReviewError):
        write_project(review, [gone], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_two_files_of_one_slide_and_images_of_other_slides(output: ResultFolder, tmp_path: Path) -> None:
    project = write_project(Review.of_results(output), cases_of_results(output), tmp_path / "project")
    content = json.loads(project.path.read_text(encoding="utf-8"))
    content["images"][1]["serverBuilder"]["uri"] = "file:/other.svs"
    content["images"][1]["imageName"] = "other.svs"
    project.path.write_text(json.dumps(content), encoding="utf-8")
    files = find_returned([project.path], cases_of_results(output))
    assert [file.case.name for file in files.files] == [NAMES[0]]
    assert any("other.svs" in note for note in files.notes)
    again = tmp_path / f"{NAMES[0]}.geojson"
    write_geojson(Review.of_results(output).regions(NAMES[0]), again)
    with pytest.raises(ReviewError):
        find_returned([project.path, again], cases_of_results(output))


def test_openslide_shows_what_it_can_read_and_bioformats_the_rest(
    output: ResultFolder, tmp_path: Path
) -> None:
    case = cases_of_results(output)[0]
    assert image_server(case)["providerClassName"] == OPENSLIDE
    (tmp_path / "plain.png").write_bytes(b"no image that OpenSlide knows")
    server = image_server(Case(tmp_path / "plain.png"))
    assert (server["providerClassName"], server["args"]) == (BIOFORMATS, ["--series", "0"])
