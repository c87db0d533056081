"""Progress of long work, as the command line shows it."""

from typing import Protocol


class Progress(Protocol):
    """A progress bar or log: receives the progress of long work."""

    def start(self, task: str, total: int) -> None:
        """A task of `total` steps starts."""

    def advance(self, steps: int = 1) -> None:
        """Some steps of the current task are finished."""

    def note(self, text: str) -> None:
        """A note for the user."""

    def done(self) -> None:
        """The current task is finished."""


class NoProgress:
    """A `Progress` that shows nothing."""

    def start(self, task: str, total: int) -> None:
        """Show nothing."""

    def advance(self, steps: int = 1) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def done(self) -> None:
        """Show nothing."""
