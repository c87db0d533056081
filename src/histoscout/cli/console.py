"""Progress with time left on a terminal; plain lines elsewhere, or with --quiet only what must be seen."""

import sys
import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

EVERY_SECONDS = 10.0  # between two lines of progress where there is no terminal


class Console:
    """Tells a person at the command line how far the work is; a `Progress` for every verb."""

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self.stream = stream or sys.stderr
        self.bars = _bars(self.stream) if self.stream.isatty() and not quiet else None
        self._task, self._total, self._done, self._began, self._said = "", 0, 0, 0.0, 0.0
        self._bar: TaskID | None = None

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
        """A piece of work of `total` steps begins."""
        self._task, self._total, self._done = task, total, 0
        self._began = self._said = time.monotonic()
        if self.bars:
            self._bar = self.bars.add_task(task, total=total)

    def advance(self, steps: int = 1) -> None:
        """Some steps are done: move the bar, or say so every ten seconds."""
        self._done += steps
        now = time.monotonic()
        if self.bars and self._bar is not None:
            self.bars.advance(self._bar, steps)
        elif not self.quiet and now - self._said > EVERY_SECONDS:
            self._said = now
            left = (now - self._began) / max(1, self._done) * max(0, self._total - self._done)
            self._line(f"{self._task}: {self._done} of {self._total}, about {clock(left)} left")

    def note(self, text: str) -> None:
        """Something a user must see, quiet or not."""
        if self.bars:
            self.bars.console.print(f"note: {text}", markup=False, highlight=False)
        else:
            self._line(f"note: {text}")

    def done(self) -> None:
        """The current piece of work is over."""
        if self.bars and self._bar is not None:
            self.bars.update(self._bar, completed=self._total)
        elif not self.quiet:
            self._line(f"{self._task}: done in {clock(time.monotonic() - self._began)}")

    def _line(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


def _bars(stream: TextIO) -> RichProgress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return RichProgress(*columns, console=RichConsole(file=stream))


def clock(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
