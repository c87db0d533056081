"""An evaluation is stopped by what was learnt from, and tells what does not fit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from histoscout.cohort.cohort import read_cohort
from histoscout.detection.operating_point import Operating, Wish, choose
from histoscout.errors import CohortError, ModelError
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.leakage import LEAKS, guard_evaluation, leak_in
from histoscout.network.model_folder import ModelFolder
from tests import toy


def test_patients_kept_apart_pass_every_guard(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    scores = evaluate(model, table, tmp_path, EvaluateOptions(device="torch"))
    assert [verdict.state for verdict in scores.sanity_checks] == ["good"] * 4, scores.sanity_checks
    told = json.loads((tmp_path / "scores.json").read_text())["sanity_checks"]
    assert {one["name"] for one in told} >= {
        "no slide or patient in two sets",
        "figures named after their set",
    }
    assert {one["name"] for one in told} >= LEAKS
    assert leak_in(scores.sanity_checks) == ""


def test_a_copy_of_a_training_slide_under_another_name_stops(model: ModelFolder, tmp_path: Path) -> None:
    toy.write_cohort(tmp_path)
    for suffix in (".tif", ".geojson"):
        shutil.move(tmp_path / f"slide_0{suffix}", tmp_path / f"renamed{suffix}")
    table = tmp_path / "cohort.csv"
    table.write_text("slide,patient,split\nrenamed.tif,somebody new,test\n")
    with pytest.raises(CohortError, match="slide_0 = renamed") as raised:
        evaluate(model, table, tmp_path / "out", EvaluateOptions(device="torch"))
    assert "--guards tell" in str(raised.value)
    assert not (tmp_path / "out" / "found").exists()
    scores = evaluate(model, table, tmp_path / "told", EvaluateOptions(device="torch", sanity_checks="warn"))
    assert "failed" in {verdict.state for verdict in scores.sanity_checks}
    assert scores.exam.optimistic
    assert "learnt from" in scores.exam.on
    assert not any("kept apart" in sentence for sentence in scores.claims)
    assert any("slide_0 = renamed" in sentence for sentence in scores.claims)
    table_of_cut_offs = Operating.read(tmp_path / "told")
    assert "optimistic" in table_of_cut_offs.basis
    with pytest.raises(ModelError, match="this is of patients in part learnt from"):
        choose(table_of_cut_offs, Wish.parse("miss 0.1"), "told")


def test_h_metrics_on_all_stops(model: ModelFolder, table: Path) -> None:
    with pytest.raises(CohortError, match="learnt from: patient 0, patient 1, patient 2"):
        guard_evaluation(model, read_cohort(table).cases, "test")


def test_tuning_patients_may_be_judged_where_they_are_called_so(model: ModelFolder, table: Path) -> None:
    cases = read_cohort(table).in_split("tune").cases
    states = {verdict.name: verdict.state for verdict in guard_evaluation(model, cases, "tune")}
    assert states["figures named after their set"] == states["no slide or patient in two sets"] == "good"


def test_k_narrow_view_is_told(model: ModelFolder, table: Path) -> None:
    narrow = replace(model, recipe=model.recipe.with_choices({"patches.size_um": 32.0, "patches.mpp": 1.0}))
    verdicts = guard_evaluation(narrow, read_cohort(table).in_split("test").cases, "test")
    states = {verdict.name: verdict.state for verdict in verdicts}
    assert states["field of view against lesion size"] == "warning"
