"""Calibration against scikit-learn and a slow, obvious binning."""

import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import brier_score_loss

from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.evaluation.pixels.metrics import BINS, brier, brier_skill, ece, reliability
from tests.evaluation.random_pixels import Pixels, pixels


@given(pixels())
def test_brier_score_is_that_of_scikit_learn(case: Pixels) -> None:
    levels, truth = case
    assert brier(PixelCounts.of(levels, truth)) == pytest.approx(
        brier_score_loss(truth, levels / 255, pos_label=True), abs=1e-9
    )


@given(pixels())
def test_skill_compares_with_saying_the_prevalence(case: Pixels) -> None:
    levels, truth = case
    skill = brier_skill(PixelCounts.of(levels, truth))
    if truth.all() or not truth.any():
        assert skill is None
    else:
        said = brier_score_loss(truth, np.full(len(truth), truth.mean()), pos_label=True)
        assert skill == pytest.approx(
            1 - brier_score_loss(truth, levels / 255, pos_label=True) / said, abs=1e-9
        )


@given(pixels())
def test_bins_are_those_of_pixels_cut_into_fifteen_pieces_each(case: Pixels) -> None:
    levels, truth = case
    # every pixel in as many pieces as there are bins, pieces of a level dealt out evenly: bins of equal number
    order = np.argsort(levels, kind="stable")
    said = np.repeat(levels[order] / 255, BINS)
    rate = {level: truth[levels == level].mean() for level in set(levels.tolist())}
    true = np.repeat([rate[level] for level in levels[order].tolist()], BINS)
    size = len(levels)
    cells = reliability(PixelCounts.of(levels, truth))
    for number, cell in enumerate(cells):
        piece = slice(number * size, (number + 1) * size)
        assert cell.said == pytest.approx(said[piece].mean(), abs=1e-9)
        assert cell.true == pytest.approx(true[piece].mean(), abs=1e-9)
    expected = np.mean(np.abs([cell.said - cell.true for cell in cells]))
    assert ece(PixelCounts.of(levels, truth)) == pytest.approx(expected, abs=1e-9)


def test_a_probability_that_comes_true_as_often_as_it_says_is_calibrated() -> None:
    levels = np.repeat(np.array([51, 204], np.uint8), 100)
    truth = np.concatenate([np.arange(100) < 20, np.arange(100) < 80])
    counts = PixelCounts.of(levels, truth)
    assert ece(counts) == pytest.approx(0, abs=1e-9)
    assert brier_skill(counts) == pytest.approx(1 - 0.16 / 0.25)
    sure = PixelCounts.of(np.full(200, 255, np.uint8), truth)
    assert ece(sure) == pytest.approx(0.5)
    assert (brier_skill(sure) or 0) < 0


def test_without_pixels_there_is_nothing_to_calibrate() -> None:
    assert ece(PixelCounts.none()) is None
    assert brier(PixelCounts.none()) is None
    assert reliability(PixelCounts.none()) == ()
