"""Notes for the user: collected over objects or slides, with few names and right plurals."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_NAMES = 10
"""Names that `count_and_list` lists; the count is of all."""

MAX_SLIDES = 3
"""Slides that a note of `SlideNotes` names."""


_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, which steer a terminal, and those that turn the direction of what is read."""


def visible(text: str, *, one_line: bool = False) -> str:
    r"""Show control characters of names and classes as escapes, so that they steer no terminal and hide nothing.

    Args:
        text: The text.
        one_line: Whether line breaks and tabs are shown as escapes, too.

    Returns:
        The text with `\x1b` for ESC and the like.
    """
    text = _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    return text.replace("\n", r"\n").replace("\t", r"\t") if one_line else text


def list_some(names: Sequence[str], limit: int = MAX_SLIDES, separator: str = ", ") -> str:
    """List up to `limit` names, and say how many more there are.

    Args:
        names: The names, in the order to list them.
        limit: How many to list at most.
        separator: What to put between names.

    Returns:
        For example "a, b, c and 4 more".
    """
    listed = separator.join(names[:limit])
    return f"{listed} and {len(names) - limit} more" if len(names) > limit else listed


def count_and_list(names: Sequence[str]) -> str:
    """How many names there are, and the first ten of them: "2 (a, b)".

    Args:
        names: The names.

    Returns:
        Number and names.
    """
    return f"{len(names)} ({list_some(names, MAX_NAMES)})"


def pluralize(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun: "1 slide", "1,200 slides", "2 biopsies".

    Args:
        number: How many there are.
        singular: The word for one.
        plural: The word for several, if it is not `singular` with an s.
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


@dataclass
class NoteCounter:
    """Notes on the objects of a file, such as what was repaired or left out.

    Attributes:
        names_by_note: The names of the objects that each note is about.
    """

    names_by_note: dict[str, list[str]] = field(default_factory=dict)

    def add(self, note: str, name: str) -> None:
        """Add an object to a note."""
        self.names_by_note.setdefault(note, []).append(name)

    def notes(self) -> list[str]:
        """One line per note, with the number of objects and the first names."""
        return [f"{note}: {count_and_list(names)}" for note, names in self.names_by_note.items()]


@dataclass
class SlideNotes:
    """Notes on slides; a note that is about several slides is shown once.

    Attributes:
        slides_by_note: The slides that each note is about.
    """

    slides_by_note: dict[str, list[str]] = field(default_factory=dict)

    def add(self, slide: str, *notes: str) -> None:
        """Add notes on one slide."""
        for note in notes:
            slides = self.slides_by_note.setdefault(note, [])
            if slide not in slides:
                slides.append(slide)

    def add_all(self, other: "SlideNotes") -> None:
        """Add all notes of another collection."""
        for note, slides in other.slides_by_note.items():
            for slide in slides:
                self.add(slide, note)

    @property
    def notes(self) -> list[str]:
        """One line per note, with up to three slides by name."""
        return [f"{list_some(slides)}: {note}" for note, slides in self.slides_by_note.items()]
