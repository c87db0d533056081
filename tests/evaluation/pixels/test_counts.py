"""Pixel figures against scikit-learn, and the laws they keep."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from histoscout.evaluation.pixels.counts import NEARLY_BEST, PixelCounts
from tests.evaluation.random_pixels import Pixels, pixels


@given(pixels(), st.floats(0.01, 1))
def test_figures_agree_with_scikit_learn(case: Pixels, threshold: float) -> None:
    levels, truth = case
    counts = PixelCounts.of(levels, truth)
    found = levels / 255 >= threshold - 1e-9
    figures = counts.at(threshold)
    if truth.any():
        assert counts.ap == pytest.approx(average_precision_score(truth, levels), abs=1e-9)
        assert figures.recall == pytest.approx(recall_score(truth, found))
    if found.any():
        assert figures.precision == pytest.approx(precision_score(truth, found))
    if found.any() or truth.any():
        assert figures.dice == pytest.approx(f1_score(truth, found))


@given(pixels(), pixels())
def test_counts_of_two_slides_add_up_to_the_counts_of_both(one: Pixels, two: Pixels) -> None:
    together = PixelCounts.of(np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1]]))
    summed = PixelCounts.of(*one) + PixelCounts.of(*two)
    assert np.array_equal(together.positive, summed.positive)
    assert np.array_equal(together.negative, summed.negative)


@given(pixels())
def test_the_best_threshold_is_as_good_as_the_best(case: Pixels) -> None:
    counts = PixelCounts.of(*case)
    best = counts.at(counts.best_threshold()).dice
    others = [counts.at(level / 255).dice for level in range(1, 256)]
    assert (best or 0) >= NEARLY_BEST * max(value or 0 for value in others) - 1e-9


def test_where_dice_hardly_changes_the_threshold_lies_in_the_middle() -> None:
    levels = np.array([20] * 20 + [21] * 80 + [180] * 1000, np.uint8)
    truth = np.array([False] * 20 + [False] * 80 + [True] * 1000)
    truth[20] = True  # one pixel more is right from 21 down than from 22 up
    assert PixelCounts.of(levels, truth).best_threshold() == pytest.approx(101 / 255, abs=2 / 255)


@given(arrays(np.bool_, st.integers(1, 50)))
def test_a_perfect_heatmap_scores_one(truth: NDArray[np.bool_]) -> None:
    counts = PixelCounts.of(np.where(truth, 255, 0).astype(np.uint8), truth)
    if truth.any():
        assert counts.ap == 1
        assert counts.at(0.5).dice == 1


def test_without_the_class_there_is_nothing_to_average() -> None:
    counts = PixelCounts.of(np.array([3, 200], np.uint8), np.array([False, False]))
    assert counts.ap is None
    assert counts.at(0.5).recall is None
    assert counts.at(0.5).precision == 0
    assert counts.prevalence == 0
    assert PixelCounts.none().prevalence is None
