"""Ending a training early: fewer steps, a learning rate that falls, and the same weights if it is killed."""

import json
import signal
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.cli.console import Console, end_early_on_interrupt
from histoscout.training.early_end import EarlyEndRequest, Pace, Schedule
from histoscout.training.train import TrainOptions, train
from tests import toy


@given(steps=st.integers(1, 5000), share=st.floats(0, 1))
def test_an_early_end_takes_fewer_steps_and_the_rate_falls_to_nothing(steps: int, share: float) -> None:
    asked = int(share * (steps - 1))
    schedule = Schedule(steps, Path("unused"), asked)
    assert asked < schedule.last <= steps
    factors = [schedule.damping(step) for step in range(asked, schedule.last)]
    assert factors[0] == 1.0
    assert factors == sorted(factors, reverse=True)
    assert all(0 < factor <= 1 for factor in factors)
    assert {schedule.planned_step(step) for step in range(asked, schedule.last)} == {asked}
    assert Schedule(steps, Path("unused")).last == steps


def test_an_early_end_is_kept(tmp_path: Path) -> None:
    schedule = Schedule.read(tmp_path, 1000)
    assert schedule.ended_at is None
    schedule.end_early(200)
    assert Schedule.read(tmp_path, 1000) == schedule
    assert schedule.last == 220


def test_a_training_is_late_when_its_steps_have_become_slow() -> None:
    assert Pace(None, started=-1e6, taken=10).seconds_late(10) == 0
    assert Pace(1e9, taken=10).seconds_late(10) == 0
    assert Pace(0.001, started=-1e6, taken=10).seconds_late(10) > 1e6


def interrupt() -> None:
    """What Ctrl-C calls; a signal itself could end the process that runs the tests."""
    answer = signal.getsignal(signal.SIGINT)
    assert callable(answer)
    answer(signal.SIGINT, None)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_the_first_interrupt_asks_and_the_second_stops() -> None:
    request = EarlyEndRequest()
    before = signal.getsignal(signal.SIGINT)
    with Console(stream=Terminal()) as console, end_early_on_interrupt(console, request):
        with pytest.raises(KeyboardInterrupt):  # no steps are taken yet
            interrupt()
        request.listening = True
        interrupt()
        assert request.made
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert signal.getsignal(signal.SIGINT) is before


def test_without_a_terminal_the_first_interrupt_stops() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Console(stream=StringIO()) as console, end_early_on_interrupt(console, EarlyEndRequest()):
        assert signal.getsignal(signal.SIGINT) is before


class Asks:
    """Asks for an early end after some steps, and is killed after more of them."""

    def __init__(self, request: EarlyEndRequest, at: int, killed: int | None = None) -> None:
        self.request, self.at, self.killed = request, at, killed
        self.steps = 0
        self.task = ""

    def start(self, task: str, total: int) -> None:
        self.task = task

    def advance(self, steps: int = 1) -> None:
        if self.task not in ("training", "ending the training"):
            return
        self.steps += steps
        self.request.made |= self.steps == self.at
        if self.steps == self.killed:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        pass

    def done(self) -> None:
        pass


@pytest.mark.slow
def test_a_training_that_ends_early_is_a_model_and_resumes_as_one(tmp_path: Path) -> None:
    table = toy.write_cohort(tmp_path / "cohort")
    recipe = toy.RECIPE.with_choices({"training.epochs": 50, "training.steps_per_epoch": 4})

    def options(killed: int | None = None) -> TrainOptions:
        request = EarlyEndRequest()
        return TrainOptions(sanity_checks="warn", early_end=request, progress=Asks(request, 6, killed=killed))

    whole = train(table, tmp_path / "whole", recipe, options())
    assert whole.metrics["training"]["steps"] == 16
    assert json.loads((tmp_path / "whole/training/early_end.json").read_text()) == {"step": 6}
    with pytest.raises(KeyboardInterrupt):
        train(table, tmp_path / "killed", recipe, options(killed=11))
    assert train(table, tmp_path / "killed", recipe).hash == whole.hash
