"""A wish becomes the score that meets it, or is refused with what is reachable."""

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
    ("typed", "wish"),
    [
        ("1 FP/cm2", OperatingTarget("false positives", 1)),
        (" .5 false alarms per cm² ", OperatingTarget("false positives", 0.5)),
        ("Sensitivity 0.9", OperatingTarget("sensitivity", 0.9)),
        ("sensitivity=90%", OperatingTarget("sensitivity", 0.9)),
        ("precision 1", OperatingTarget("precision", 1)),
        ("miss 10 %", OperatingTarget("miss", 0.1)),
    ],
)
def test_wishes_as_they_are_typed(typed: str, wish: OperatingTarget) -> None:
    assert OperatingTarget.parse(typed) == wish
    assert OperatingTarget.parse(str(wish)) == wish


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
def test_what_is_no_wish_is_refused_with_examples(typed: str) -> None:
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
def test_the_cut_off_that_meets_a_wish_and_finds_most(typed: str, score: float) -> None:
    point = choose_operating_point(TABLE, OperatingTarget.parse(typed), "model")
    assert point.score_threshold == score
    assert "3 tuning patients with 10 lesions on 2 cm2, optimistic" in point.expected
    assert point.chosen_by == ("a", "b", "c")


@given(st.sampled_from(["false alarms", "sensitivity", "precision"]), st.floats(0.01, 1))
def test_what_is_chosen_meets_the_wish(kind: str, amount: float) -> None:
    wish = OperatingTarget(kind, amount)  # type: ignore[arg-type]
    if kind == "sensitivity" and amount > 0.9:
        with pytest.raises(ModelError, match="is not reached at any score"):
            choose_operating_point(TABLE, wish, "model")
        return
    point = choose_operating_point(TABLE, wish, "model")
    (row,) = (row for row in POINTS if row.score == point.score_threshold)
    figures = TABLE.metrics(row)
    if kind == "false alarms":
        assert figures["false_per_cm2"] <= amount
    else:
        assert figures[kind] >= amount - 1e-9


def test_what_cannot_be_had_is_told_with_what_can() -> None:
    with pytest.raises(ModelError, match=r"sensitivity 0\.9, 20 false alarms per cm2"):
        choose_operating_point(TABLE, OperatingTarget.parse("sensitivity 0.95"), "model")
    poor = TABLE.model_copy(update={"points": POINTS[2:]})
    with pytest.raises(ModelError, match=r'"1 FP/cm2" is not reached.*0\.5.*2 false alarms per cm2'):
        choose_operating_point(poor, OperatingTarget.parse("1 FP/cm2"), "model")
    with pytest.raises(ModelError, match=r"precision 0\.666"):
        choose_operating_point(poor, OperatingTarget.parse("precision 0.9"), "model")
    with pytest.raises(ModelError, match="no lesion was found at any score"):
        choose_operating_point(
            TABLE.model_copy(update={"points": ()}), OperatingTarget.parse("precision 0.9"), "model"
        )


@given(st.integers(1, 50), st.integers(0, 2000), st.floats(0.1, 50), st.integers(0, 20))
def test_what_is_told_to_be_reachable_is(found: int, false: int, cm2: float, missed: int) -> None:
    points = (OperatingRow(score=0.5, found=found, false_positives=false + 1),)
    table = TABLE.model_copy(update={"points": points, "lesions": found + missed + 1, "cm2": cm2})
    for wish, told in (
        ("sensitivity 1", r"sensitivity ([\d.]+),"),
        ("0.000001 FP/cm2", r", ([\d.]+) false alarms"),
        ("precision 1", r"precision ([\d.]+)\."),
    ):
        with pytest.raises(ModelError) as raised:
            choose_operating_point(table, OperatingTarget.parse(wish), "model")
        reachable = re.search(told, str(raised.value))
        assert reachable is not None
        again = f"{reachable[1]} FP/cm2" if "FP" in wish else f"{wish.split()[0]} {reachable[1]}"
        assert choose_operating_point(table, OperatingTarget.parse(again), "model").score_threshold == 0.5


@given(st.integers(1, 40), st.integers(20, 300))
def test_the_least_share_missed_that_is_told_can_be_promised(never: int, patients: int) -> None:
    assume(never + 1 < patients // 2)
    weakest = (0.0,) * never + (0.5,) * (patients - never)
    table = APART.model_copy(update={"weakest": weakest})
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


APART = TABLE.model_copy(
    update={"source": "test set", "weakest": tuple(number / 40 for number in range(1, 31))}
)


def test_a_promise_needs_patients_who_chose_nothing_and_enough_of_them() -> None:
    with pytest.raises(
        ModelError, match="only patients who chose nothing can give; this is of tuning patients"
    ):
        choose_operating_point(TABLE, OperatingTarget.parse("miss 0.1"), "model")
    with pytest.raises(ModelError, match="needs 49 patients with lesions who chose nothing; there are 30"):
        choose_operating_point(APART, OperatingTarget.parse("miss 0.02"), "scores")
    few = APART.model_copy(update={"weakest": APART.weakest[:19]})
    with pytest.raises(ModelError, match="needs 20 patients"):
        choose_operating_point(few, OperatingTarget.parse("miss 0.1"), "scores")


def test_a_promise_is_the_weakest_score_that_keeps_it() -> None:
    point = choose_operating_point(APART, OperatingTarget.parse("miss 0.1"), "scores")
    assert point.score_threshold == 3 / 40  # 3 of 31
    assert "with a chance of at least 0.9, a new patient" in point.expected
    hopeless = APART.model_copy(update={"weakest": (0.0,) * 5 + APART.weakest[5:]})
    with pytest.raises(
        ModelError, match=r"5 of 30 patients have a lesion that no score finds; at best miss 0\.194"
    ):
        choose_operating_point(hopeless, OperatingTarget.parse("miss 0.1"), "scores")
    assert (
        choose_operating_point(hopeless, OperatingTarget.parse("miss 0.194"), "scores").score_threshold
        == 6 / 40
    )


def test_the_file_holds_the_figures_and_comes_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "operating.json"
    path.write_text(json.dumps(TABLE.to_dict()), encoding="utf-8")
    assert OperatingPoints.read(tmp_path) == OperatingPoints.read(path) == TABLE
    written = json.loads(path.read_text(encoding="utf-8"))["points"][1]
    assert written == {
        "score": 0.8,
        "found": 5,
        "false": 1,
        "sensitivity": 0.5,
        "false_per_cm2": 0.5,
        "precision": 5 / 6,
    }


@pytest.mark.parametrize("text", ["", "[]", '{"points": 1}'])
def test_a_file_that_is_no_table_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "operating.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"operating\.json.*operating table"):
        OperatingPoints.read(tmp_path)
    with pytest.raises(ModelError, match="cannot be read"):
        OperatingPoints.read(tmp_path / "nowhere")


def test_words_for_the_ledger() -> None:
    point = choose_operating_point(TABLE, OperatingTarget.parse("2 FP/cm2"), "model")
    assert replace(point, score_threshold=0.51234).summary == "2 FP/cm2: score >= 0.5123"
