"""The table of the BRACS data, BRACS.xlsx: patient, class and subset of each slide."""

import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from histoscout.cohort.case import SplitName
from histoscout.cohort.table import SPLITS
from histoscout.errors import CohortError
from histoscout.io.names import patient_key
from histoscout.io.notes import pluralize

COLUMNS: Mapping[str, str] = MappingProxyType(
    {"slide": "wsifilename", "patient": "patientid", "rois": "roi", "label": "wsilabel", "set": "set"}
)
"""The columns of BRACS.xlsx that are used, and their headings in lower case without blanks and underscores."""

MAX_UNPACKED_BYTES = 2**26
"""Size of a table after unpacking above which it is refused; the real one has some 50 kB."""

MAX_ROWS = 100_000
"""Rows of a sheet that are read."""

MAX_HEADING_ROW = 20
"""The headings are in one of this many first rows of a sheet."""

_REQUIRED = ("slide", "patient", "set")
_SPLIT_PRIORITY: tuple[SplitName, ...] = ("train", "tune", "test")
_GIVE_TABLE = "Give the BRACS.xlsx that comes with the BRACS data"

# What openpyxl raises for damaged files.
_OPENPYXL_ERRORS = (
    *(ValueError, TypeError, LookupError, AttributeError, RuntimeError, EOFError, ParseError),
    zipfile.LargeZipFile,
)


@dataclass(frozen=True, kw_only=True)
class BracsRow:
    """A slide in BRACS.xlsx.

    Attributes:
        slide: Name of the slide, such as BRACS_1494.
        patient: Its patient.
        label: The class that the slide is filed under.
        split: The subset.
        rois: Number of RoIs that were cut from it.
    """

    slide: str
    patient: str
    label: str
    split: SplitName
    rois: int


def read_bracs_table(path: Path) -> dict[str, BracsRow]:
    """Read the rows of BRACS.xlsx. Formulas and macros are not run.

    Args:
        path: The table.

    Returns:
        The rows by slide (BRACS_1494).

    Raises:
        CohortError: If the file is not such a table, or lists all rows without patient or subset.
    """
    for cells in _read_sheets(path):
        for start, row in enumerate(cells[:MAX_HEADING_ROW]):
            headings = [
                re.sub(r"[\s_]+", "", str(cell)).casefold() if cell is not None else "" for cell in row
            ]
            places = {
                column: headings.index(heading) for column, heading in COLUMNS.items() if heading in headings
            }
            if all(column in places for column in _REQUIRED):
                # Rows are counted as Excel does, from 1.
                return _read_rows(cells[start + 1 :], places, start + 2, path)
    fault = "the table has no sheet with the columns WSI Filename, Patient Id and Set"
    raise CohortError(path, fault, _GIVE_TABLE)


def _read_sheets(path: Path) -> list[list[tuple[Any, ...]]]:
    """The values of every sheet."""
    remedy = f"{_GIVE_TABLE}; open it in Excel and save it again"
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_UNPACKED_BYTES:
                fault = "the file unpacks to far more than a table of slides"
                raise CohortError(path, fault, "Check where it comes from")
        with warnings.catch_warnings():
            # openpyxl warns about styles and filters that it does not support.
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
            try:
                return [
                    list(sheet.iter_rows(max_row=MAX_ROWS, max_col=64, values_only=True))
                    for sheet in book.worksheets
                    if hasattr(sheet, "iter_rows")
                ]
            finally:
                book.close()
    except (zipfile.BadZipFile, InvalidFileException) as error:
        raise CohortError(path, "this is not an Excel file (.xlsx)", remedy) from error
    except OSError as error:
        fault = f"the file cannot be read ({error.strerror or error})"
        raise CohortError(path, fault, "Check the path and its permissions") from error
    except _OPENPYXL_ERRORS as error:
        raise CohortError(path, f"this is a damaged Excel file ({error})", remedy) from error


def _read_rows(
    cells: list[tuple[Any, ...]], places: Mapping[str, int], first: int, path: Path
) -> dict[str, BracsRow]:
    """The rows below the headings; `first` is the number of the first one."""
    rows: dict[str, BracsRow] = {}
    problems = []
    for number, row in enumerate(cells, first):
        texts = {column: _cell_text(row[place]) for column, place in places.items() if place < len(row)}
        texts = dict.fromkeys(COLUMNS, "") | texts
        if not texts["slide"]:
            continue
        split = SPLITS.get(texts["set"].casefold())
        if split is None or not texts["patient"]:
            problems.append(
                f"  row {number}: {texts['slide']} has patient {texts['patient']!r}, set {texts['set']!r}"
            )
            continue
        listed = BracsRow(
            slide=slide_name(texts["slide"]),
            patient=texts["patient"],
            label=texts["label"],
            split=split,
            rois=int(texts["rois"]) if texts["rois"].isdecimal() else 0,
        )
        if rows.setdefault(listed.slide, listed) != listed:
            problems.append(f"  row {number}: {listed.slide} is listed twice, and differently")
    if problems:
        lines = "\n".join(problems[:20])
        raise CohortError(path, f"{pluralize(len(problems), 'problem')}\n{lines}", "Correct these rows")
    return rows


def _cell_text(cell: Any) -> str:
    """A cell as text; Excel keeps whole numbers as 49.0."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()


def slide_name(name: str) -> str:
    """The name of a slide, such as BRACS_1494, in the name of one of its files.

    Args:
        name: A name such as "bracs_1494.svs".

    Returns:
        The name of the slide; the name itself if it is not one of BRACS.
    """
    bracs = re.match(r"\s*(bracs_\w+?)(?=\.|\s|$)", name, re.IGNORECASE)
    return bracs[1].upper() if bracs else name.strip()


def unambiguous_splits(rows: Iterable[BracsRow]) -> tuple[dict[str, SplitName], tuple[str, ...]]:
    """Assign each patient to one subset.

    All slides of a patient in two subsets go to the first of training, tuning and test set. So no test patient is
    trained on, and every slide that stays in the test set is one of the official test set.

    Args:
        rows: Rows of the table.

    Returns:
        The subset of each patient, and notes on slides that were moved.
    """
    slides: dict[str, dict[SplitName, list[str]]] = {}
    spellings: dict[str, dict[str, None]] = {}
    for row in rows:
        slides.setdefault(patient_key(row.patient), {}).setdefault(row.split, []).append(row.slide)
        spellings.setdefault(patient_key(row.patient), {}).setdefault(row.patient)
    splits: dict[str, SplitName] = {}
    notes = []
    for key, by_split in slides.items():
        chosen = next(split for split in _SPLIT_PRIORITY if split in by_split)
        splits |= dict.fromkeys(spellings[key], chosen)
        moved = [
            f"{name} from {split}" for split, names in by_split.items() if split != chosen for name in names
        ]
        if moved:
            notes.append(
                f"patient {' = '.join(spellings[key])} is in two subsets; all slides are now in {chosen}: "
                f"{', '.join(moved)} moved"
            )
    return splits, tuple(notes)
