"""Regions scored without a model, from memory and from files."""

import json
import shutil
from pathlib import Path

import pytest
import shapely

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort
from histoscout.errors import CohortError
from histoscout.evaluation.regions import (
    CompareOptions,
    SlideComparison,
    _detection_files,
    evaluate_regions,
    score_regions,
)
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from tests import toy
from tests.evaluation.slides import BOX, comparison, discs


def test_class_names_are_understood_as_people_write_them() -> None:
    truth, detected = discs([(60, 60, 20)], "usual DH"), discs([(60, 60, 20), (180, 180, 9)], "usual dh")
    scores = score_regions([comparison(truth, detected)], positive="Usual-DH")
    assert scores.lesion["sensitivity"].value == 1
    assert scores.lesion["precision"].value == 0.5
    assert scores.patients == ("slide",)


def test_detections_outside_reviewed_areas_do_not_count() -> None:
    left = Region(shapely.box(0, 0, BOX.width / 2, BOX.height), "Reviewed area")
    truth = Regions.of([left, *discs([(60, 60, 20)])])
    detected = discs([(60, 60, 20), (int(BOX.width) - 40, 60, 9)])
    scores = score_regions([comparison(truth, detected)])
    assert (scores.lesion["sensitivity"].value, scores.lesion["precision"].value) == (1, 1)
    without = score_regions([comparison(discs([(60, 60, 20)]), detected)])
    assert without.lesion["precision"].value == 0.5


def test_metrics_of_probabilities_are_left_out() -> None:
    scores = score_regions([comparison(discs([(60, 60, 20)], "UDH"), Regions())])
    assert not {"ap", "auroc", "ece", "brier"} & scores.pixel.keys()
    assert not scores.tile
    assert scores.protocol.set_name == "given"


def found_folder(table: Path, folder: Path, numbers: tuple[int, ...]) -> Path:
    for number in numbers:
        truth = read_geojson(table.parent / f"slide_{number}.geojson").regions
        write_geojson(truth, folder / f"slide_{number}.geojson")
    return folder


def test_files_of_regions_are_scored_on_the_slides_of_a_cohort(table: Path, tmp_path: Path) -> None:
    detected = found_folder(table, tmp_path / "found", (3,))
    out = tmp_path / "scores"
    scores = evaluate_regions(detected, table, out, CompareOptions(recipe=toy.RECIPE))
    assert [slide.name for slide in scores.slides] == ["slide_3"]
    assert scores.lesion["sensitivity"].value == 1
    assert scores.pixel["dice"].value == 1
    written = json.loads((out / "scores.json").read_text())
    assert written["set"] == "given"
    assert written["pixel"]["dice"]["value"] == 1
    assert written["curves"] == {}
    assert (out / "overlays" / "slide_3.png").is_file()


def test_a_slide_without_a_file_is_noted_and_not_taken_as_empty(table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    rows = [",".join([str(table.parent / cell) for cell in line.split(",")[:2]]) for line in lines[1:]]
    (tmp_path / "all.csv").write_text("\n".join(["slide,annotations", *rows]) + "\n")
    detected = found_folder(table, tmp_path / "found" / "regions", (1, 3)).parent
    scores = evaluate_regions(
        detected, tmp_path / "all.csv", tmp_path / "out", CompareOptions(positive="UDH")
    )
    assert [slide.name for slide in scores.slides] == ["slide_1", "slide_3"]
    missing = [note for note in scores.notes if "not evaluated" in note]
    assert len(missing) == 2
    assert "slide_0" in missing[0]


def test_two_slides_of_one_name_are_not_scored_by_the_same_file(table: Path, tmp_path: Path) -> None:
    rows = ["slide,annotations,patient"]
    for number, name in ((1, "slide"), (3, "Slide")):
        folder = tmp_path / f"patient {number}"
        folder.mkdir()
        for suffix in (".tif", ".geojson"):
            shutil.copy(table.parent / f"slide_{number}{suffix}", folder / f"{name}{suffix}")
        rows.append(f"{folder.name}/{name}.tif,{folder.name}/{name}.geojson,{number}")
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(CohortError, match=r"slide\.tif"):
        evaluate_regions(tmp_path / "patient 1", tmp_path / "cohort.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(CohortError) as raised:
        evaluate_regions(tmp_path, table, tmp_path / "out")
    assert raised.value.where == str(tmp_path)
    assert "slide_3.geojson" in raised.value.remedy


def test_files_of_regions_are_found_in_any_spelling_and_others_are_named(tmp_path: Path) -> None:
    cases = [Case(tmp_path / name, split="test") for name in ("S1.ome.tif", "U\u0308.svs")]
    cases.append(Case(tmp_path / "trained.svs", split="train"))
    for name in ("s1.GeoJSON", "\u00dc.svs.geojson", "S9.geojson", "trained.geojson"):
        (tmp_path / "found" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "found" / name).touch()
    files, notes = _detection_files(tmp_path / "found", cases[:2], Cohort(tuple(cases), "t.csv"))
    assert {name: path.name for name, path in files.items()} == {
        "S1": "s1.GeoJSON",
        "\u00dc": "\u00dc.svs.geojson",
    }
    (note,) = notes
    assert "1 (S9.geojson)" in note


def test_lesions_inside_ignored_areas_and_spellings_of_a_patient_are_counted() -> None:
    lesion = Region(shapely.box(100, 100, 200, 200), "UDH")
    area = Region(shapely.box(0, 0, 500, 500), "Region*")
    slides = [
        SlideComparison(
            name=f"S{patient}",
            truth=Regions.of([lesion, area]),
            detected=Regions.of([lesion]),
            box=Box(0, 0, 1000, 1000),
            mpp=0.5,
            patient=patient,
        )
        for patient in ("01", "1")
    ]
    scores = score_regions(slides, positive="UDH")
    assert scores.lesion["sensitivity"].value == 1.0
    assert scores.patients == ("01",)
    assert any("01 = 1" in note for note in scores.notes)
    assert any("inside ignored areas" in note for note in scores.notes)
