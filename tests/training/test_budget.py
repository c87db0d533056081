"""Minutes to steps: what is promised is kept, whatever takes how long."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from histoscout.training.budget import (
    FINISHING_SHARE,
    MAX_TIMED,
    MAX_TUNING_SHARE,
    MIN_STEPS,
    MIN_TIMED,
    Timings,
    TrainingClock,
    make_budget,
    overtime_minutes,
    time_steps,
    time_validation,
)
from histoscout.training.loop import ValidationResult
from tests.toy import RECIPE
from tests.training.conftest import Parts

seconds = st.floats(1e-4, 500)


@given(
    st.floats(0.1, 600),
    st.floats(0, 60),
    st.builds(Timings, step=seconds, validation=seconds, tuning=seconds),
    st.sampled_from([1, 2, 4, 8]),
)
def test_steps_and_what_follows_them_fit_into_the_minutes(
    minutes: float, spent: float, timed: Timings, flips: int
) -> None:
    recipe = RECIPE.with_choices({"detection.tta_views": flips})
    budget = make_budget(minutes, timed, recipe, spent=spent)
    views = budget.tta_views
    assert views is not None
    assert 1 <= views <= flips
    each = timed.step + timed.validation / recipe.training.steps_per_epoch
    late = overtime_minutes(minutes, budget, timed)
    needed = spent + budget.steps * each + views * timed.tuning / 60 * 60
    if budget.steps > MIN_STEPS:
        assert needed <= (minutes + late) * 60 * (1 + 1e-9)
        assert needed + each >= minutes * 60 * (1 - MAX_TUNING_SHARE)  # and are used
    assert late == 0 or views == 1


@pytest.mark.parametrize(
    ("tuning", "views"), [(0.0, 8), (36.0, 8), (40.0, 4), (100.0, 2), (200.0, 1), (900.0, 1)]
)
def test_views_of_the_tuning_slides_are_as_many_as_fit_into_a_quarter(tuning: float, views: int) -> None:
    recipe = RECIPE.with_choices({"detection.tta_views": 8})
    assert (
        make_budget(20, Timings(step=0.5, validation=1.0, tuning=tuning), recipe, spent=0).tta_views == views
    )


def test_a_slow_look_through_the_slides_does_not_eat_the_training() -> None:
    quick, slow = (
        make_budget(20, Timings(step=0.5, validation=1.0, tuning=tuning), RECIPE, spent=0)
        for tuning in (0.0, 1e5)
    )
    share = (1 - MAX_TUNING_SHARE) / (1 - FINISHING_SHARE)
    assert slow.steps == pytest.approx(quick.steps * share, rel=0.01)


def test_second_looks_cost_steps_and_never_more_than_their_share() -> None:
    none, some, all_ = (
        make_budget(
            20,
            Timings(
                step=0.5, validation=1.0, tuning=0.0, pseudo_labels=total, pseudo_labels_per_step=per_step
            ),
            RECIPE,
            spent=0,
        ).steps
        for total, per_step in SEARCHES
    )
    each = 0.5 + 1.0 / RECIPE.training.steps_per_epoch
    assert none - some == pytest.approx(60 / each, abs=1)
    assert all_ == pytest.approx(none * each / (each + 0.1), abs=1)


SEARCHES = ((0.0, 0.1), (60.0, 0.1), (1e6, 0.1))  # seconds of all searches, and at most for each step


def test_windows_that_come_in_bursts_are_not_taken_for_fast_ones(parts: Parts) -> None:
    job, state, _ = parts

    def bursts() -> Iterator[tuple[Tensor, Tensor]]:
        for number, batch in enumerate(job.make_batches(0, MAX_TIMED)):
            time.sleep(0.8 * (number % 4 == 0))
            yield batch

    seconds, used = time_steps(job, state.network, bursts())
    assert MIN_TIMED <= len(used) <= MAX_TIMED
    assert seconds >= 0.8 / 4 * 0.8  # the middle one of all steps would be without a wait


def test_a_validation_is_timed_when_its_windows_have_been_read(parts: Parts) -> None:
    job, state, _ = parts
    read: list[int] = []

    def validate(shadow: nn.Module) -> ValidationResult:
        read.append(len(job.tuning_examples.cache))
        return job.validate(shadow)

    job.tuning_examples.cache.clear()
    validation, reading = time_validation(replace(job, validate=validate), state.network)
    assert read == [len(job.tuning_examples)]
    assert validation > 0
    assert reading > 0


def test_what_is_done_for_all_networks_takes_an_equal_share_of_each() -> None:
    now = time.monotonic()
    clock = TrainingClock(3, started=now - 60)
    clock.share()
    assert clock.spent() == pytest.approx(20, abs=1)
    clock.started -= 30
    clock.share()
    assert clock.spent() == pytest.approx(30, abs=1)
    clock.started -= 300
    assert clock.spent() == pytest.approx(330, abs=1)
    clock.start_member()
    assert clock.spent() == pytest.approx(30, abs=1)
