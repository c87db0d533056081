"""What a page is built of: small values that say what is shown, never how.

To add a block, write its dataclass here, a macro of the same name in templates/blocks.html, and a line in
`BLOCKS`: that enrols it in the contract tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from histoscout.verdict import Verdict


@dataclass(frozen=True)
class Link:
    """Words in a table that lead to another place in the same file; `anchor` is that of a picture or section."""

    text: str
    anchor: str


@dataclass(frozen=True)
class Figure:
    """A number as it is shown, with its interval as it is shown: ".88" and "[.81, .93]"; see `numbers.py`."""

    value: str
    interval: str = ""


Cell = str | Figure | Link


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True)
class Text:
    """Plain prose; a blank line begins a new paragraph."""

    text: str

    @property
    def paragraphs(self) -> list[str]:
        return [part.strip() for part in self.text.split("\n\n") if part.strip()]


@dataclass(frozen=True)
class Points:
    """Short statements, one below the other, under a heading of their own where `title` is given."""

    items: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True)
class Columns:
    """Lists of points side by side: what may be said, what may not."""

    items: tuple[Points, ...]


@dataclass(frozen=True)
class Facts:
    """Names and values: what was run, and on what."""

    pairs: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head; the first cell of a row names it.

    `ours` are the numbers of the rows, and `best` the (row, column) places, that stand out (both from 0, the column
    of names counted). The caption says what one should see.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str
    ours: tuple[int, ...] = ()
    best: tuple[tuple[int, int], ...] = ()

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column holds numbers, which stand under one another by their right edge."""
        columns = range(len(self.head))
        return tuple(all(_is_number(row[column]) for row in self.rows) for column in columns)


@dataclass(frozen=True)
class Picture:
    """A PNG, JPEG, WebP or SVG. `caption` says in a sentence what one should see; `alt` what is there, for who cannot."""

    data: bytes
    caption: str
    alt: str
    anchor: str = ""


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side as the width allows, each with its caption."""

    items: tuple[Picture, ...]


@dataclass(frozen=True)
class Card:
    """A crop with a few words: what it is, and short facts."""

    picture: bytes
    title: str
    alt: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gallery:
    """Crops of one kind, side by side; `caption` says what they share and how they were chosen."""

    title: str
    caption: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Verdicts:
    """What guards or checks found, the gravest first; a verdict that is not good says what to do."""

    items: tuple[Verdict, ...]

    @property
    def ordered(self) -> list[Verdict]:
        return sorted(self.items, key=lambda verdict: list(SYMBOLS).index(verdict.state))


@dataclass(frozen=True)
class Note:
    """Something that must not be overlooked."""

    text: str


Block = Heading | Text | Points | Columns | Facts | Table | Picture | Pictures | Gallery | Verdicts | Note

SYMBOLS: Mapping[str, str] = MappingProxyType(
    {"failed": "\u2715", "warning": "!", "cannot tell": "?", "good": "\u2713"}
)
"""The sign of each state, the gravest first; always shown with its word."""

BLOCKS: Mapping[type, str] = MappingProxyType(
    {
        Heading: "heading",
        Text: "text",
        Points: "points",
        Columns: "columns",
        Facts: "facts",
        Table: "table",
        Picture: "picture",
        Pictures: "pictures",
        Gallery: "gallery",
        Verdicts: "verdicts",
        Note: "note",
    }
)
"""The macro that draws each block."""


def _is_number(cell: Cell) -> bool:
    if isinstance(cell, Link):
        return False
    text = cell.value if isinstance(cell, Figure) else cell
    return not text or text[0] in "0123456789.-\u2212\u2013+<" or text == "not estimable"
