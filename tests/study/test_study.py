"""The whole command in miniature: every run, our recipe, the timings, the ablation's table, one report."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from histoscout.cli.study_tables import plan_table, study_table
from histoscout.cohort.cohort import Cohort
from histoscout.errors import CohortError, OutputError, RecipeError
from histoscout.study import protocol
from histoscout.study.ablation import Spread, words_for
from histoscout.study.protocol import main_runs
from histoscout.study.slides import SCALES, scale_named
from histoscout.study.study import StudyOptions, plan_study, repeat_study
from tests.study.miniature import SCALE


@pytest.mark.slow
def test_the_whole_command_in_miniature(cohort: Cohort, tmp_path: Path) -> None:
    out, options = tmp_path / "study", StudyOptions(cohort=cohort, scale=SCALE, device="cpu")
    made = repeat_study(out, options)
    written = json.loads((out / "study.json").read_text("utf-8"))
    assert list(written["runs"]) == list(main_runs())
    resnet = written["runs"]["resnet50-unet, as run"]["epochs"]["100"]["test"]["own"]
    assert resnet["recall"] > 0.98
    assert resnet["precision"] == pytest.approx(resnet["prevalence"], abs=0.02)
    assert {"left out", "referee"} == set(written["ours"]["whole"])
    assert written["ours"]["patients"] == {"learnt from": ["A"], "left out": ["B"]}
    page = made.report.read_text("utf-8")
    for wanted in (
        "Table 1",
        "Table 2",
        "Table 3",
        "Figure 4",
        "Figure 5",
        "Figure 6",
        "Figures 7 and 8",
        "Figure 13",
    ):
        assert f"The paper&#39;s {wanted}" in page
    assert "spatial transcriptomics" in page
    assert "our recipe" in study_table(written)
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")}
    assert repeat_study(out, options).found == written
    assert before == {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")}
    with pytest.raises(OutputError, match="another scale"):
        repeat_study(out, replace(options, weights="imagenet"))


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    planned, other = plan_study(
        tmp_path / "none", StudyOptions(scale=SCALE, device="cpu", faults=True, seeds=1)
    )
    assert not (tmp_path / "none").exists()
    assert all(one.steps > 0 and one.minutes > 0 for one in planned)
    assert "nothing was written" in plan_table(planned, other)


def test_other_peoples_folders_and_unknown_scales_are_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("sun", encoding="utf-8")
    with pytest.raises(OutputError, match="holds no study"):
        repeat_study(tmp_path, StudyOptions(scale=SCALE))
    with pytest.raises(RecipeError, match="no scale"):
        scale_named("huge")


def test_one_patient_is_too_few(cohort: Cohort, tmp_path: Path) -> None:
    alone = replace(cohort, cases=cohort.cases[:2])
    with pytest.raises(CohortError, match="fewer than two patients"):
        repeat_study(tmp_path / "study", StudyOptions(cohort=alone, scale=SCALE))
    with pytest.raises(CohortError, match="BRACS_1494"):
        repeat_study(tmp_path / "study", StudyOptions(data=tmp_path, scale=SCALE))
    assert not (tmp_path / "study").exists()  # a folder is claimed when there is something to study


@pytest.mark.parametrize("rate", [protocol.RATE, *protocol.RATES])
def test_quick_holds_rate_times_steps(rate: float) -> None:
    quick, full = SCALES["quick"], SCALES["full"]
    steps = quick.steps_for(50, protocol.TRAINING_TILES)
    assert quick.rate(rate, 50, steps) * steps == pytest.approx(
        rate * full.steps_for(50, protocol.TRAINING_TILES)
    )
    assert full.rate(rate, 50, 1) == rate


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5], (0.5, None, None)),
        ([0.4, 0.5, 0.6], (0.5, 0.2516, 0.7484)),
        ([0.3, 0.3, 0.3], (0.3, 0.3, 0.3)),
    ],
)
def test_the_spread_over_seeds_is_students(values: Sequence[float], expected: tuple[float, ...]) -> None:
    found = Spread.of(values)
    assert (found.mean, found.low, found.high) == pytest.approx(expected, abs=1e-4, nan_ok=True) or len(
        values
    ) == 1


def test_fault_sets_in_words() -> None:
    assert words_for("unet", "ABCFGHIJK") == "all that the run had"
    assert words_for("unet", "none") == "none"
    assert words_for("unet", "A") == "displaced-masks alone"
    assert words_for("unet", "BCFGHIJK") == "all but displaced-masks"
