"""Minutes to steps: a few steps are timed once, then the number of steps is fixed and stored.

Afterwards the clock plays no part, so that a run which is killed and goes on, or runs on a busy machine, ends with
the same weights.
"""

import copy
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from histoscout.files import write_text
from histoscout.training.checkpoint import State
from histoscout.training.loop import Batches, Job, take_step
from histoscout.training.optimise import make_optimiser

TIMED, WARMING = 20, 3
LEAST_STEPS = 20


@dataclass(frozen=True)
class Budget:
    """How long a training is: its steps, and what a step and a validation took when they were timed."""

    steps: int
    step_seconds: float | None = None
    validation_seconds: float | None = None

    def write(self, path: Path) -> None:
        write_text(path, json.dumps(vars(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Budget":
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def rehearse(job: Job, network: nn.Module, batches: Batches) -> tuple[float, list[tuple[Tensor, Tensor]]]:
    """Time steps on a copy of the network: median seconds of a step, and the batches used, to be used again."""
    double = copy.deepcopy(network)
    state = State(double, {}, make_optimiser(double, job.recipe.training))
    wrapped = job.fabric.setup_module(double)
    seconds, used = [], []
    job.progress.start("timing the first steps", TIMED)
    begun = time.monotonic()
    for batch in batches:
        used.append(batch)
        take_step(job, state, wrapped, batch)
        seconds.append(time.monotonic() - begun)
        begun = time.monotonic()
        job.progress.advance()
        if len(used) == TIMED:
            break
    job.progress.done()
    return statistics.median(seconds[WARMING:] or seconds), used


def time_validation(job: Job, network: nn.Module) -> float:
    """Seconds that one validation takes."""
    begun = time.monotonic()
    job.validate(copy.deepcopy(network))
    return time.monotonic() - begun


def steps_for(seconds: float, times: Sequence[float], steps_per_epoch: int) -> int:
    """How many steps, with a validation each epoch, fit into the seconds; `times` of a step and of a validation."""
    each = times[0] + times[1] / steps_per_epoch
    return max(LEAST_STEPS, int(seconds / each))
