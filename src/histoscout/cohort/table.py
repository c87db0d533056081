"""The cases of a cohort table; all problems of the table are reported at once."""

import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from histoscout.cohort.case import Case, SplitName
from histoscout.cohort.discovery import SlideFinder, assign_own_patients, find_by_name, find_slides
from histoscout.cohort.leakage import find_split_conflicts
from histoscout.errors import CohortError
from histoscout.io.inputs import real_path
from histoscout.io.notes import pluralize
from histoscout.io.tables import CsvRow, CsvTable
from histoscout.io.units import parse_number
from histoscout.slides.files import main_files
from histoscout.slides.scale import given_fault

T = TypeVar("T")

SPLITS: Mapping[str, SplitName] = MappingProxyType(
    {
        "train": "train",
        "training": "train",
        "tune": "tune",
        "val": "tune",
        "valid": "tune",
        "validation": "tune",
        "dev": "tune",
        "test": "test",
        "testing": "test",
    }
)
"""What a cell of the column `split` may hold, in lower case, and the split it means."""

NO_LESION = "none"
"""What a cell of the column `annotations` holds for a slide that was looked through and has no lesion."""


class _Problems:
    """Collects what is wrong with the cells of a table."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def read(self, row: CsvRow, column: str, convert: Callable[[str], T]) -> T | None:
        """The converted content of a cell; None if it is empty or cannot be converted."""
        cell = row.cell(column)
        try:
            return convert(cell) if cell else None
        except ValueError as error:
            self.lines.append(f"row {row.number}: {column}: {error}")
            return None


def read_table_cases(
    table: CsvTable, path: Path, finder: SlideFinder | None = None
) -> tuple[list[Case], list[str]]:
    """Read the case of each row of a cohort table.

    Args:
        table: The table.
        path: The file of the table; paths in it are relative to its folder.
        finder: Finds slides that were moved by their names; None if no slide was moved.

    Returns:
        The cases in the order of the rows, with the annotations that the table names, and notes on slides that name no
        patient.

    Raises:
        CohortError: Lists all problems: missing files, slides listed twice, patients in two splits, wrong cells.
    """
    problems = _Problems()
    listed = []
    for row in table.rows:
        cell = row.cell("annotations")
        negative = cell.casefold() == NO_LESION and not (path.parent / cell).exists()
        case = Case(
            slide=_find_slide(row.cell("slide"), path.parent, finder),
            annotations=_resolve(cell, path.parent) if cell and not negative else None,
            patient=row.cell("patient"),
            split=problems.read(row, "split", read_split_name),
            mpp=problems.read(row, "mpp", read_mpp),
            series=problems.read(row, "series", read_series),
            site=row.cell("site") or None,
            mask_labels=problems.read(row, "mask_labels", read_mask_labels) or (),
            mask_threshold=problems.read(row, "mask_threshold", _read_mask_threshold),
            class_property=row.cell("class_property"),
            negative=negative,
            row=row.number,
        )
        listed.append(case)
    cases, notes = assign_own_patients(listed, [row.cell("patient") for row in table.rows])
    for find_problems in (_missing_files, _repeated_slides, _split_conflicts):
        problems.lines += find_problems(table.rows, cases)
    if problems.lines:
        lines = "\n".join(f"  {line}" for line in problems.lines)
        fault = f"{pluralize(len(problems.lines), 'problem')}\n{lines}"
        raise CohortError(path, fault, "Correct these rows; paths are relative to the table's folder")
    return cases, notes


def _resolve(cell: str, folder: Path) -> Path:
    """A path of the table; on other systems, the backslashes of Windows are read as slashes."""
    path = folder / cell
    if not path.exists() and "\\" in cell:
        path = folder / cell.replace("\\", "/")
    if path.exists() or not path.parent.is_dir():
        return path
    # the name may be spelled otherwise: case, or accents as macOS stores them
    key = _spelling(path.name)
    alike = [entry for entry in path.parent.iterdir() if _spelling(entry.name) == key]
    return alike[0] if len(alike) == 1 else path


def _spelling(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _find_slide(cell: str, folder: Path, finder: SlideFinder | None) -> Path:
    """The slide of a cell; a missing suffix is added if only one such slide exists."""
    path = _resolve(cell, folder)
    if not cell or path.exists():
        return path
    slides = find_slides(path.parent) if path.parent.is_dir() else []
    existing = find_by_name(slides, path.name, copies=False)
    if len(existing) == 1:
        return existing[0]
    moved = None if finder is None else finder.find(cell.replace("\\", "/").rsplit("/", 1)[-1])
    return moved or path


def read_split_name(cell: str) -> SplitName:
    """The split that a cell names.

    Args:
        cell: Content of a cell, such as "train", "validation" or "test".

    Returns:
        The split; "validation" and its short forms mean "tune".

    Raises:
        ValueError: If the cell names no split.
    """
    if cell.casefold() not in SPLITS:
        raise ValueError(f"{cell!r} is not train, tune or test")
    return SPLITS[cell.casefold()]


def read_mpp(cell: str) -> float:
    """The resolution in um/px that a cell states.

    Args:
        cell: Content of a cell; a decimal comma is accepted.

    Returns:
        um/px.

    Raises:
        ValueError: If the cell is not a number, or the number is impossible.
    """
    mpp = parse_number(cell)
    if mpp is None:
        raise ValueError(f"{cell!r} is not a number (um per pixel, such as 0.25)")
    if fault := given_fault(mpp):
        raise ValueError(fault)
    return mpp


def read_series(cell: str) -> int:
    """The number of an image in a file that a cell states.

    Args:
        cell: Content of a cell.

    Returns:
        The number, from 0.

    Raises:
        ValueError: If the cell is not such a number.
    """
    if not (cell.isdecimal() and cell.isascii() and len(cell) <= 6):
        raise ValueError(f"{cell!r} is not the number of an image, counted from 0")
    return int(cell)


def read_mask_labels(cell: str) -> tuple[tuple[int, str], ...]:
    """The values of a mask and their classes.

    Args:
        cell: Content of a cell, such as "1=tumor;2=stroma"; a name alone is the class of value 1.

    Returns:
        Pairs of value and class, by value.

    Raises:
        ValueError: If a value or name is missing.
    """
    pairs = [part.partition("=") for part in cell.replace(",", ";").split(";") if part.strip()]
    if len(pairs) == 1 and not pairs[0][1]:
        return ((1, pairs[0][0].strip()),)
    names = {
        int(value): name.strip() for value, equals, name in pairs if equals and value.strip().isdecimal()
    }
    if len(names) < len(pairs) or not all(names.values()):
        raise ValueError(f"{cell!r} does not name the mask's values, as in 1=tumor;2=stroma")
    return tuple(sorted(names.items()))


def _read_mask_threshold(cell: str) -> int:
    if not (cell.isdecimal() and 0 < int(cell) < 2**16):
        raise ValueError(f"{cell!r} is not a gray value, such as 128")
    return int(cell)


# ---------------------------------------------------------------- problems of the table as a whole


def _missing_files(rows: tuple[CsvRow, ...], cases: list[Case]) -> list[str]:
    lines = [f"row {row.number}: no slide is named" for row in rows if not row.cell("slide")]
    for row, case in zip(rows, cases, strict=True):
        if row.cell("slide") and not case.slide.exists():
            lines.append(f"row {row.number}: there is no slide {case.slide}")
        if case.annotations is not None and not case.annotations.is_file():
            lines.append(f"row {row.number}: there are no annotations {case.annotations}")
    return lines


def _repeated_slides(rows: tuple[CsvRow, ...], cases: list[Case]) -> list[str]:
    # the files of a DICOM series are one slide, the series of a file are several
    main = main_files(real_path(case.slide) for case in cases)
    first_row: dict[tuple[Path, int], int] = {}
    lines = []
    for row, case in zip(rows, cases, strict=True):
        earlier = first_row.setdefault((main[real_path(case.slide)], case.series or 0), row.number)
        if earlier != row.number and row.cell("slide"):
            lines.append(f"rows {earlier} and {row.number} name the same slide {case.slide.name}")
    return lines


def _split_conflicts(rows: tuple[CsvRow, ...], cases: list[Case]) -> list[str]:
    """Patients in more than one split, with the rows in question."""
    lines = []
    conflicts = find_split_conflicts([case.patient for case in cases], [case.split for case in cases])
    for patient, positions_by_split in conflicts.items():
        splits = []
        for split, positions in positions_by_split.items():
            numbers = ", ".join(str(rows[position].number) for position in positions)
            splits.append(f"{split} ({'row' if len(positions) == 1 else 'rows'} {numbers})")
        lines.append(f"patient {patient} is in {' and '.join(splits)}")
    return lines
