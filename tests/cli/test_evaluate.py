"""`histoscout evaluate`: a model, or detections of any origin."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cli.tables import TERMINAL_WIDTH, answer_text, interval_cell, ledger_table, score_table
from histoscout.detection.results import LedgerRow
from histoscout.evaluation.bootstrap import ConfidenceInterval
from histoscout.evaluation.regions import SlideComparison, score_regions
from histoscout.geometry.regions import Regions
from histoscout.network.model_folder import ModelFolder
from tests.cli.program import assert_refused, run
from tests.evaluation.slides import COHORTS, comparison, discs


def test_a_model_is_evaluated_beside_the_baselines(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    options = ("--device", "torch", "--quiet", "--verbose")
    result = run("evaluate", model.path, table, "-o", tmp_path / "out", *options)
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
    assert "all 4 UDH lesions found; no false positives" in result.stdout.replace("\n", " ")
    assert max(map(len, result.stdout.partition("scores:")[0].splitlines())) <= TERMINAL_WIDTH
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
    assert interval_cell(ConfidenceInterval(value=0.25)) == ".25"
    assert interval_cell(ConfidenceInterval(value=0.25, low=0.1, high=0.5)) == ".25 [.10, .50]"
    assert interval_cell(ConfidenceInterval(value=12.5, low=9.0, high=20.0)) == "12.5 [9.0, 20.0]"


@settings(max_examples=25)
@given(COHORTS)
def test_the_answer_fits_a_terminal(slides: tuple[SlideComparison, ...]) -> None:
    text = answer_text(score_regions(list(slides)))
    assert max(map(len, text.splitlines())) <= TERMINAL_WIDTH


ROWS = st.builds(
    LedgerRow,
    slide=st.text("aB 1-", min_size=1, max_size=80),
    state=st.sampled_from(["done", "failed"]),
    regions=st.integers(0, 100_000),
    seconds=st.floats(0, 1e5),
    tissue_mm2=st.floats(0, 1e4),
    reason=st.just("a reason " * 20),
)


@given(st.lists(ROWS, min_size=1, max_size=40))
def test_the_table_of_slides_fits_a_terminal(rows: list[LedgerRow]) -> None:
    lines = ledger_table(rows).splitlines()
    assert max(map(len, lines[1:])) <= TERMINAL_WIDTH
    assert len(lines) <= 25
    assert sum(row.regions for row in rows if row.state == "done") == int(
        lines[0].split()[0].replace(",", "")
    )
