"""Minutes to steps: a few steps are timed once, then the number of steps is fixed and stored.

Afterwards the clock plays no part, so that a run which is killed and goes on, or runs on a busy machine, ends with
the same weights.
"""

import copy
import itertools
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor, nn

from histoscout.io.files import write_text
from histoscout.recipe import Recipe
from histoscout.sampling.datasets import PlainExamples
from histoscout.training.checkpoint import State
from histoscout.training.loop import Batches, Job, make_optimizer, take_step

LEAST_TIMED, TIMED, MOST_TIMED = 8, 20, 100  # steps that are timed: slow ones, others, fast ones
LEAST_SECONDS, MOST_SECONDS = 3.0, 10.0  # for as long are fast and slow ones timed
WARMING = 1 / 3  # share of them that is not counted: the first batches lie ready, and devices warm up
READ = 32  # windows whose reading is timed
LEAST_STEPS = 20
FINISHING = 0.05  # share of the minutes that is kept for what follows the last step, at least
MOST_TUNING = 0.25  # share that looking through the tuning slides may take, if fewer views make it fit


@dataclass(frozen=True)
class Budget:
    """How long a training is: its steps, what a step and a validation took when they were timed, and how many views of the
    tuning slides choose the threshold (None: as many as in detection)."""

    steps: int
    step_seconds: float | None = None
    validation_seconds: float | None = None
    views: int | None = None

    def write(self, path: Path) -> None:
        write_text(path, json.dumps(vars(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Budget":
        return cls(**json.loads(path.read_text(encoding="utf-8")))


@dataclass
class Clock:
    """How much of its minutes a network has used: its own seconds, and its share of what all networks have in common."""

    members: int
    begun: float = field(default_factory=time.monotonic)
    common: float = 0.0  # seconds

    def begin(self) -> None:
        """From now on it is the next network's time."""
        self.begun = time.monotonic()

    def share(self) -> None:
        """What went by since the beginning was for all networks."""
        self.common += time.monotonic() - self.begun
        self.begin()

    def spent(self) -> float:
        """Seconds that this network has used so far."""
        return time.monotonic() - self.begun + self.common / self.members


def rehearse(job: Job, network: nn.Module, batches: Batches) -> tuple[float, list[tuple[Tensor, Tensor]]]:
    """Time steps on a copy of the network: seconds of a step, and the batches used, to be used again.

    The mean, not the median: where windows are slower than the network, they come in bursts, one from each worker.
    """
    double = copy.deepcopy(network)
    state = State(double, {}, make_optimizer(double, job.recipe.training))
    wrapped = job.fabric.setup_module(double)
    ends, used = [time.monotonic()], []
    job.progress.start("timing the first steps", TIMED)
    for batch in itertools.islice(batches, MOST_TIMED):
        used.append(batch)
        take_step(job, state, wrapped, batch)
        ends.append(time.monotonic())
        job.progress.advance(int(len(used) <= TIMED))
        if _timed(len(used), ends[-1] - ends[0]):
            break
    job.progress.done()
    first = int(len(used) * WARMING)
    return (ends[-1] - ends[first]) / (len(used) - first), used


def _timed(steps: int, seconds: float) -> bool:
    """Whether enough steps have been timed; slow ones differ little from each other, and cost what could be learnt."""
    return steps >= (TIMED if seconds < MOST_SECONDS else LEAST_TIMED) and seconds >= LEAST_SECONDS


def time_validation(job: Job, network: nn.Module) -> tuple[float, float]:
    """Seconds that one validation takes when its windows have been read, and seconds to read one window."""
    some = replace(job.tuning, windows=job.tuning.windows[:READ], kept={})
    reading = _read(some) / max(1, len(some))
    _read(job.tuning)
    begun = time.monotonic()
    job.validate(copy.deepcopy(network))
    return time.monotonic() - begun, reading


def _read(examples: PlainExamples) -> float:
    """Seconds to read all of them that are not kept already."""
    begun = time.monotonic()
    for number in range(len(examples)):
        examples[number]
    return time.monotonic() - begun


@dataclass(frozen=True)
class Timed:
    """Seconds that a step takes, a validation, one view of all tuning slides, and all second looks at the slides learnt from:
    `again`, and for each step at most `most_again`."""

    step: float
    validation: float
    tuning: float
    again: float = 0.0
    most_again: float = 0.0


def budget_for(minutes: float, spent: float, timed: Timed, recipe: Recipe) -> Budget:
    """As many steps as fit into what is left of the minutes after `spent` seconds, with a validation each epoch.

    What follows the last step is kept free: looking through the tuning slides in as many views as detection, or as many as
    fit into a quarter of the minutes. One view is never left out, and then the training ends later.
    """
    whole = minutes * 60
    views = _views(whole * MOST_TUNING, timed.tuning, recipe.detection.tta_views)
    kept = whole * min(MOST_TUNING, max(FINISHING, views * timed.tuning / whole))
    each = timed.step + timed.validation / recipe.training.steps_per_epoch
    left = whole - kept - spent
    steps = max((left - timed.again) / each, left / (each + timed.most_again))
    return Budget(max(LEAST_STEPS, int(steps)), timed.step, timed.validation, views)


def overtime(minutes: float, budget: Budget, timed: Timed) -> float:
    """Minutes by which looking through the tuning slides goes beyond its quarter."""
    return max(0.0, (budget.views or 1) * timed.tuning / 60 - minutes * MOST_TUNING)


def _views(seconds: float, each: float, wanted: int) -> int:
    return next((views for views in (8, 4, 2) if views <= wanted and views * each <= seconds), 1)
