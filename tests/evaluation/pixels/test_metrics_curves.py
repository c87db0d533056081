"""Curves against scikit-learn, point by point."""

import numpy as np
import pytest
from hypothesis import assume, given
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc

from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.evaluation.pixels.metrics import pr_curve, roc_curve
from tests.evaluation.random_pixels import Pixels, pixels


@given(pixels())
def test_roc_points_are_those_of_scikit_learn(case: Pixels) -> None:
    levels, truth = case
    assume(truth.any() and not truth.all())
    counts = PixelCounts.of(levels, truth)
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
    curve = pr_curve(PixelCounts.of(levels, truth))
    # scikit-learn goes from the laxest threshold to the strictest, and adds a point of no pixels at the end
    precision, recall, thresholds = precision_recall_curve(truth, levels / 255)
    assert curve.y == pytest.approx(precision[:-1][::-1], abs=1e-9)
    assert curve.x == pytest.approx(recall[:-1][::-1], abs=1e-9)
    assert curve.thresholds == pytest.approx(thresholds[::-1], abs=1e-9)


def test_without_the_class_there_is_no_curve() -> None:
    counts = PixelCounts.of(np.array([3, 200], np.uint8), np.array([False, False]))
    assert not len(pr_curve(counts).x)
    assert not len(roc_curve(counts).x)
    assert counts.auroc is None
