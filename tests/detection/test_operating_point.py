"""An operating target becomes the score that meets it, or an error that names what can be reached."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from histoscout.detection.operating_point import (
    OperatingPoints,
    OperatingRow,
    OperatingTarget,
    choose_operating_point,
    required_patients,
)
from histoscout.errors import ModelError
from histoscout.io.inputs import seal

POINTS = (
    OperatingRow(score=0.9, found=2, false_positives=0),
    OperatingRow(score=0.8, found=5, false_positives=1),
    OperatingRow(score=0.5, found=8, false_positives=4),
    OperatingRow(score=0.2, found=9, false_positives=40),
)
TABLE = OperatingPoints(
    source="tuning set",
    threshold=0.4,
    rule="iou_0.3",
    patients=("a", "b", "c"),
    slides=4,
    lesions=10,
    cm2=2.0,
    points=POINTS,
    weakest=(0.0, 0.4, 0.8),
)


@pytest.mark.parametrize(
    ("typed", "target"),
    [
        ("1 FP/cm2", OperatingTarget("false positives", 1)),
        (" .5 false alarms per cm² ", OperatingTarget("false positives", 0.5)),
        ("Sensitivity 0.9", OperatingTarget("sensitivity", 0.9)),
        ("sensitivity=90%", OperatingTarget("sensitivity", 0.9)),
        ("precision 1", OperatingTarget("precision", 1)),
        ("miss 10 %", OperatingTarget("miss", 0.1)),
    ],
)
def test_targets_are_read_as_typed(typed: str, target: OperatingTarget) -> None:
    assert OperatingTarget.parse(typed) == target
    assert OperatingTarget.parse(str(target)) == target


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "1",
        "FP/cm2",
        "1 FP/slide",
        "sensitivity 1.2",
        "sensitivity 0",
        "miss 1",
        "50 % FP/cm2",
        "-1 FP/cm2",
    ],
)
def test_an_invalid_target_is_refused_with_examples(typed: str) -> None:
    with pytest.raises(ModelError, match=r'"1 FP/cm2", "sensitivity 0\.9"'):
        OperatingTarget.parse(typed)


@pytest.mark.parametrize(
    ("typed", "score"),
    [
        ("0.4 FP/cm2", 0.9),
        ("0.5 FP/cm2", 0.8),
        ("2 FP/cm2", 0.5),
        ("100 FP/cm2", 0.2),
        ("sensitivity 0.1", 0.9),
        ("sensitivity 0.8", 0.5),
        ("sensitivity 0.81", 0.2),
        ("precision 0.9", 0.9),
        ("precision 0.66", 0.5),
    ],
)
def test_the_score_that_meets_the_target_and_finds_most_is_chosen(typed: str, score: float) -> None:
    point = choose_operating_point(TABLE, OperatingTarget.parse(typed), "model")
    assert point.score_threshold == score
    assert "10 lesions on 2 cm2, optimistic" in point.expected
    assert point.chosen_by == ("a", "b", "c")


@given(st.sampled_from(["false positives", "sensitivity", "precision"]), st.floats(0.01, 1))
def test_the_chosen_score_meets_the_target(kind: str, amount: float) -> None:
    target = OperatingTarget(kind, amount)  # type: ignore[arg-type]
    if kind == "sensitivity" and amount > 0.9:
        with pytest.raises(ModelError, match="sensitivity"):
            choose_operating_point(TABLE, target, "model")
        return
    point = choose_operating_point(TABLE, target, "model")
    (row,) = (row for row in POINTS if row.score == point.score_threshold)
    metrics = TABLE.metrics(row)
    if kind == "false positives":
        assert metrics["fp_per_cm2"] <= amount
    else:
        assert metrics[kind] >= amount - 1e-9


def test_an_unmet_target_names_what_can_be_reached() -> None:
    with pytest.raises(ModelError, match=r"sensitivity 0\.9, 20 false positives"):
        choose_operating_point(TABLE, OperatingTarget.parse("sensitivity 0.95"), "model")
    poor = TABLE.model_copy(update={"points": POINTS[2:]})
    with pytest.raises(ModelError, match=r'"1 FP/cm2" is not reached.*0\.5.*2 false positives'):
        choose_operating_point(poor, OperatingTarget.parse("1 FP/cm2"), "model")
    with pytest.raises(ModelError, match=r"precision 0\.666"):
        choose_operating_point(poor, OperatingTarget.parse("precision 0.9"), "model")
    with pytest.raises(ModelError, match="no lesion"):
        choose_operating_point(
            TABLE.model_copy(update={"points": ()}), OperatingTarget.parse("precision 0.9"), "model"
        )


@given(st.integers(1, 50), st.integers(0, 2000), st.floats(0.1, 50), st.integers(0, 20))
def test_what_an_error_calls_reachable_is_reachable(found: int, false: int, cm2: float, missed: int) -> None:
    points = (OperatingRow(score=0.5, found=found, false_positives=false + 1),)
    table = TABLE.model_copy(update={"points": points, "lesions": found + missed + 1, "cm2": cm2})
    for target, pattern in (
        ("sensitivity 1", r"sensitivity ([\d.]+),"),
        ("0.000001 FP/cm2", r", ([\d.]+) false positives"),
        ("precision 1", r"precision ([\d.]+)\."),
    ):
        with pytest.raises(ModelError) as raised:
            choose_operating_point(table, OperatingTarget.parse(target), "model")
        reachable = re.search(pattern, str(raised.value))
        assert reachable is not None
        again = f"{reachable[1]} FP/cm2" if "FP" in target else f"{target.split()[0]} {reachable[1]}"
        assert choose_operating_point(table, OperatingTarget.parse(again), "model").score_threshold == 0.5


@given(st.integers(1, 40), st.integers(20, 300))
def test_the_least_miss_rate_of_an_error_can_be_guaranteed(never: int, patients: int) -> None:
    assume(never + 1 < patients // 2)
    weakest = (0.0,) * never + (0.5,) * (patients - never)
    table = TEST_SET.model_copy(update={"weakest": weakest})
    share = never / (patients + 1)
    assert patients >= required_patients(share)
    with pytest.raises(ModelError) as raised:
        choose_operating_point(table, OperatingTarget("miss", share), "scores")
    reachable = re.search(r"at best miss ([\d.]+)\.", str(raised.value))
    assert reachable is not None
    assert (
        choose_operating_point(table, OperatingTarget.parse(f"miss {reachable[1]}"), "scores").score_threshold
        == 0.5
    )


TEST_SET = TABLE.model_copy(
    update={"source": "test set", "weakest": tuple(number / 40 for number in range(1, 31))}
)


def test_a_guarantee_needs_enough_patients_of_a_test_set() -> None:
    with pytest.raises(ModelError, match="tuning set"):
        choose_operating_point(TABLE, OperatingTarget.parse("miss 0.1"), "model")
    with pytest.raises(ModelError, match=r"49 patients.* 30"):
        choose_operating_point(TEST_SET, OperatingTarget.parse("miss 0.02"), "scores")
    few = TEST_SET.model_copy(update={"weakest": TEST_SET.weakest[:19]})
    with pytest.raises(ModelError, match="20 patients"):
        choose_operating_point(few, OperatingTarget.parse("miss 0.1"), "scores")


def test_a_guarantee_is_the_lowest_score_that_meets_it() -> None:
    point = choose_operating_point(TEST_SET, OperatingTarget.parse("miss 0.1"), "scores")
    assert point.score_threshold == 3 / 40  # 3 of 31
    assert "at least 0.9," in point.expected
    hopeless = TEST_SET.model_copy(update={"weakest": (0.0,) * 5 + TEST_SET.weakest[5:]})
    with pytest.raises(ModelError, match=r"5 of 30 patients.* miss 0\.194"):
        choose_operating_point(hopeless, OperatingTarget.parse("miss 0.1"), "scores")
    assert (
        choose_operating_point(hopeless, OperatingTarget.parse("miss 0.194"), "scores").score_threshold
        == 6 / 40
    )


def test_the_file_holds_metrics_and_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "operating_points.json"
    path.write_text(json.dumps(TABLE.to_dict()), encoding="utf-8")
    assert OperatingPoints.read(tmp_path) == OperatingPoints.read(path) == TABLE
    written = json.loads(path.read_text(encoding="utf-8"))["points"][1]
    assert written == {
        "score": 0.8,
        "found": 5,
        "false_positives": 1,
        "sensitivity": 0.5,
        "fp_per_cm2": 0.5,
        "precision": 5 / 6,
    }


@pytest.mark.parametrize("text", ["", "[]", '{"points": 1}'])
def test_a_file_without_operating_points_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "operating_points.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"operating_points\.json"):
        OperatingPoints.read(tmp_path)
    with pytest.raises(ModelError, match="nowhere"):
        OperatingPoints.read(tmp_path / "nowhere")


def test_words_for_the_ledger() -> None:
    point = choose_operating_point(TABLE, OperatingTarget.parse("2 FP/cm2"), "model")
    assert replace(point, score_threshold=0.51234).summary == "2 FP/cm2: score >= 0.5123"


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "operating_points.json"
    sealed = seal(TABLE.to_dict())
    path.write_text(json.dumps(sealed), encoding="utf-8")
    assert OperatingPoints.read(path) == TABLE
    path.write_text(json.dumps({**sealed, "lesions": TABLE.lesions + 1}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"operating_points\.json"):
        OperatingPoints.read(path)
