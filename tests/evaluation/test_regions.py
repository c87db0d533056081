"""Outlines compared without a model, from memory and from files."""

import json
import shutil
from pathlib import Path

import pytest
import shapely

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.errors import CohortError
from histoscout.evaluation.regions import ComparedSlide, CompareOptions, evaluate_regions, score_regions
from histoscout.geometry.regions import Region, Regions
from tests import toy
from tests.evaluation.slides import BOX, MPP, discs


def test_class_names_are_understood_as_people_write_them() -> None:
    drawn, found = discs([(60, 60, 20)], "usual DH"), discs([(60, 60, 20), (180, 180, 9)], "usual dh")
    scores = score_regions([ComparedSlide("slide", drawn, found, BOX, MPP)], positive="Usual-DH")
    assert scores.lesion["sensitivity"].value == 1
    assert scores.lesion["precision"].value == 0.5
    assert scores.patients == ("slide",)


def test_what_is_found_outside_reviewed_areas_is_not_held_against_it() -> None:
    left = Region(shapely.box(0, 0, BOX.width / 2, BOX.height), "Reviewed area")
    drawn = Regions.of([left, *discs([(60, 60, 20)])])
    found = discs([(60, 60, 20), (int(BOX.width) - 40, 60, 9)])
    scores = score_regions([ComparedSlide("slide", drawn, found, BOX, MPP)])
    assert (scores.lesion["sensitivity"].value, scores.lesion["precision"].value) == (1, 1)
    without = score_regions([ComparedSlide("slide", discs([(60, 60, 20)]), found, BOX, MPP)])
    assert without.lesion["precision"].value == 0.5


def test_only_figures_that_outlines_allow_are_told() -> None:
    scores = score_regions([ComparedSlide("slide", discs([(60, 60, 20)], "UDH"), Regions(), BOX, MPP)])
    assert not {"ap", "auroc", "ece", "brier"} & scores.pixel.keys()
    assert not scores.tile
    assert any("as given" in sentence for sentence in scores.claims)


def found_folder(table: Path, folder: Path, numbers: tuple[int, ...]) -> Path:
    for number in numbers:
        drawn = read_geojson(table.parent / f"slide_{number}.geojson").regions
        write_geojson(drawn, folder / f"slide_{number}.geojson")
    return folder


def test_files_of_outlines_are_scored_on_the_slides_of_a_cohort(table: Path, tmp_path: Path) -> None:
    found = found_folder(table, tmp_path / "found", (3,))
    out = tmp_path / "scores"
    scores = evaluate_regions(found, table, out, CompareOptions(recipe=toy.RECIPE))
    assert [slide.name for slide in scores.slides] == ["slide_3"]
    assert scores.lesion["sensitivity"].value == 1
    assert scores.pixel["dice"].value == 1
    written = json.loads((out / "scores.json").read_text())
    assert written["set"] == "given"
    assert written["pixel"]["dice"]["value"] == 1
    assert written["curves"] == {}
    assert (out / "overlays" / "slide_3.png").is_file()


def test_a_slide_without_a_file_is_told_and_not_taken_as_empty(table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    rows = [",".join([str(table.parent / cell) for cell in line.split(",")[:2]]) for line in lines[1:]]
    (tmp_path / "all.csv").write_text("\n".join(["slide,annotations", *rows]) + "\n")
    found = found_folder(table, tmp_path / "found" / "regions", (1, 3)).parent
    scores = evaluate_regions(found, tmp_path / "all.csv", tmp_path / "out", CompareOptions("UDH"))
    assert [slide.name for slide in scores.slides] == ["slide_1", "slide_3"]
    told = [note for note in scores.notes if "not evaluated" in note]
    assert len(told) == 2
    assert "slide_0" in told[0]


def test_two_slides_of_one_name_are_not_judged_by_the_same_file(table: Path, tmp_path: Path) -> None:
    rows = ["slide,annotations,patient"]
    for number, name in ((1, "slide"), (3, "Slide")):
        folder = tmp_path / f"patient {number}"
        folder.mkdir()
        for suffix in (".tif", ".geojson"):
            shutil.copy(table.parent / f"slide_{number}{suffix}", folder / f"{name}{suffix}")
        rows.append(f"{folder.name}/{name}.tif,{folder.name}/{name}.geojson,{number}")
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(CohortError, match=r"same name as .*slide\.tif"):
        evaluate_regions(tmp_path / "patient 1", tmp_path / "cohort.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="neither a model folder nor"):
        evaluate_regions(tmp_path, table, tmp_path / "out")
