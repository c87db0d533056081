"""CSV tables: written here, and read as spreadsheets save them.

Commas, semicolons or tabs, UTF-8 (with a byte-order mark or not), UTF-16 or Windows-1252, columns in any order.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path, PurePath
from types import MappingProxyType

from histoscout.errors import AnnotationError, CohortError, HistoscoutError
from histoscout.io.files import decode_text, encoding_note, write_text
from histoscout.io.inputs import read_bytes
from histoscout.io.notes import pluralize

SLIDE_TABLE_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
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
        "series": ("series", "scene"),
        "site": ("site", "centre", "center", "hospital"),
        "mask_labels": ("mask_labels", "mask_label"),
        "mask_threshold": ("mask_threshold",),
        "class_property": ("class_property",),
    }
)
"""The names that each column may have, also in other tools (Slideflow, TRIDENT, hs2p); earlier names win."""

EMPTY_CELLS = frozenset({"na", "n/a", "#n/a", "nan", "<na>", "null", "none", "-", "--", "\u2013", "\u2014"})
"""What programs and people write into cells that are empty, in lower case."""

NONE_CELLS: Mapping[str, frozenset[str]] = MappingProxyType({"annotations": frozenset({"none"})})
"""Columns in which one of these words says something and is no empty cell."""

_MAX_FIRST_LINE = 100_000
"""Characters of a first line that are read: a larger cell is an error of the csv module."""

REVIEW_TABLE = "review.csv"
"""File name of a table of detections for expert review."""

OLD_REVIEW_TABLE = "audit.csv"
"""The file name of that table in histoscout 0.1.0, still read."""


_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
"""Beginnings of cells that a spreadsheet takes for formulas, and of those that are protected from it."""


# ---------------------------------------------------------------- writing


def protect_cell(value: object) -> object:
    r"""A cell that no spreadsheet takes for a formula: names of slides and patients come from anybody.

    Args:
        value: A cell; numbers stay as they are, as numbers and as text.

    Returns:
        The cell, with an apostrophe before it if a spreadsheet would take it for a formula.

    Example:
        >>> from histoscout.io.tables import protect_cell, read_cell
        >>> protect_cell('=HYPERLINK("x")'), protect_cell("-0.5"), read_cell("'=1+1")
        ('\'=HYPERLINK("x")', '-0.5', '=1+1')
    """
    if not isinstance(value, str | PurePath):
        return value
    text = str(value)
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def read_cell(text: str) -> str:
    """The content of a cell as it was before `protect_cell`.

    Args:
        text: The cell.
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()


def write_csv(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[object] | Mapping[str, object]]
) -> None:
    """Write a CSV table with a header, completely or not at all.

    A file that holds the same already is left as it is: results in a read-only folder can be looked up again.

    Args:
        path: The file to write.
        columns: The header.
        rows: The cells of each row, in the order of `columns` or as a mapping by column (missing ones are empty).

    Raises:
        OutputError: The file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([protect_cell(column) for column in columns])
    for row in rows:
        cells = [row.get(column, "") for column in columns] if isinstance(row, Mapping) else row
        writer.writerow([protect_cell(cell) for cell in cells])
    content = text.getvalue()
    if not (path.is_file() and read_bytes(path) == content.encode()):
        write_text(path, content)


# ---------------------------------------------------------------- tables of slides or images


@dataclass(frozen=True, kw_only=True)
class TableSchema:
    """The columns of a kind of table.

    Attributes:
        items: What the rows list, in the plural ("slides").
        columns: The names that each column may have in the file, by its name here.
        required: Columns that a table must have.
        remedy: What to do if one of them is missing.
    """

    items: str
    columns: Mapping[str, tuple[str, ...]]
    required: tuple[str, ...]
    remedy: str


SLIDE_TABLE = TableSchema(
    items="slides",
    columns=SLIDE_TABLE_COLUMNS,
    required=("slide",),
    remedy="Name the column of slide files 'slide'",
)
"""The table of a cohort."""


@dataclass(frozen=True)
class CsvRow:
    """One row of a table.

    Attributes:
        number: Its line number in the file.
        cells: Its cells, by the schema's names of the columns.
    """

    number: int
    cells: Mapping[str, str]

    def cell(self, column: str) -> str:
        """The cell in this column; empty if there is none."""
        return self.cells.get(column, "")


@dataclass(frozen=True)
class CsvTable:
    """A table that was read by a schema.

    Attributes:
        rows: Its rows, without empty ones.
        columns: The schema's names of the columns that it has.
        unknown: Headings that are not in the schema.
        emptied: How often each word for "no value" was read as an empty cell.
        encoding: The note on a file that is not in UTF-8, else "".
    """

    rows: tuple[CsvRow, ...]
    columns: frozenset[str]
    unknown: tuple[str, ...]
    _: KW_ONLY
    emptied: Mapping[str, int] = field(default_factory=dict)
    encoding: str = ""

    @property
    def notes(self) -> list[str]:
        """Notes on headings that are not used (one may be misspelled), on empty cells and on the encoding."""
        notes = [f"columns that are not used: {', '.join(self.unknown)}"] if self.unknown else []
        if self.emptied:
            words = ", ".join(repr(word) for word in self.emptied)
            notes.append(f"{pluralize(sum(self.emptied.values()), 'cell')} with {words} are read as empty")
        return [*notes, self.encoding] if self.encoding else notes


def read_table(path: Path, schema: TableSchema = SLIDE_TABLE) -> CsvTable:
    """Read a table of slides or images.

    Args:
        path: A CSV or TSV file.
        schema: The columns it may and must have.

    Returns:
        The table.

    Raises:
        CohortError: The file is not a table, lacks a required column, or has no rows.
    """
    text, encoding = _read_text(path, CohortError, "Check the path and its permissions")
    delimiter = _detect_delimiter(text)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        headings = [heading.strip() for heading in next(reader, [])]
        filled = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise CohortError(path, f"the file is not a table ({error})", "Save it as CSV (UTF-8)") from error
    positions = _find_columns(headings, path, schema)

    # a cell without a heading usually comes from an unquoted delimiter
    for number, row in filled:
        if any(cell.strip() for cell in row[len(headings) :]):
            fault = f"row {number} has more cells than there are headings"
            raise CohortError(path, fault, f"Put quotes around cells that contain a {delimiter!r}")
    if not filled:
        raise CohortError(path, f"the table lists no {schema.items}", "Add a row for each")

    emptied: Counter[str] = Counter()
    rows = tuple(
        CsvRow(number, dict(_filled_cells(row, positions, emptied=emptied))) for number, row in filled
    )
    unknown = tuple(h for i, h in enumerate(headings) if i not in positions.values() and h)
    return CsvTable(rows, frozenset(positions), unknown, emptied=emptied, encoding=encoding)


def _filled_cells(
    row: Sequence[str], positions: Mapping[str, int], *, emptied: Counter[str]
) -> Iterator[tuple[str, str]]:
    """The cells of a row by column; those with a word for "no value" are counted and become empty."""
    for column, position in positions.items():
        if position < len(row):
            cell = read_cell(row[position].strip())
            folded = cell.casefold()
            if folded in EMPTY_CELLS and folded not in NONE_CELLS.get(column, ()):
                emptied[cell] += 1
                cell = ""
            yield column, cell


def read_headings(path: Path) -> frozenset[str]:
    """The headings of a table, in lower case and with `_` for spaces and hyphens.

    Args:
        path: A CSV file.

    Returns:
        The headings.

    Raises:
        CohortError: The file cannot be read or is not text.
    """
    text, _ = _read_text(path, CohortError, "Check the path and its permissions")
    headings = next(csv.reader(_first_line(text), delimiter=_detect_delimiter(text)), [])
    return frozenset(map(_normalize, headings))


def _find_columns(headings: list[str], path: Path, schema: TableSchema) -> dict[str, int]:
    """The position of each column of the schema."""
    normalized = [_normalize(heading) for heading in headings]
    positions = {
        column: normalized.index(heading)
        for column, names in schema.columns.items()
        if (heading := next((name for name in names if name in normalized), None)) is not None
    }
    if missing := [column for column in schema.required if column not in positions]:
        first_line = ", ".join(headings)[:200] or "nothing"
        fault = f"the table has no column {missing[0]!r} (its first line: {first_line})"
        raise CohortError(path, fault, schema.remedy)
    repeated = [h for i, h in enumerate(headings) if normalized[i] in normalized[:i] and i and h]
    if repeated:
        raise CohortError(path, f"the table has the column {repeated[0]!r} twice", "Remove one of them")
    return positions


# ---------------------------------------------------------------- the table of an expert review


def find_review_table(folder: Path) -> Path:
    """The path of the review table in a folder, which may not exist.

    Args:
        folder: The folder of an expert review.

    Returns:
        The path by its name of today, or of histoscout 0.1.0 if only that exists.
    """
    old = folder / OLD_REVIEW_TABLE
    return old if old.exists() and not (folder / REVIEW_TABLE).exists() else folder / REVIEW_TABLE


def read_review_table(path: Path, required: Sequence[str]) -> list[dict[str, str]]:
    """Read the table of an expert review, as a spreadsheet program may have saved it.

    Args:
        path: The table.
        required: Columns that it must have.

    Returns:
        The cells of each row, by heading.

    Raises:
        AnnotationError: The file cannot be read or lacks a required column.
    """
    remedy = f"Give the {REVIEW_TABLE} that evaluate wrote, its folder, or GeoJSON from QuPath"
    text, _ = _read_text(path, AnnotationError, remedy)
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=_detect_delimiter(text))
    try:
        if missing := [name for name in required if name not in (lines.fieldnames or ())]:
            raise AnnotationError(path, f"the table has no column {missing[0]!r}", remedy)
        return [
            {name: read_cell(cell or "") for name, cell in row.items() if name is not None} for row in lines
        ]
    except csv.Error as error:
        raise AnnotationError(path, f"the file is not a table ({error})", "Save it as CSV (UTF-8)") from error


# ---------------------------------------------------------------- text of any table


def _read_text(path: Path, error_type: type[HistoscoutError], remedy: str) -> tuple[str, str]:
    """The text of a table, and the note on its encoding."""
    try:
        content = read_bytes(path)
    except OSError as error:
        raise error_type(path, f"the file cannot be read ({error.strerror})", remedy) from error
    text = decode_text(content)
    if text is None:
        raise error_type(path, "the file is not a text table", "Save it as CSV (UTF-8)")
    return text, encoding_note(content)


def _detect_delimiter(text: str) -> str:
    """Comma, semicolon or tab: the one that divides the first line into most cells."""
    first = _first_line(text)
    return max(",;\t", key=lambda mark: len(next(csv.reader(first, delimiter=mark), [])))


def _first_line(text: str) -> list[str]:
    """The first line, if there is one, as rows for the csv module."""
    return [line[:_MAX_FIRST_LINE] for line in text.splitlines()[:1]]


def _normalize(heading: str) -> str:
    return re.sub(r"[\s\-]+", "_", heading.strip()).casefold()
