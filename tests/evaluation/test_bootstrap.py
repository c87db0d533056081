"""Intervals against a bootstrap that copies the patients, and what happens where there are too few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.evaluation.bootstrap import (
    ConfidenceInterval,
    Statistic,
    Weights,
    bootstrap,
    bootstrap_difference,
)

PATIENTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=5, max_size=12)


def share_of(true_positives: list[int], wholes: list[int]) -> Statistic:
    def statistic(weights: Weights) -> dict[str, float | None]:
        whole = float(weights @ wholes)
        return {"share": float(weights @ true_positives) / whole if whole else None}

    return statistic


@given(PATIENTS, st.integers(0, 5))
def test_intervals_are_those_of_a_bootstrap_that_copies_the_patients(
    patients: list[tuple[int, int]], seed: int
) -> None:
    true_positives, wholes = [min(pair) for pair in patients], [max(pair) for pair in patients]
    got = bootstrap(share_of(true_positives, wholes), len(patients), draws=200, seed=seed)["share"]
    draws = np.random.default_rng(seed).multinomial(
        len(patients), [1 / len(patients)] * len(patients), size=200
    )
    figures, undefined = [], 0
    for draw in draws:
        copies = [index for index, times in enumerate(draw) for _ in range(times)]
        whole = sum(wholes[index] for index in copies)
        if whole:
            figures.append(sum(true_positives[index] for index in copies) / whole)
        else:
            undefined += 1
    assert got.undefined_draws == undefined
    if undefined > 10:
        assert not got.estimable
    else:
        assert (got.low, got.high) == pytest.approx(tuple(np.percentile(figures, [2.5, 97.5])))


def test_below_five_patients_nothing_is_estimated() -> None:
    assert bootstrap(share_of([1, 2, 3, 4], [5, 5, 5, 5]), 4)["share"] == ConfidenceInterval(value=0.5)
    assert bootstrap(share_of([1, 2, 3, 4, 0], [5] * 5), 5)["share"].estimable


def test_draws_without_a_lesion_are_counted_and_too_many_of_them_leave_no_interval() -> None:
    few = bootstrap(share_of([1, 0, 0, 0, 0], [2, 0, 0, 0, 0]), 5)["share"]
    assert few.value == 0.5
    assert few.undefined_draws == pytest.approx(2000 * 0.8**5, rel=0.15)
    assert not few.estimable
    more = bootstrap(share_of([1, 2, 1, 0, 0], [2, 2, 2, 0, 0]), 5)["share"]
    assert 0 < more.undefined_draws < 100
    assert more.estimable
    assert more.to_dict()["undefined_draws"] == more.undefined_draws


def test_a_figure_that_does_not_exist_has_no_interval() -> None:
    assert bootstrap(share_of([0] * 6, [0] * 6), 6, draws=50)["share"] == ConfidenceInterval(
        value=None, undefined_draws=50
    )


def test_one_against_itself_differs_by_nothing_and_against_a_worse_one_by_all_of_it() -> None:
    good, bad = share_of([4, 3, 5, 2, 5, 4], [5] * 6), share_of([3, 2, 4, 1, 4, 3], [5] * 6)
    assert bootstrap_difference(good, good, 6)["share"] == ConfidenceInterval(value=0.0, low=0.0, high=0.0)
    better = bootstrap_difference(good, bad, 6)["share"]
    assert (better.value, better.low, better.high) == pytest.approx((0.2, 0.2, 0.2))


def test_the_same_seed_gives_the_same_interval() -> None:
    statistic = share_of([4, 3, 5, 2, 5, 4], [5] * 6)
    assert bootstrap(statistic, 6, seed=3) == bootstrap(statistic, 6, seed=3)
    assert bootstrap(statistic, 6, seed=3) != bootstrap(statistic, 6, seed=4)
