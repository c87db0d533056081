"""`histoscout evaluate`: a model, or detections of any origin."""

from pathlib import Path

import pytest

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cli.tables import interval_cell, score_table
from histoscout.evaluation.bootstrap import ConfidenceInterval
from histoscout.evaluation.regions import score_regions
from histoscout.geometry.regions import Regions
from histoscout.network.model_folder import ModelFolder
from tests.cli.program import assert_refused, run
from tests.evaluation.slides import comparison, discs


def test_a_model_is_evaluated_beside_the_baselines(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    result = run("evaluate", model.path, table, "-o", tmp_path / "out", "--device", "torch", "--quiet")
    assert result.returncode == 0, result.stderr
    rows = {line.partition("  ")[0] for line in result.stdout.splitlines()}
    assert {"model", "nothing", "prevalence everywhere", "all tissue"} <= rows
    for words in ("AUROC", "FP per cm2", "1 slide of 1 patient,"):
        assert words in result.stdout
    assert (tmp_path / "out" / "scores.json").is_file()
    assert (tmp_path / "out" / "report.html").is_file()


def test_detections_are_evaluated_without_a_model(table: Path, tmp_path: Path) -> None:
    lesions = read_geojson(table.parent / "slide_3.geojson").regions
    write_geojson(lesions, tmp_path / "found" / "slide_3.geojson")
    result = run("evaluate", tmp_path / "found", table, "-o", tmp_path / "out", "--positive", "UDH")
    assert result.returncode == 0, result.stderr
    assert "4 of 4 lesions detected, 0 false positives" in result.stdout
    assert "AUROC" not in result.stdout


@pytest.mark.parametrize("option", ["--positive", "--recipe"])
def test_options_for_detections_are_refused_for_a_model(
    model: ModelFolder, table: Path, tmp_path: Path, option: str
) -> None:
    result = run("evaluate", model.path, table, "-o", tmp_path / "out", option, "UDH")
    assert result.returncode == 2
    assert_refused(result, option, "recipe")


@pytest.mark.parametrize("option", [("--review", 3), ("--split", "tuning"), ("--at", "1 FP/cm2")])
def test_options_for_a_model_are_refused_for_detections(
    table: Path, tmp_path: Path, option: tuple[str, object]
) -> None:
    result = run("evaluate", tmp_path, table, "-o", tmp_path / "out", *option)
    assert result.returncode == 2
    assert_refused(result, option[0], "model folder")


def test_a_folder_that_is_neither_is_refused(table: Path, tmp_path: Path) -> None:
    result = run("evaluate", tmp_path, table, "-o", tmp_path / "out")
    assert result.returncode == 1
    assert_refused(result, str(tmp_path), "model")


def test_the_table_has_dashes_for_what_could_not_be_computed() -> None:
    scores = score_regions([comparison(Regions(), discs([(60, 60, 20)]))])
    text = score_table(scores)
    assert "0 of 0 lesions detected, 1 false positive on" in text
    assert interval_cell(ConfidenceInterval(value=None)) == "-"
    assert interval_cell(ConfidenceInterval(value=0.25)) == "0.250"
    assert interval_cell(ConfidenceInterval(value=0.25, low=0.1, high=0.5)) == "0.250 (0.100..0.500)"
