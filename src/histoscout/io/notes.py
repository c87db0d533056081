"""What a reader had to mend or leave out, gathered for the notes that the user sees.

Notes on slides, each told once however many slides it is about.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

SHOWN = 10  # names listed of each kind; the count is of all


@dataclass
class Findings:
    """What was found by kind, each with the names of the objects it was found in."""

    by_kind: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        self.by_kind.setdefault(kind, []).append(name)

    def notes(self) -> list[str]:
        """One line a kind: how many there are, and the names of the first."""
        return [f"{kind}: {enumerated(names)}" for kind, names in self.by_kind.items()]


def enumerated(names: Sequence[str]) -> str:
    """How many names there are, and the first ten of them."""
    shown = ", ".join(names[:SHOWN])
    return f"{len(names)} ({shown}{', ...' if len(names) > SHOWN else ''})"


NAMED = 3


@dataclass
class Told:
    """What was noted, and of which slides."""

    about: dict[str, list[str]] = field(default_factory=dict)

    def add(self, slide: str, *notes: str) -> None:
        """Note something of a slide."""
        for note in notes:
            slides = self.about.setdefault(note, [])
            if slide not in slides:
                slides.append(slide)

    def add_all(self, other: "Told") -> None:
        """Note what somebody else noted."""
        for note, slides in other.about.items():
            for slide in slides:
                self.add(slide, note)

    @property
    def notes(self) -> list[str]:
        """One line for each note, the slides first: at most three by name."""
        return [f"{_named(slides)}: {note}" for note, slides in self.about.items()]


def _named(slides: list[str]) -> str:
    more = len(slides) - NAMED
    return ", ".join(slides[:NAMED]) + (f" and {more} more" if more > 0 else "")
