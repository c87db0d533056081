"""From minutes to steps: a few steps are timed once, then the number of steps is fixed and stored.

Afterwards the clock plays no part, so that a run that is killed and resumed, or runs on a busy machine, ends
with the same weights.
"""

import copy
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from torch import Tensor, nn

from histoscout.io.files import read_text, write_text
from histoscout.io.inputs import parse_json
from histoscout.recipe import Recipe
from histoscout.sampling.datasets import PlainExamples
from histoscout.training.checkpoint import TrainingState
from histoscout.training.loop import Batches, TrainingContext, take_step
from histoscout.training.optimizer import make_optimizer

MIN_TIMED = 8
"""Steps that are timed if they are slow: slow ones differ little from each other."""

TIMED = 20
"""Steps that are timed otherwise."""

MAX_TIMED = 100
"""Steps that are timed if they are fast."""

MIN_SECONDS = 3.0
"""Fast steps are timed for so long."""

MAX_SECONDS = 10.0
"""Steps are slow if `TIMED` of them take longer."""

WARMUP_SHARE = 1 / 3
"""Share of the timed steps that is not counted: the first batches are ready, and devices warm up."""

TIMED_READS = 32
"""Patches whose reading is timed."""

MIN_STEPS = 20
"""Steps that are taken however few the minutes are."""

FINISHING_SHARE = 0.05
"""Share of the minutes that is kept for what follows the last step, at least."""

MAX_TUNING_SHARE = 0.25
"""Share of the minutes that predicting the tuning slides may take, if fewer views (TTA) make it fit."""

RENAMED_KEYS: Mapping[str, str] = MappingProxyType({"views": "tta_views"})
"""Keys of budget.json that histoscout 0.1.0 wrote, and what they are called now; both are read."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a training is.

    Attributes:
        steps: Number of steps.
        step_seconds: What a step took when it was timed.
        validation_seconds: What a validation took when it was timed.
        tta_views: Views of the tuning slides when the threshold is chosen; None for as many as in detection.
    """

    steps: int
    step_seconds: float | None = None
    validation_seconds: float | None = None
    tta_views: int | None = None

    def seconds_per_step(self, recipe: Recipe) -> float | None:
        """Seconds of a step with its share of the validations; None if they were not timed.

        Args:
            recipe: The recipe of the training.
        """
        if self.step_seconds is None or self.validation_seconds is None:
            return None
        return self.step_seconds + self.validation_seconds / recipe.training.steps_per_epoch

    def write(self, path: Path) -> None:
        """Write the budget as JSON."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Budget":
        """Read a budget that `write` or histoscout 0.1.0 wrote."""
        values = parse_json(read_text(path))
        return cls(**{RENAMED_KEYS.get(key, key): value for key, value in values.items()})


@dataclass
class TrainingClock:
    """How much of its minutes an ensemble member has used: its own seconds, and its share of common ones.

    Attributes:
        members: Number of ensemble members.
        started: When the current member started, by the monotonic clock.
        common: Seconds spent for all members.
    """

    members: int
    started: float = field(default_factory=time.monotonic)
    common: float = 0.0

    def start_member(self) -> None:
        """Start the time of the next member."""
        self.started = time.monotonic()

    def share(self) -> None:
        """Count the time since the start of the member as time for all members."""
        self.common += time.monotonic() - self.started
        self.start_member()

    def spent(self) -> float:
        """Seconds that this member has used so far."""
        return time.monotonic() - self.started + self.common / self.members


def time_steps(
    context: TrainingContext, network: nn.Module, batches: Batches
) -> tuple[float, list[tuple[Tensor, Tensor]]]:
    """Time training steps on a copy of the network.

    Args:
        context: The training.
        network: The network; not changed.
        batches: The batches of the training from its first step on.

    Returns:
        Seconds per step, and the batches that were read, to be used again. The mean, not the median: where
        reading patches is slower than the network, they come in bursts, one from each worker.
    """
    copied = copy.deepcopy(network)
    optimizer = make_optimizer(copied, context.recipe.training)
    state = TrainingState(network=copied, average={}, optimizer=optimizer)
    wrapped = context.fabric.setup_module(copied)
    used: list[tuple[Tensor, Tensor]] = []
    ends = [time.monotonic()]
    context.progress.start("timing the first steps", TIMED)
    for batch in itertools.islice(batches, MAX_TIMED):
        used.append(batch)
        take_step(context, state, batch, network=wrapped)
        ends.append(time.monotonic())
        context.progress.advance(int(len(used) <= TIMED))
        # few slow steps are enough; more of them would cost training time
        seconds = ends[-1] - ends[0]
        if len(used) >= (TIMED if seconds < MAX_SECONDS else MIN_TIMED) and seconds >= MIN_SECONDS:
            break
    context.progress.done()
    first = int(len(used) * WARMUP_SHARE)
    return (ends[-1] - ends[first]) / (len(used) - first), used


def time_validation(context: TrainingContext, network: nn.Module) -> tuple[float, float]:
    """Time a validation and the reading of patches.

    Args:
        context: The training.
        network: The network; not changed.

    Returns:
        Seconds of one validation once its patches are in memory, and seconds to read one patch.
    """
    some = replace(context.tuning_examples, patches=context.tuning_examples.patches[:TIMED_READS], cache={})
    reading = _time_reading(some) / max(1, len(some))
    _time_reading(context.tuning_examples)
    started = time.monotonic()
    context.validate(copy.deepcopy(network))
    return time.monotonic() - started, reading


def _time_reading(examples: PlainExamples) -> float:
    """Seconds to read all patches that are not in memory already."""
    started = time.monotonic()
    for number in range(len(examples)):
        examples[number]
    return time.monotonic() - started


@dataclass(frozen=True, kw_only=True)
class Timings:
    """How long the parts of a training take, in seconds.

    Attributes:
        step: One step.
        validation: One validation.
        tuning: One view of all tuning slides.
        pseudo_labels: All searches for unannotated lesions, if all slides are searched.
        pseudo_labels_per_step: All searches, per step of the training, if they are limited to their share.
    """

    step: float
    validation: float
    tuning: float
    pseudo_labels: float = 0.0
    pseudo_labels_per_step: float = 0.0


def make_budget(minutes: float, timings: Timings, recipe: Recipe, *, spent: float) -> Budget:
    """Fit as many steps as possible into the minutes, with a validation after each epoch.

    Time for what follows the last step is kept: predicting the tuning slides in as many views (TTA) as
    detection uses, or as many as fit into a quarter of the minutes. A single view is always kept, and then
    the training ends later.

    Args:
        minutes: Minutes of this ensemble member.
        timings: How long its parts take.
        recipe: Its recipe.
        spent: Seconds that it has used already.

    Returns:
        The number of steps and of views.
    """
    total = minutes * 60
    views = next(
        (
            views
            for views in (8, 4, 2)
            if views <= recipe.detection.tta_views and views * timings.tuning <= total * MAX_TUNING_SHARE
        ),
        1,
    )
    kept = total * min(MAX_TUNING_SHARE, max(FINISHING_SHARE, views * timings.tuning / total))
    per_step = timings.step + timings.validation / recipe.training.steps_per_epoch
    left = total - kept - spent
    steps = max((left - timings.pseudo_labels) / per_step, left / (per_step + timings.pseudo_labels_per_step))
    return Budget(
        steps=max(MIN_STEPS, int(steps)),
        step_seconds=timings.step,
        validation_seconds=timings.validation,
        tta_views=views,
    )


def overtime_minutes(minutes: float, budget: Budget, timings: Timings) -> float:
    """Minutes by which predicting the tuning slides exceeds its share of the minutes.

    Args:
        minutes: Minutes of training.
        budget: The budget.
        timings: Measured times.

    Returns:
        Minutes; 0 if there are none.
    """
    return max(0.0, (budget.tta_views or 1) * timings.tuning / 60 - minutes * MAX_TUNING_SHARE)


def describe_minutes(seconds: float) -> str:
    """A time that is only roughly known: "40 s", "12 min", "2 h 10 min".

    Args:
        seconds: The time.

    Returns:
        The time in words.
    """
    if seconds < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
