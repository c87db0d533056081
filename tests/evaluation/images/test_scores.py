"""Figures of classes against scikit-learn."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics

from histoscout.evaluation.images.scores import Choices, choice_statistic, of_class

NAMES = ("UDH", "ADH", "N")


@st.composite
def choices(draw: st.DrawFn) -> Choices:
    count = draw(st.integers(1, 15))
    numbers = st.lists(st.integers(0, 2), min_size=count, max_size=count)
    truth, chosen, patient = (np.array(draw(numbers), np.int64) for _ in range(3))
    probabilities = np.array(
        [[draw(st.sampled_from([0.0, 0.2, 0.5, 1.0])) for _ in NAMES] for _ in range(count)]
    )
    return Choices(NAMES, truth, chosen, probabilities, patient)


@given(choices(), st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_figures_agree_with_scikit_learn(one: Choices, times: list[int]) -> None:
    weights = np.array(times, np.float64)
    said = choice_statistic(one, 3)(weights)
    chosen = weights[one.patient] > 0
    if not chosen.any():
        assert set(said.values()) == {None}
        return
    truth, taken, each = one.truth[chosen], one.chosen[chosen], weights[one.patient][chosen]
    for name, value in _by_sklearn(truth, taken, each).items():
        assert said[name] == pytest.approx(value, abs=1e-9), name
    for number, label in enumerate(NAMES):
        is_class, scores = truth == number, one.probabilities[chosen, number]
        if 0 < is_class.sum() < len(is_class):
            expected = metrics.roc_auc_score(is_class, scores, sample_weight=each)
            assert said[of_class("auroc", label)] == pytest.approx(expected)
        else:
            assert said[of_class("auroc", label)] is None


def _by_sklearn(
    truth: NDArray[np.int64], chosen: NDArray[np.int64], weights: NDArray[np.float64]
) -> dict[str, float | None]:
    there, weighted = np.unique(truth), {"sample_weight": weights}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of kappa and of classes that are not there
        kappa = float(metrics.cohen_kappa_score(truth, chosen, **weighted))
        f1 = metrics.f1_score(truth, chosen, labels=there, average=None, zero_division=0, **weighted)
        recall = metrics.recall_score(truth, chosen, labels=there, average=None, zero_division=0, **weighted)
        mean = metrics.f1_score(truth, chosen, labels=there, average="weighted", zero_division=0, **weighted)
    of_each = {}
    for number, class_f1, class_recall in zip(there.tolist(), f1, recall, strict=True):
        of_each[of_class("f1", NAMES[number])] = float(class_f1)
        of_each[of_class("recall", NAMES[number])] = float(class_recall)
    return {
        **of_each,
        "accuracy": float(metrics.accuracy_score(truth, chosen, **weighted)),
        "balanced_accuracy": float(recall.mean()),
        "macro_f1": float(f1.mean()),
        "weighted_f1": float(mean),
        "kappa": None if np.isnan(kappa) else kappa,
    }


def test_perfect_choices_score_one() -> None:
    truth = np.array([0, 1, 2, 2])
    said = choice_statistic(Choices(NAMES, truth, truth, np.eye(3)[truth], np.arange(4)), 4)(np.ones(4))
    assert set(said.values()) == {1.0}
