"""The whole command in miniature: every run, our recipe, the timings, the ablation's table, one report."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from histoscout.cli.study import plan_table, study_table
from histoscout.cohort.cohort import Cohort
from histoscout.errors import CohortError, OutputError
from histoscout.study.protocol import main_runs
from histoscout.study.study import StudyOptions, plan_study, repeat_study
from histoscout.study.working_recipe import read_working_result
from tests.study.miniature import SCALE

FIGURES = [
    "Table 1",
    "Table 2",
    "Table 3",
    "Figure 4",
    "Figure 5",
    "Figure 6",
    "Figures 7 and 8",
    "Figure 13",
]


@pytest.mark.slow
def test_the_whole_command_in_miniature(cohort: Cohort, tmp_path: Path) -> None:
    out, options = tmp_path / "study", StudyOptions(cohort=cohort, scale=SCALE, device="cpu")
    study = repeat_study(out, options)
    results = json.loads((out / "study.json").read_text("utf-8"))
    # the runs, among them the signature of the paper's Table 2
    assert list(results["runs"]) == list(main_runs())
    resnet = results["runs"]["resnet50-unet, as run"]["epochs"]["100"]["test"]["own"]
    assert resnet["recall"] > 0.98
    assert resnet["precision"] == pytest.approx(resnet["prevalence"], abs=0.02)
    # our recipe
    assert set(results["ours"]["whole"]) == {"left out", "referee"}
    assert results["ours"]["patients"] == {"training": ["A"], "left out": ["B"]}
    assert "our recipe" in study_table(results)
    # the report has every table and figure of the paper
    page = study.report.read_text("utf-8")
    assert [figure for figure in FIGURES if f"The paper&#39;s {figure}" not in page] == []
    # a second call makes nothing again, and another study is refused
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")}
    assert repeat_study(out, options).results == results
    assert before == {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")}
    with pytest.raises(OutputError) as error:
        repeat_study(out, replace(options, weights="imagenet"))
    assert error.value.where == str(out)


@pytest.mark.slow
def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    options = StudyOptions(scale=SCALE, device="cpu", faults=True, seeds=1)
    planned, other_minutes = plan_study(tmp_path / "none", options)
    assert not (tmp_path / "none").exists()
    assert all(run.steps > 0 and run.minutes > 0 for run in planned)
    assert all(run.name in plan_table(planned, other_minutes) for run in planned)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("sun", encoding="utf-8")
    with pytest.raises(OutputError) as error:
        repeat_study(tmp_path, StudyOptions(scale=SCALE))
    assert error.value.where == str(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_missing_slides_are_reported_before_the_folder_is_claimed(cohort: Cohort, tmp_path: Path) -> None:
    one_patient = replace(cohort, cases=cohort.cases[:2])
    with pytest.raises(CohortError) as error:
        repeat_study(tmp_path / "study", StudyOptions(cohort=one_patient, scale=SCALE))
    assert error.value.where == str(cohort.where)
    with pytest.raises(CohortError, match="BRACS_1494"):
        repeat_study(tmp_path / "study", StudyOptions(data=tmp_path, scale=SCALE))
    assert not (tmp_path / "study").exists()


def test_a_result_of_version_0_1_is_read_with_the_keys_of_today(tmp_path: Path) -> None:
    old = {
        "patients": {"learnt from": ["A"], "left out": ["B"]},
        "window_um": 512.0,
        "guards": [],
        "lesion": {"counts": {"lesions": 3, "found": 2, "false": 1}},
        "per_patient": [{"patient": "B", "lesions": 3, "found": 2, "false": 1}],
    }
    (tmp_path / "result.json").write_text(json.dumps(old), encoding="utf-8")
    result = read_working_result(tmp_path / "result.json")
    assert result["patients"]["training"] == ["A"]
    assert (result["patch_um"], result["sanity_checks"]) == (512.0, [])
    for counts in (result["lesion"]["counts"], result["per_patient"][0]):
        assert (counts["lesions"], counts["true_positives"], counts["false_positives"]) == (3, 2, 1)
