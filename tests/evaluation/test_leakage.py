"""An evaluation stops at slides that the model was trained on, and warns of what does not fit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from histoscout.cohort.cohort import read_cohort
from histoscout.cohort.leakage import DISJOINT_SETS, KNOWN_PATIENTS, LEAK_CHECKS, leak_message
from histoscout.detection.operating_point import OperatingPoints
from histoscout.errors import CohortError
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.leakage import check_evaluation
from histoscout.network.model_folder import ModelFolder
from tests import toy


def test_held_out_patients_pass_every_check(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    scores = evaluate(model, table, tmp_path, EvaluateOptions(device="torch"))
    assert [verdict.state for verdict in scores.sanity_checks] == ["good"] * 4, scores.sanity_checks
    written = json.loads((tmp_path / "scores.json").read_text())["sanity_checks"]
    assert {verdict["name"] for verdict in written} >= LEAK_CHECKS
    assert leak_message(scores.sanity_checks) == ""


def test_a_copy_of_a_training_slide_under_another_name_stops(model: ModelFolder, tmp_path: Path) -> None:
    toy.write_cohort(tmp_path)
    for suffix in (".tif", ".geojson"):
        shutil.move(tmp_path / f"slide_0{suffix}", tmp_path / f"renamed{suffix}")
    table = tmp_path / "cohort.csv"
    table.write_text("slide,patient,split\nrenamed.tif,somebody new,test\n")
    with pytest.raises(CohortError) as raised:
        evaluate(model, table, tmp_path / "out", EvaluateOptions(device="torch"))
    assert "slide_0 = renamed" in raised.value.fault
    assert "--sanity warn" in raised.value.remedy
    assert not (tmp_path / "out" / "found").exists()


def test_an_evaluation_on_a_copy_is_optimistic(model: ModelFolder, tmp_path: Path) -> None:
    toy.write_cohort(tmp_path)
    for suffix in (".tif", ".geojson"):
        shutil.move(tmp_path / f"slide_0{suffix}", tmp_path / f"renamed{suffix}")
    table = tmp_path / "cohort.csv"
    table.write_text("slide,patient,split\nrenamed.tif,somebody new,test\n")
    options = EvaluateOptions(device="torch", sanity_checks="warn")
    scores = evaluate(model, table, tmp_path / "out", options)
    assert "failed" in {verdict.state for verdict in scores.sanity_checks}
    assert scores.protocol.optimistic
    assert any("slide_0 = renamed" in sentence for sentence in scores.claims)
    assert OperatingPoints.read(tmp_path / "out").source == "test set with training patients"


def test_training_patients_stop(model: ModelFolder, table: Path) -> None:
    with pytest.raises(CohortError) as raised:
        check_evaluation(model, read_cohort(table).cases, "test")
    assert KNOWN_PATIENTS in str(raised.value.where)
    assert all(f"patient {number}" in raised.value.fault for number in range(3))


def test_tuning_patients_may_be_evaluated_as_such(model: ModelFolder, table: Path) -> None:
    cases = read_cohort(table).in_split("tune").cases
    states = {verdict.name: verdict.state for verdict in check_evaluation(model, cases, "tune")}
    assert states[KNOWN_PATIENTS] == states[DISJOINT_SETS] == "good"


def test_patches_smaller_than_lesions_are_a_warning(model: ModelFolder, table: Path) -> None:
    narrow = replace(model, recipe=model.recipe.with_choices({"patches.size_um": 32.0, "patches.mpp": 1.0}))
    verdicts = check_evaluation(narrow, read_cohort(table).in_split("test").cases, "test")
    assert [verdict.state for verdict in verdicts].count("warning") == 1
