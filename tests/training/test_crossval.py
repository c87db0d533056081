"""Cross-validation on the toy: everybody judged once and unseen, recipes compared in pairs, a killed run goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histoscout.cohort.cohort import read_cohort
from histoscout.cohort.folds import draw_folds, write_folds
from histoscout.errors import CohortError, OutputError, RecipeError
from histoscout.evaluation.out_of_fold import (
    Crossval,
    RecipeResult,
    crossval_to_dict,
    pixels_to_area,
)
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.recipe import Recipe
from histoscout.training.crossval import CrossvalOptions, crossval, plan_fold
from histoscout.training.planning.plan import plan_file
from histoscout.training.run_folder import check_choices, write_choices
from tests import toy

pytestmark = pytest.mark.slow

SMALL = {
    f"{part}.{name}": value
    for part in ("network", "training", "patches", "tissue")
    for name, value in toy.CHOICES[part].items()
} | {"training.minutes": None, "training.epochs": 1, "training.steps_per_epoch": 4}
OPTIONS = CrossvalOptions(folds=2, choices=SMALL, positive="UDH", device="torch", sanity_checks="warn")
RECIPES: dict[str, Recipe | None] = {"drawn": toy.RECIPE, "plan": None}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.write_cohort(tmp_path_factory.mktemp("five"), patients=5, splits=())


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out") / "folds"


@pytest.fixture(scope="module")
def whole(cohort: Path, out: Path) -> Crossval:
    return crossval(cohort, out, RECIPES, OPTIONS)


def test_every_patient_is_judged_once_by_a_model_that_has_not_seen_him(whole: Crossval, cohort: Path) -> None:
    everybody = list(read_cohort(cohort).patients)
    for arm in whole.recipes:
        assert sorted(slide.patient for _, slide in arm.slides) == everybody
        for fold in arm.folds:
            apart, seen = set(fold.scores.patients), {*fold.train_patients, *fold.tune_patients}
            assert fold.tune_patients
            if arm.name == "drawn":  # one network; those of the plan tune on other patients in turn
                assert not set(fold.train_patients) & set(fold.tune_patients)
            assert (apart | seen, apart & seen) == (set(everybody), set())
    one, other = whole.recipes
    assert [fold.scores.patients for fold in one.folds] == [fold.scores.patients for fold in other.folds]


def test_each_fold_plans_from_the_patients_it_learns_from(whole: Crossval, out: Path) -> None:
    for number in whole.folds.numbers:
        planned = plan_file(out / "plan" / f"fold-{number}" / "model").read_text(encoding="utf-8")
        left = 5 - len(whole.folds.of(number))
        assert f"for {left} annotated slides of {left} patients" in planned


def test_a_fold_is_planned_for_the_minutes_it_has(cohort: Path, tmp_path: Path) -> None:
    """How many networks share them depends on it; a day is enough for several on any machine, a minute on none."""
    members = [
        plan_fold(
            read_cohort(cohort), tmp_path, replace(OPTIONS, choices={"training.minutes": minutes})
        ).recipe.network.ensemble_size
        for minutes in (1, 1440)
    ]
    assert members == [1, 3]


def test_figures_are_pooled_at_each_folds_own_threshold(whole: Crossval) -> None:
    arm = whole.recipes[0]
    together = PixelCounts.total(pixels_to_area(slide.pixels, fold.mpp) for fold, slide in arm.slides)
    figures = whole.metrics[arm.name]
    assert figures["ap"].value == pytest.approx(together.ap)
    seen = [slide.pixels.confusion(fold.scores.threshold) for fold, slide in arm.slides]
    hits, wrong = sum(each.tp for each in seen), sum(each.fp + each.fn for each in seen)
    assert figures["dice"].value == pytest.approx(2 * hits / (2 * hits + wrong))
    assert figures["ap"].estimable
    low, high = figures["ap"].low, figures["ap"].high
    assert low is not None
    assert high is not None
    assert low <= (figures["ap"].value or 0) <= high


def test_a_recipe_is_no_better_than_itself_and_differences_turn_their_sign(whole: Crossval) -> None:
    one, other = whole.recipes
    twin = Crossval(
        positive="UDH", folds=whole.folds, recipes=(one, RecipeResult("twin", one.folds)), draws=200
    )
    for figure in twin.differences["drawn", "twin"].values():
        assert figure.value in (0, None)
        assert figure.low in (0, None)
    there = whole.differences["drawn", "plan"]["ap"]
    back = Crossval(positive="UDH", folds=whole.folds, recipes=(other, one)).differences["plan", "drawn"][
        "ap"
    ]
    assert there.value is not None
    assert there.value == pytest.approx(-(back.value or 0))
    assert there.low == pytest.approx(-(back.high or 0))
    values = [whole.metrics[name]["ap"].value or 0 for name in ("drawn", "plan")]
    assert there.value == pytest.approx(values[1] - values[0])


def test_scale_does_not_count_a_patient_for_more(whole: Crossval) -> None:
    """Pixels half as wide are four times as many and mean the same."""
    fold, slide = whole.recipes[0].slides[0]
    finer = PixelCounts(slide.pixels.positive * 4, slide.pixels.negative * 4)
    one, other = pixels_to_area(slide.pixels, fold.mpp), pixels_to_area(finer, fold.mpp / 2)
    assert np.allclose(one.positive, other.positive)


def test_the_file_holds_every_figure(whole: Crossval, out: Path) -> None:
    held = json.loads((out / "crossval.json").read_text("utf-8"))
    assert held == crossval_to_dict(whole)
    assert held["folds"] == [list(patients) for patients in whole.folds.patients]
    assert held["differences"][0]["metrics"]["ap"].keys() >= {"value", "low", "high"}
    assert all(len(recipe["folds"]) == 2 for recipe in held["recipes"].values())


KILLED = """
import sys
from pathlib import Path
from histoscout.training import checkpoint
from tests.training.test_crossval import OPTIONS, RECIPES, crossval
checkpoint.SAVE_SECONDS = 0.0
crossval(Path(sys.argv[1]), Path(sys.argv[2]), {"drawn": RECIPES["drawn"]}, OPTIONS)
"""


def test_a_run_killed_and_started_again_gives_the_same(cohort: Path, whole: Crossval, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    first, second = (out / "drawn" / f"fold-{number}" for number in (1, 2))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = subprocess.Popen([sys.executable, "-c", KILLED, str(cohort), str(out)], env=environment)
    deadline = time.monotonic() + 240
    while not (second / "model" / "training" / "split.csv").exists() and time.monotonic() < deadline:
        assert running.poll() is None, "ended before it could be killed"
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    finished = first / "model" / "detector.safetensors"
    before = finished.stat().st_mtime_ns
    assert not (second / "model" / "model.json").exists(), "killed too late to test anything"
    again = crossval(cohort, out, {"drawn": toy.RECIPE}, OPTIONS)
    assert finished.stat().st_mtime_ns == before
    assert again.metrics["drawn"] == whole.metrics["drawn"]
    assert [fold.scores.threshold for fold in again.recipes[0].folds] == [
        fold.scores.threshold for fold in whole.recipes[0].folds
    ]


def test_folds_made_one_by_one_are_the_folds_made_in_one_go(
    cohort: Path, whole: Crossval, tmp_path: Path
) -> None:
    out, recipes = tmp_path / "folds", {"drawn": toy.RECIPE}
    out.mkdir()
    (out / ".1.part.folds.csv").write_text("fold,pat")  # another job, begun in the same moment, is writing it
    second = crossval(cohort, out, recipes, replace(OPTIONS, fold=2))
    assert second.patients == whole.folds.of(2)
    assert not (out / "crossval.json").exists()
    crossval(cohort, out, recipes, replace(OPTIONS, fold=1))
    together = crossval(cohort, out, recipes, OPTIONS)
    assert together.metrics["drawn"] == whole.metrics["drawn"]
    assert (out / "crossval.json").exists()


@pytest.mark.parametrize("changes", [{"seed": 3}, {"folds": 3}])
def test_other_folds_do_not_go_into_the_same_folder(
    whole: Crossval, cohort: Path, out: Path, changes: dict[str, Any]
) -> None:
    options = CrossvalOptions(**{"folds": 2, "choices": SMALL, **changes})
    with pytest.raises(OutputError, match="other folds"):
        crossval(cohort, out, {"drawn": toy.RECIPE}, options)


def test_planned_folds_go_on_with_the_choices_they_were_begun_with_only(cohort: Path, tmp_path: Path) -> None:
    six = {"training.minutes": 6.0, "training.epochs": None}
    arm = tmp_path / "plan"
    write_choices(arm / "fold-1", six)
    check_choices(arm, {})  # never took a step: begun anew
    (arm / "fold-1" / "model" / "training").mkdir(parents=True)
    (arm / "fold-1" / "model" / "training" / "budget.json").write_text("{}")
    write_choices(arm / "fold-1", {})
    check_choices(arm, {"training.minutes": 6})
    folds = draw_folds({f"patient {number}": True for number in range(5)}, 2, 0, "cohort")
    write_folds(folds, tmp_path / "folds.csv")
    for choices, told in (({}, "no such choice"), ({"training.epochs": 2}, "training.epochs = 2")):
        options = CrossvalOptions(folds=2, fold=2, positive="UDH", choices=choices)
        with pytest.raises(OutputError, match=rf"training\.minutes = 6\.0.* {told}"):
            crossval(cohort, tmp_path, None, options)
    assert not (arm / "fold-2").exists()


def test_what_is_refused_before_anything_is_trained(cohort: Path, tmp_path: Path) -> None:
    other = toy.RECIPE.with_choices({"classes.positive": "ADH", "classes.other": ["UDH"]})
    with pytest.raises(RecipeError, match="different classes: ADH, UDH"):
        crossval(cohort, tmp_path / "a", {"one": toy.RECIPE, "two": other}, OPTIONS)
    with pytest.raises(RecipeError, match="one/two"):
        crossval(cohort, tmp_path / "a", {"one/two": toy.RECIPE}, OPTIONS)
    with pytest.raises(RecipeError, match="--positive"):
        crossval(cohort, tmp_path / "a")
    with pytest.raises(CohortError, match="too few for 9 folds"):
        crossval(cohort, tmp_path / "a", {"one": toy.RECIPE}, CrossvalOptions(folds=9))
    with pytest.raises(CohortError, match="no fold 3"):
        crossval(cohort, tmp_path / "a", {"one": toy.RECIPE}, replace(OPTIONS, fold=3))
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not a cross-validation"):
        crossval(cohort, tmp_path, {"one": toy.RECIPE}, OPTIONS)
    assert not (tmp_path / "a").exists()
