"""Progress on the command line: bars on a terminal, plain lines elsewhere."""

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

import typer
from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

if TYPE_CHECKING:
    from histoscout.cohort.cohort import Cohort
    from histoscout.recipe import Recipe

LINE_INTERVAL_S = 10.0
"""Seconds between two lines of progress where there is no terminal."""


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
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self.bars = RichProgress(*columns, console=RichConsole(file=self.stream))
        self._bar: TaskID | None = None
        self._task = ""
        self._total = 0
        self._done = 0
        self._started = 0.0
        self._last_line = 0.0

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
        """Begin a task of `total` steps."""
        self._task = task
        self._total = total
        self._done = 0
        self._started = self._last_line = time.monotonic()
        if self.bars:
            self._bar = self.bars.add_task(task, total=total)

    def advance(self, steps: int = 1) -> None:
        """Move the bar by some steps, or print a line every ten seconds."""
        self._done += steps
        now = time.monotonic()
        if self.bars and self._bar is not None:
            self.bars.advance(self._bar, steps)
        elif not self.quiet and now - self._last_line > LINE_INTERVAL_S:
            self._last_line = now
            left = (now - self._started) / max(1, self._done) * max(0, self._total - self._done)
            self._print(f"{self._task}: {self._done} of {self._total}, about {format_duration(left)} left")

    def note(self, text: str) -> None:
        """Show something that the user must see, quiet or not."""
        if self.bars:
            self.bars.console.print(f"note: {text}", markup=False, highlight=False)
        else:
            self._print(f"note: {text}")

    def say(self, text: str) -> None:
        """Show a plain line, unless the console is quiet."""
        if self.bars:
            self.bars.console.print(text, markup=False, highlight=False)
        elif not self.quiet:
            self._print(text)

    def done(self) -> None:
        """End the current task."""
        if self.bars and self._bar is not None:
            self.bars.update(self._bar, completed=self._total)
        elif not self.quiet:
            self._print(f"{self._task}: done in {format_duration(time.monotonic() - self._started)}")

    def _print(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


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
    if note := encoding_note(path.read_bytes()):
        typer.echo(f"note: {path.name}: {note}", err=True)
    return recipe


def format_duration(seconds: float) -> str:
    """A duration in words: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
