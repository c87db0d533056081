"""`histoscout evaluate` at the command line: a model, or outlines that anybody found."""

import subprocess
import sys
from pathlib import Path

import pytest

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cli.tables import interval_cell, score_table
from histoscout.evaluation.bootstrap import Interval
from histoscout.evaluation.regions import ComparedSlide, score_regions
from histoscout.geometry.regions import Regions
from histoscout.network.model_folder import ModelFolder
from tests.evaluation.slides import BOX, MPP, discs

PROGRAM = Path(sys.executable).with_name("histoscout")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_a_model_is_measured_beside_the_baselines(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    done = run("evaluate", model.path, table, "-o", tmp_path / "out", "--device", "torch", "--quiet")
    assert done.returncode == 0, done.stderr
    for words in (
        "test patients",
        "model",
        "prevalence everywhere",
        "all tissue",
        "IoU >= .3",
        "1 patient:",
        "AUROC",
    ):
        assert words in done.stdout
    assert (tmp_path / "out" / "scores.json").is_file()


def test_outlines_are_measured_without_a_model(table: Path, tmp_path: Path) -> None:
    drawn = read_geojson(table.parent / "slide_3.geojson").regions
    write_geojson(drawn, tmp_path / "found" / "slide_3.geojson")
    done = run("evaluate", tmp_path / "found", table, "-o", tmp_path / "out", "--positive", "UDH")
    assert done.returncode == 0, done.stderr
    assert "4 of 4 lesions found, 0 false findings" in done.stdout
    assert "AUROC" not in done.stdout


@pytest.mark.parametrize(
    ("option", "words"), [("--positive", "a model has its own"), ("--recipe", "a model has")]
)
def test_what_a_model_says_itself_is_not_asked_for(
    model: ModelFolder, table: Path, tmp_path: Path, option: str, words: str
) -> None:
    done = run("evaluate", model.path, table, "-o", tmp_path / "out", option, "UDH")
    assert done.returncode == 2
    assert option in done.stderr
    assert words in done.stderr


def test_a_folder_that_is_neither_is_refused_in_one_line(table: Path, tmp_path: Path) -> None:
    done = run("evaluate", tmp_path, table, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "neither a model folder nor a folder with outlines" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_table_says_what_could_not_be_computed() -> None:
    scores = score_regions([ComparedSlide("slide", Regions(), discs([(60, 60, 20)]), BOX, MPP)])
    text = score_table(scores)
    assert "0 of 0 lesions found, 1 false findings" in text
    assert interval_cell(Interval(None)) == "-"
    assert interval_cell(Interval(0.25)) == "0.250"
    assert interval_cell(Interval(0.25, 0.1, 0.5)) == "0.250 (0.100..0.500)"
