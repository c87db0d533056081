"""Progress on the command line: bars on a terminal, plain lines elsewhere."""

import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from histoscout.cli.options import echo
from histoscout.io.inputs import read_bytes
from histoscout.io.notes import visible

if TYPE_CHECKING:
    from histoscout.cohort.cohort import Cohort
    from histoscout.recipe import Recipe
    from histoscout.training.early_end import EarlyEndRequest

LINE_INTERVAL_S = 10.0
"""Seconds between two lines of progress where there is no terminal."""


@dataclass(kw_only=True)
class _Task:
    """Work whose progress is shown: the current task, or the batch that it is a part of."""

    name: str
    total: int
    started: float
    last_line: float
    done: int = 0
    bar: TaskID | None = None


class Console:
    """Shows how far the work is; the `Progress` of every command.

    Args:
        quiet: Show notes only.
        stream: Where to write; stderr by default.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self.stream = stream or sys.stderr
        self.bars: RichProgress | None = None
        if self.stream.isatty() and not quiet:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self.bars = RichProgress(*columns, console=RichConsole(file=self.stream))
        self._tasks: list[_Task] = []

    def __enter__(self) -> Self:
        if self.bars:
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bars:
            self.bars.stop()

    def start(self, task: str, total: int) -> None:
        """Begin a task of `total` steps; one that begins before another is done is a part of its next step."""
        if len(self._tasks) > 1:
            self._remove(self._tasks.pop())
        started = _Task(
            name=visible(task, one_line=True),
            total=total,
            started=time.monotonic(),
            last_line=time.monotonic(),
        )
        if self.bars:
            started.bar = self.bars.add_task(started.name, total=total)
        self._tasks.append(started)

    def advance(self, steps: int = 1) -> None:
        """Move the bar by some steps, or print a line every ten seconds."""
        if not self._tasks:
            return
        task = self._tasks[-1]
        task.done += steps
        batch = self._tasks[0]
        part = task.done / max(1, task.total) if task is not batch else 0.0
        if self.bars:
            for shown, done in ((task, float(task.done)), (batch, batch.done + min(part, 1.0))):
                if shown.bar is not None:
                    self.bars.update(shown.bar, completed=done)
            return
        now = time.monotonic()
        if not self.quiet and now - batch.last_line > LINE_INTERVAL_S:
            batch.last_line = now
            share = (batch.done + part) / max(1, batch.total)
            left = (now - batch.started) * (1 / max(share, 1e-6) - 1)
            inside = "" if task is batch else f" ({task.name}: {task.done} of {task.total})"
            count = f"{batch.done} of {batch.total}{inside}"
            self._print(f"{batch.name}: {count}, about {format_duration(left)} left")

    def note(self, text: str) -> None:
        """Show something that the user must see, quiet or not."""
        if self.bars:
            self.bars.console.print(f"note: {visible(text)}", markup=False, highlight=False)
        else:
            self._print(f"note: {text}")

    def say(self, text: str) -> None:
        """Show a plain line, unless the console is quiet."""
        if self.bars:
            self.bars.console.print(visible(text), markup=False, highlight=False)
        elif not self.quiet:
            self._print(text)

    def done(self) -> None:
        """End the current task."""
        if not self._tasks:
            return
        task = self._tasks.pop()
        if self.bars and task.bar is not None:
            self.bars.update(task.bar, completed=task.total)
            # the bar of a part would leave a line for each slide of a batch
            if self._tasks:
                self._remove(task)
        elif not self.quiet:
            self._print(f"{task.name}: done in {format_duration(time.monotonic() - task.started)}")

    def _remove(self, task: "_Task") -> None:
        if self.bars and task.bar is not None:
            self.bars.remove_task(task.bar)

    def _print(self, text: str) -> None:
        print(visible(text), file=self.stream, flush=True)


@contextmanager
def end_early_on_interrupt(console: Console, request: "EarlyEndRequest") -> Iterator[None]:
    """Let the first Ctrl-C at a terminal end a training early; the second one stops it.

    Without a terminal, and before and after the steps, the first one stops: schedulers send the same signal.

    Args:
        console: Where progress is shown.
        request: What the training looks at.
    """
    if console.bars is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.getsignal(signal.SIGINT)

    def answer(number: int, frame: FrameType | None) -> None:
        if request.listening and not request.made:
            request.made = True
        else:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, answer)
    console.say("Ctrl-C ends the training early with what is learned; a second one stops at once.")
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


def show_cohort(console: Console, cohort: "Cohort") -> None:
    """Show the notes on a cohort, then how many of its slides are annotated, negative, or neither.

    Args:
        console: Where to show them.
        cohort: The cohort; images that belong to one class as a whole need no annotations.
    """
    from histoscout.cohort.annotation_status import annotation_status

    for note in cohort.notes:
        console.note(note)
    if not cohort.by_class:
        console.say(annotation_status(cohort).line)


def read_recipe(path: Path) -> "Recipe":
    """Read a recipe for a command; a file that is not in UTF-8 is noted on stderr.

    Args:
        path: The file.

    Returns:
        The recipe.

    Raises:
        RecipeError: If the file cannot be read or has problems.
    """
    from histoscout.io.files import encoding_note
    from histoscout.recipe import Recipe

    recipe = Recipe.read(path)
    if note := encoding_note(read_bytes(path)):
        echo(f"note: {path.name}: {note}", err=True)
    return recipe


def format_duration(seconds: float) -> str:
    """A duration in words: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def show_next(*steps: str) -> None:
    """Show what to do next: a command, or how a result is opened.

    Args:
        steps: One line each.
    """
    for number, step in enumerate(steps):
        echo(f"{'next:' if number == 0 else '':<10}{step}")


def command_line(*words: object) -> str:
    """A command as it can be pasted into a shell.

    Args:
        words: The words behind `histoscout`.
    """
    return shlex.join(["histoscout", *map(str, words)])
