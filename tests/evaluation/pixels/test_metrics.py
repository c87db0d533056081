"""Pixel metrics, calibration and curves against scikit-learn."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    auc,
    average_precision_score,
    brier_score_loss,
    precision_recall_curve,
    roc_auc_score,
)
from sklearn.metrics import roc_curve as sklearn_roc

from histoscout.evaluation.bootstrap import bootstrap
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.evaluation.pixels.metrics import (
    BINS,
    MEAN_DICE,
    PIXEL_METRICS,
    brier,
    brier_skill,
    ece,
    join_statistics,
    mean_dice_statistic,
    pixel_statistic,
    pr_curve,
    prevalence_statistic,
    reliability,
    roc_curve,
    select_metrics,
)
from tests.evaluation.random_pixels import Pixels, pixels

PATIENTS = st.lists(pixels(), min_size=5, max_size=7)


@settings(max_examples=15)
@given(PATIENTS)
def test_intervals_are_those_of_scikit_learn_on_copied_patients(patients: list[Pixels]) -> None:
    counts = [PixelCounts.from_levels(*patient) for patient in patients]
    got = bootstrap(pixel_statistic(counts, 0.5, PIXEL_METRICS), len(patients), draws=40, seed=1)
    draws = np.random.default_rng(1).multinomial(len(patients), [1 / len(patients)] * len(patients), size=40)
    slow: dict[str, list[float]] = {"ap": [], "auroc": [], "brier": []}
    for draw in draws:
        copies = [patient for patient, times in zip(patients, draw, strict=True) for _ in range(times)]
        levels = np.concatenate([levels for levels, _ in copies]) / 255
        truth = np.concatenate([truth for _, truth in copies])
        slow["brier"].append(brier_score_loss(truth, levels, pos_label=True))
        if truth.any():
            slow["ap"].append(average_precision_score(truth, levels))
        if truth.any() and not truth.all():
            slow["auroc"].append(roc_auc_score(truth, levels))
    for name, figures in slow.items():
        assert got[name].undefined_draws == 40 - len(figures)
        if len(figures) >= 38 and got[name].value is not None:
            assert [got[name].low, got[name].high] == pytest.approx(
                np.percentile(figures, [2.5, 97.5]), abs=1e-6
            )
        else:
            assert not got[name].estimable


@given(PATIENTS)
def test_the_mean_dice_is_that_of_the_patients_with_lesions(patients: list[Pixels]) -> None:
    counts = [PixelCounts.from_levels(*patient) for patient in patients]
    dice = [each.metrics_at(0.5).dice for each in counts if each.positive.any()]
    got = mean_dice_statistic(counts, 0.5)(np.ones(len(patients)))[MEAN_DICE]
    assert got == (pytest.approx(np.mean([value or 0 for value in dice])) if dice else None)


@given(PATIENTS)
def test_saying_the_prevalence_has_the_metrics_that_scikit_learn_gives_it(patients: list[Pixels]) -> None:
    counts = [PixelCounts.from_levels(*patient) for patient in patients]
    truth = np.concatenate([truth for _, truth in patients])
    values = np.full(len(truth), truth.mean())
    got = prevalence_statistic(counts, PIXEL_METRICS)(np.ones(len(patients)))
    assert got["brier"] == pytest.approx(brier_score_loss(truth, values, pos_label=True), abs=1e-9)
    if truth.any():
        assert got["ap"] == pytest.approx(average_precision_score(truth, values))
    if truth.any() and not truth.all():
        assert (got["auroc"], got["brier_skill"], got["ece"]) == (0.5, 0, 0)
    assert got["dice"] is None


def test_statistics_join_and_part() -> None:
    both = join_statistics(lambda weights: {"a": 1.0, "b": 2.0}, lambda weights: {"c": None})
    assert both(np.ones(2)) == {"a": 1.0, "b": 2.0, "c": None}
    assert select_metrics(both, ("b", "c"))(np.ones(2)) == {"b": 2.0, "c": None}


# ---------------------------------------------------------------- calibration


@given(pixels())
def test_brier_score_is_that_of_scikit_learn(case: Pixels) -> None:
    levels, truth = case
    assert brier(PixelCounts.from_levels(levels, truth)) == pytest.approx(
        brier_score_loss(truth, levels / 255, pos_label=True), abs=1e-9
    )


@given(pixels())
def test_skill_compares_with_saying_the_prevalence(case: Pixels) -> None:
    levels, truth = case
    skill = brier_skill(PixelCounts.from_levels(levels, truth))
    if truth.all() or not truth.any():
        assert skill is None
    else:
        values = brier_score_loss(truth, np.full(len(truth), truth.mean()), pos_label=True)
        assert skill == pytest.approx(
            1 - brier_score_loss(truth, levels / 255, pos_label=True) / values, abs=1e-9
        )


@given(pixels())
def test_bins_are_those_of_pixels_cut_into_fifteen_pieces_each(case: Pixels) -> None:
    levels, truth = case
    # every pixel in as many pieces as there are bins, pieces of a level dealt out evenly: bins of equal number
    order = np.argsort(levels, kind="stable")
    values = np.repeat(levels[order] / 255, BINS)
    rate = {level: truth[levels == level].mean() for level in set(levels.tolist())}
    true = np.repeat([rate[level] for level in levels[order].tolist()], BINS)
    size = len(levels)
    cells = reliability(PixelCounts.from_levels(levels, truth))
    for number, cell in enumerate(cells):
        piece = slice(number * size, (number + 1) * size)
        assert cell.predicted == pytest.approx(values[piece].mean(), abs=1e-9)
        assert cell.observed == pytest.approx(true[piece].mean(), abs=1e-9)
    expected = np.mean(np.abs([cell.predicted - cell.observed for cell in cells]))
    assert ece(PixelCounts.from_levels(levels, truth)) == pytest.approx(expected, abs=1e-9)


def test_a_probability_that_comes_true_as_often_as_it_says_is_calibrated() -> None:
    levels = np.repeat(np.array([51, 204], np.uint8), 100)
    truth = np.concatenate([np.arange(100) < 20, np.arange(100) < 80])
    counts = PixelCounts.from_levels(levels, truth)
    assert ece(counts) == pytest.approx(0, abs=1e-9)
    assert brier_skill(counts) == pytest.approx(1 - 0.16 / 0.25)
    sure = PixelCounts.from_levels(np.full(200, 255, np.uint8), truth)
    assert ece(sure) == pytest.approx(0.5)
    assert (brier_skill(sure) or 0) < 0


def test_without_pixels_there_is_nothing_to_calibrate() -> None:
    assert ece(PixelCounts.empty()) is None
    assert brier(PixelCounts.empty()) is None
    assert reliability(PixelCounts.empty()) == ()


# ---------------------------------------------------------------- curves


@given(pixels())
def test_roc_points_are_those_of_scikit_learn(case: Pixels) -> None:
    levels, truth = case
    assume(truth.any() and not truth.all())
    counts = PixelCounts.from_levels(levels, truth)
    rate, sensitivity, thresholds = sklearn_roc(truth, levels / 255, drop_intermediate=False)
    curve = roc_curve(counts)
    assert curve.x == pytest.approx(rate, abs=1e-9)
    assert curve.y == pytest.approx(sensitivity, abs=1e-9)
    assert curve.thresholds == pytest.approx(thresholds, abs=1e-9)
    assert counts.auroc == pytest.approx(roc_auc_score(truth, levels), abs=1e-9)
    assert counts.auroc == pytest.approx(auc(curve.x, curve.y), abs=1e-9)


@given(pixels())
def test_precision_recall_points_are_those_of_scikit_learn(case: Pixels) -> None:
    levels, truth = case
    assume(truth.any())
    curve = pr_curve(PixelCounts.from_levels(levels, truth))
    # scikit-learn goes from the laxest threshold to the strictest, and adds a point of no pixels at the end
    precision, recall, thresholds = precision_recall_curve(truth, levels / 255)
    assert curve.y == pytest.approx(precision[:-1][::-1], abs=1e-9)
    assert curve.x == pytest.approx(recall[:-1][::-1], abs=1e-9)
    assert curve.thresholds == pytest.approx(thresholds[::-1], abs=1e-9)


def test_without_the_class_there_is_no_curve() -> None:
    counts = PixelCounts.from_levels(np.array([3, 200], np.uint8), np.array([False, False]))
    assert not len(pr_curve(counts).x)
    assert not len(roc_curve(counts).x)
    assert counts.auroc is None
