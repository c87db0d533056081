"""The table that comes with the BRACS data, `BRACS.xlsx`: which slide is whose and in which subset."""

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from histoscout.cohort.case import SplitName
from histoscout.cohort.rows import SPLITS
from histoscout.errors import CohortError

LARGEST_BYTES = 2**26  # unpacked; the real table has some 50 kB
MOST_ROWS = 100_000
HEADINGS_WITHIN = 20  # rows from the top in which the headings stand
# our word for a column, and how its heading reads without case, blanks and underscores
COLUMNS: Mapping[str, str] = MappingProxyType(
    {"slide": "wsifilename", "patient": "patientid", "rois": "roi", "label": "wsilabel", "set": "set"}
)
_NEEDED = ("slide", "patient", "set")
_STUMBLES = (ValueError, TypeError, LookupError, AttributeError, ParseError, EOFError, NotImplementedError)


@dataclass(frozen=True)
class BracsRow:
    """One slide of BRACS: its patient, the class it is filed under, its subset, how many RoIs were cut from it."""

    slide: str
    patient: str
    label: str
    split: SplitName
    rois: int


def read_bracs_table(path: Path) -> dict[str, BracsRow]:
    """The rows of BRACS.xlsx by slide (BRACS_1494). Values are read, formulas and macros are not run.

    CohortError for a file that is no such table, and for rows without patient or subset, all at once.
    """
    sheets = _sheets(path)
    for cells in sheets:
        for start, row in enumerate(cells[:HEADINGS_WITHIN]):
            places = {word: i for word, i in _places(row).items() if i is not None}
            if all(word in places for word in _NEEDED):
                return _rows(cells[start + 1 :], places, start + 2, path)
    fault = "has no sheet with the columns WSI Filename, Patient Id and Set"
    raise CohortError(path, fault, "Give the BRACS.xlsx that comes with the BRACS data")


def slide_name(name: str) -> str:
    """BRACS_1494 for each way in which that slide and its files are named."""
    found = re.match(r"\s*(bracs_\w+?)(?=\.|\s|$)", name, re.IGNORECASE)
    return found[1].upper() if found else name.strip()


def _sheets(path: Path) -> list[list[tuple[Any, ...]]]:
    """The values of every sheet."""
    remedy = "Give the BRACS.xlsx that comes with the BRACS data; open it in Excel and save it again"
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST_BYTES:
                raise CohortError(
                    path, "unpacks to far more than a table of slides", "Check where it comes from"
                )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl tells of styles and filters that it does not know
            book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
            try:
                return [
                    list(sheet.iter_rows(max_row=MOST_ROWS, max_col=64, values_only=True))
                    for sheet in book.worksheets
                    if hasattr(sheet, "iter_rows")
                ]
            finally:
                book.close()
    except (zipfile.BadZipFile, InvalidFileException) as error:
        raise CohortError(path, "is not an Excel file (.xlsx)", remedy) from error
    except OSError as error:
        fault = f"cannot be read ({error.strerror or error})"
        raise CohortError(path, fault, "Check the path and its permissions") from error
    except (*_STUMBLES, RuntimeError, zipfile.LargeZipFile) as error:
        raise CohortError(path, f"is a damaged Excel file ({error})", remedy) from error


def _places(row: tuple[Any, ...]) -> dict[str, int | None]:
    plain = [re.sub(r"[\s_]+", "", str(cell)).casefold() if cell is not None else "" for cell in row]
    return {word: plain.index(said) if said in plain else None for word, said in COLUMNS.items()}


def _rows(
    cells: list[tuple[Any, ...]], places: Mapping[str, int], first: int, path: Path
) -> dict[str, BracsRow]:
    rows: dict[str, BracsRow] = {}
    problems = []
    for number, said in _filled(cells, places, first):
        split = SPLITS.get(said["set"].casefold())
        if split is None or not said["patient"]:
            problems.append(
                f"  row {number}: {said['slide']} has patient {said['patient']!r}, set {said['set']!r}"
            )
            continue
        rois = int(said.get("rois", "")) if said.get("rois", "").isdecimal() else 0
        row = BracsRow(slide_name(said["slide"]), said["patient"], said.get("label", ""), split, rois)
        if rows.setdefault(row.slide, row) != row:
            problems.append(f"  row {number}: {row.slide} is listed twice, and differently")
    if problems:
        listed = "\n".join(problems[:20])
        raise CohortError(path, f"{len(problems)} problems\n{listed}\n ", "Correct these rows")
    return rows


def _filled(
    cells: list[tuple[Any, ...]], places: Mapping[str, int], first: int
) -> Iterator[tuple[int, dict[str, str]]]:
    for number, row in enumerate(cells, first):
        said = {word: _text(row[place]) for word, place in places.items() if place < len(row)}
        if said.get("slide"):
            yield number, {**dict.fromkeys(_NEEDED, ""), **said}


def _text(cell: Any) -> str:
    """A cell as text; Excel keeps whole numbers as 49.0."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()
