"""Figures over patients against scikit-learn on copies of the patients' pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from histoscout.evaluation.bootstrap import bootstrap
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.evaluation.pixels.metrics import (
    MEAN_DICE,
    PIXEL_FIGURES,
    joined,
    mean_dice_of,
    only,
    prevalence_of,
    statistic_of,
)
from tests.evaluation.random_pixels import Pixels, pixels

PATIENTS = st.lists(pixels(), min_size=5, max_size=7)


@settings(max_examples=15)
@given(PATIENTS)
def test_intervals_are_those_of_scikit_learn_on_copied_patients(patients: list[Pixels]) -> None:
    counts = [PixelCounts.of(*patient) for patient in patients]
    got = bootstrap(statistic_of(counts, 0.5, PIXEL_FIGURES), len(patients), draws=40, seed=1)
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
    counts = [PixelCounts.of(*patient) for patient in patients]
    dice = [each.at(0.5).dice for each in counts if each.positive.any()]
    got = mean_dice_of(counts, 0.5)(np.ones(len(patients)))[MEAN_DICE]
    assert got == (pytest.approx(np.mean([value or 0 for value in dice])) if dice else None)


@given(PATIENTS)
def test_saying_the_prevalence_has_the_figures_that_scikit_learn_gives_it(patients: list[Pixels]) -> None:
    counts = [PixelCounts.of(*patient) for patient in patients]
    truth = np.concatenate([truth for _, truth in patients])
    said = np.full(len(truth), truth.mean())
    got = prevalence_of(counts, PIXEL_FIGURES)(np.ones(len(patients)))
    assert got["brier"] == pytest.approx(brier_score_loss(truth, said, pos_label=True), abs=1e-9)
    if truth.any():
        assert got["ap"] == pytest.approx(average_precision_score(truth, said))
    if truth.any() and not truth.all():
        assert (got["auroc"], got["brier_skill"], got["ece"]) == (0.5, 0, 0)
    assert got["dice"] is None


def test_statistics_join_and_part() -> None:
    both = joined(lambda weights: {"a": 1.0, "b": 2.0}, lambda weights: {"c": None})
    assert both(np.ones(2)) == {"a": 1.0, "b": 2.0, "c": None}
    assert only(both, ("b", "c"))(np.ones(2)) == {"b": 2.0, "c": None}
