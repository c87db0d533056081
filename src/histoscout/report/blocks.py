"""The building blocks of an HTML page: small values that hold content, without its layout.

To add a block, write its dataclass here, a macro in templates/blocks.html, and a line in `BLOCKS`, which
enrolls it in the contract tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from histoscout.report.formatting import NOT_ESTIMABLE, Estimate
from histoscout.verdict import Verdict


@dataclass(frozen=True)
class Link:
    """Text in a table that leads to another place in the same file.

    Attributes:
        text: What is shown.
        anchor: The anchor of a picture or section.
    """

    text: str
    anchor: str


Cell = str | Estimate | Link
"""What a cell of a table holds."""


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True)
class Text:
    """Plain prose; a blank line starts a new paragraph."""

    text: str

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs, without empty ones."""
        return [part.strip() for part in self.text.split("\n\n") if part.strip()]


@dataclass(frozen=True)
class BulletList:
    """Short statements below one another.

    Attributes:
        items: The statements.
        title: A heading above them, if any.
    """

    items: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True)
class Columns:
    """Bullet lists side by side."""

    items: tuple[BulletList, ...]


@dataclass(frozen=True)
class Facts:
    """Names and values, such as the settings of a run."""

    pairs: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; the first cell of a row names it.

    Attributes:
        head: Names of the columns.
        rows: Cells of each row, as many as there are columns.
        caption: What the reader should see in it.
        highlighted: Numbers of rows that stand out, from 0.
        best: Cells that stand out, as (row, column) from 0; the column of names counts.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str
    highlighted: tuple[int, ...] = ()
    best: tuple[tuple[int, int], ...] = ()

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column holds numbers, which are aligned to the right."""
        columns = range(len(self.head))
        return tuple(all(_is_number(row[column]) for row in self.rows) for column in columns)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image with a caption.

    Attributes:
        data: A PNG, JPEG, WebP or SVG file.
        caption: What the reader should see in it, in a sentence.
        alt: What it shows, for readers who cannot see it.
        anchor: What links lead to, if any.
    """

    data: bytes
    caption: str
    alt: str
    anchor: str = ""


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side as far as the width allows, each with its caption."""

    items: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class Card:
    """A crop of a slide with a title and short facts.

    Attributes:
        picture: A PNG, JPEG or WebP file.
        title: What it shows, such as the slide.
        alt: The same in a sentence, for readers who cannot see it.
        facts: Such as score and area.
    """

    picture: bytes
    title: str
    alt: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gallery:
    """Crops of one kind, side by side.

    Attributes:
        title: The kind.
        caption: What they have in common and how they were chosen.
        cards: The crops.
    """

    title: str
    caption: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class VerdictList:
    """Results of checks, failures first; those that are not good say what to do."""

    items: tuple[Verdict, ...]

    @property
    def ordered(self) -> list[Verdict]:
        """The verdicts, failures first."""
        return sorted(self.items, key=lambda verdict: list(SYMBOLS).index(verdict.state))


@dataclass(frozen=True)
class Note:
    """A remark that stands out."""

    text: str


Block = (
    Heading | Text | BulletList | Columns | Facts | Table | Picture | Pictures | Gallery | VerdictList | Note
)

SYMBOLS: Mapping[str, str] = MappingProxyType(
    {"failed": "\u2715", "warning": "!", "cannot tell": "?", "good": "\u2713"}
)
"""The sign of each state of a verdict, failures first; it is always shown with the word."""

BLOCKS: Mapping[type, str] = MappingProxyType(
    {
        Heading: "heading",
        Text: "text",
        BulletList: "bullet_list",
        Columns: "columns",
        Facts: "facts",
        Table: "table",
        Picture: "picture",
        Pictures: "pictures",
        Gallery: "gallery",
        VerdictList: "verdict_list",
        Note: "note",
    }
)
"""The macro that draws each block."""


def _is_number(cell: Cell) -> bool:
    if isinstance(cell, Link):
        return False
    text = cell.value if isinstance(cell, Estimate) else cell
    return not text or text[0] in "0123456789.-\u2212\u2013+<" or text == NOT_ESTIMABLE
