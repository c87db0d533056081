"""Ending a training early with what it has learned: the learning rate falls in a few more steps."""

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

from histoscout.io.files import read_text, write_text

TAIL_SHARE = 0.1
"""Steps in which the learning rate falls to its lowest after an early end is asked for, as a share of those taken."""

MIN_TAIL = 10
"""Steps that this takes at least."""

FILE = "early_end.json"
"""Name of the file that keeps the step at which an early end was asked for."""

MIN_LATE_S, MIN_LATE_SHARE = 120.0, 0.25
"""A training is late from so many seconds on, and from such a share of what was planned."""


@dataclass
class EarlyEndRequest:
    """Whether somebody asks a training to end early; it may be made while the training runs.

    Attributes:
        listening: Whether the training takes steps, and can end early.
        made: Whether the request is made.
    """

    listening: bool = False
    made: bool = False


@dataclass
class Schedule:
    """The steps of a training, fewer once it is to end early. That is kept in a file, so that a killed run resumes.

    Attributes:
        steps: Planned number of steps.
        path: The file that keeps an early end.
        ended_at: Step at which an early end was asked for, or None.
    """

    steps: int
    path: Path
    ended_at: int | None = None

    @classmethod
    def read(cls, folder: Path, steps: int) -> "Schedule":
        """Read the schedule of a training that starts or resumes.

        Args:
            folder: The folder of the training.
            steps: Planned number of steps.

        Returns:
            The schedule.
        """
        path = folder / FILE
        return cls(steps, path, json.loads(read_text(path))["step"] if path.exists() else None)

    @property
    def last(self) -> int:
        """Number of steps that are taken in all."""
        if self.ended_at is None:
            return self.steps
        return min(self.steps, self.ended_at + max(MIN_TAIL, math.ceil(self.ended_at * TAIL_SHARE)))

    def end_early(self, step: int) -> None:
        """End early: from this step on, the learning rate falls.

        Args:
            step: Number of steps taken so far.
        """
        write_text(self.path, json.dumps({"step": step}) + "\n")
        self.ended_at = step

    def planned_step(self, step: int) -> int:
        """The step whose planned learning rate a step starts from: it stands still after an early end."""
        return step if self.ended_at is None else min(step, self.ended_at)

    def damping(self, step: int) -> float:
        """What the planned learning rate of a step is multiplied with: 1, and along a cosine to 0 after an early end.

        Args:
            step: The step, from 0.

        Returns:
            A factor in (0, 1].
        """
        if self.ended_at is None or step < self.ended_at:
            return 1.0
        position = (step - self.ended_at) / max(1, self.last - self.ended_at)
        return (1 + math.cos(math.pi * position)) / 2


@dataclass
class Pace:
    """Whether steps take longer than was planned.

    Attributes:
        planned: Seconds of a step with its share of the validations, or None if they were not timed.
        started: When the first step started, by the monotonic clock.
        taken: Steps since then.
    """

    planned: float | None
    started: float = field(default_factory=time.monotonic)
    taken: int = 0

    def seconds_late(self, left: int) -> float:
        """By how many seconds the training will end later than planned.

        Args:
            left: Steps that are left.

        Returns:
            Seconds; 0 if it is not much.
        """
        if self.planned is None or not self.taken:
            return 0.0
        step = (time.monotonic() - self.started) / self.taken
        late = (step - self.planned) * (self.taken + left)
        share = MIN_LATE_SHARE * self.planned * (self.taken + left)
        return late if late > max(MIN_LATE_S, share) else 0.0
