"""What long work tells whoever waits for it."""

from typing import Protocol


class Progress(Protocol):
    """Somebody who wants to know how far the work is; the command line draws it, tests count it."""

    def start(self, task: str, total: int) -> None:
        """A piece of work of `total` steps begins."""

    def advance(self, steps: int = 1) -> None:
        """Some steps of the current piece are done."""

    def note(self, text: str) -> None:
        """Something a user must see."""

    def done(self) -> None:
        """The current piece of work is over."""


class Silent:
    """Nobody is waiting."""

    def start(self, task: str, total: int) -> None:
        """Say nothing."""

    def advance(self, steps: int = 1) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def done(self) -> None:
        """Say nothing."""
