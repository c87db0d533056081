"""Tables as spreadsheets save them: commas, semicolons or tabs, a byte-order mark, any order of columns.

The table of an audit, read back however a spreadsheet has saved it.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from histoscout.errors import AnnotationError, CohortError
from histoscout.io.files import decoded

# our name of a column, and what other tools call it (Slideflow, TRIDENT, hs2p); the earlier name wins
COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "slide": (
            "slide",
            "wsi",
            "slide_path",
            "wsi_path",
            "image_path",
            "path",
            "image",
            "filename",
            "file",
        ),
        "annotations": ("annotations", "annotation", "annotation_path", "outlines", "mask_path", "mask"),
        "patient": ("patient", "patient_id", "case", "case_id"),
        "split": ("split", "set", "dataset"),
        "mpp": ("mpp", "um_per_px"),
        "site": ("site", "centre", "center", "hospital"),
        "mask_labels": ("mask_labels", "mask_label"),
        "mask_threshold": ("mask_threshold",),
    }
)


_LONGEST = (
    100_000  # characters of a first line that are looked at: a cell of more is an error to the csv module
)


class Kind(NamedTuple):
    """What a table lists, its columns by our names, which of them it must have, and what to say if one is missing."""

    lists: str
    columns: Mapping[str, tuple[str, ...]]
    needed: tuple[str, ...]
    remedy: str


SLIDES = Kind("slides", COLUMNS, ("slide",), "Name the column of slide files 'slide'")


@dataclass(frozen=True)
class Row:
    """One line of the table: its number in the file, and its cells by our names of the columns."""

    number: int
    cells: Mapping[str, str]

    def cell(self, column: str) -> str:
        return self.cells.get(column, "")


@dataclass(frozen=True)
class Table:
    """The rows of a table, the columns it has by our names, and the headings we do not know."""

    rows: tuple[Row, ...]
    columns: frozenset[str]
    unknown: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """That some headings mean nothing here, lest a misspelt one be overlooked."""
        return [f"columns that are not used: {', '.join(self.unknown)}"] if self.unknown else []


def read_table(path: Path, kind: Kind = SLIDES) -> Table:
    """Read a table; CohortError if it is none, lacks a column that is needed, or has no rows."""
    text = _text(path)
    delimiter = delimiter_of(text)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        headings = [heading.strip() for heading in next(reader, [])]
        filled = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise CohortError(path, f"is not a table ({error})", "Save it as CSV (UTF-8)") from error
    places = _places(headings, path, kind)
    for number, row in filled:
        if any(cell.strip() for cell in row[len(headings) :]):
            fault = f"row {number} has more cells than there are headings"
            raise CohortError(path, fault, f"Put quotes round cells that hold a {delimiter!r}")
    if not filled:
        raise CohortError(path, f"lists no {kind.lists}", "Add a row for each")
    rows = tuple(
        Row(number, {c: row[i].strip() for c, i in places.items() if i < len(row)}) for number, row in filled
    )
    unknown = tuple(h for i, h in enumerate(headings) if i not in places.values() and h)
    return Table(rows, frozenset(places), unknown)


def headings_of(path: Path) -> frozenset[str]:
    """The headings of a table, in small letters and with `_` for blanks and hyphens."""
    text = _text(path)
    return frozenset(map(_plain, next(csv.reader(_first_line(text), delimiter=delimiter_of(text)), [])))


def delimiter_of(text: str) -> str:
    """A comma, semicolon or tab: what parts the first line of a table into most cells."""
    first = _first_line(text)
    return max(",;\t", key=lambda mark: len(next(csv.reader(first, delimiter=mark), [])))


def _first_line(text: str) -> list[str]:
    """The first line, if there is one, as rows for the csv module."""
    return [line[:_LONGEST] for line in text.splitlines()[:1]]


def _plain(heading: str) -> str:
    return re.sub(r"[\s\-]+", "_", heading.strip()).casefold()


def _places(headings: list[str], path: Path, kind: Kind) -> dict[str, int]:
    """Where each of our columns stands."""
    plain = [_plain(heading) for heading in headings]
    places = {
        column: plain.index(found)
        for column, names in kind.columns.items()
        if (found := next((name for name in names if name in plain), None)) is not None
    }
    if missing := [column for column in kind.needed if column not in places]:
        seen = ", ".join(headings)[:200] or "nothing"
        raise CohortError(path, f"has no column {missing[0]!r} (its first line: {seen})", kind.remedy)
    repeated = [h for i, h in enumerate(headings) if plain[i] in plain[:i] and i and h]
    if repeated:
        raise CohortError(path, f"has the column {repeated[0]!r} twice", "Leave out one of them")
    return places


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CohortError(
            path, f"cannot be read ({error.strerror})", "Check the path and its permissions"
        ) from error
    text = decoded(content)
    if text is None:
        raise CohortError(path, "is not a text table", "Save it as CSV (UTF-8)")
    return text


TABLE = "audit.csv"


def read_audit_table(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The rows by their headings, with commas, semicolons or tabs between cells, in UTF-8, UTF-16 or Windows' western page.

    AnnotationError if it cannot be read, or lacks one of the columns `needed`.
    """
    remedy = f"Give the {TABLE} that evaluate wrote, its folder, or GeoJSON from QuPath"
    try:
        text = decoded(path.read_bytes())
    except OSError as error:
        raise AnnotationError(path, f"cannot be read ({error.strerror})", remedy) from error
    if text is None:
        raise AnnotationError(path, "is not a text table", "Save it as CSV (UTF-8)")
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter_of(text))
    try:
        if missing := [name for name in needed if name not in (lines.fieldnames or ())]:
            raise AnnotationError(path, f"has no column {missing[0]!r}", remedy)
        return [{name: cell or "" for name, cell in row.items() if name is not None} for row in lines]
    except csv.Error as error:
        raise AnnotationError(path, f"is not a table ({error})", "Save it as CSV (UTF-8)") from error
