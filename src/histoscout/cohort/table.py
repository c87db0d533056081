"""From the rows of a table to cases; every problem is reported at once."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from histoscout.cohort.case import Case, SplitName
from histoscout.cohort.discovery import SLIDE_SUFFIXES, SlideFinder, assign_own_patients, find_annotations
from histoscout.errors import CohortError
from histoscout.io.notes import pluralize
from histoscout.io.tables import CsvRow, CsvTable

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
LARGEST_MPP = 100.0  # um/px; a whole slide would be a few hundred px wide


class _Problems:
    """What is wrong with a table, row by row, to be told all at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def of(self, row: CsvRow, read: Callable[[str], T], column: str) -> T | None:
        """What a cell says, None if it is empty or wrong."""
        cell = row.cell(column)
        try:
            return read(cell) if cell else None
        except ValueError as error:
            self.lines.append(f"row {row.number}: {column}: {error}")
            return None


def read_table_cases(
    table: CsvTable, path: Path, moved: SlideFinder | None = None
) -> tuple[list[Case], list[str]]:
    """The case of each row, paths against the table's folder, and a note on those that name no patient.

    CohortError lists all that is wrong. Slides that are not there are looked for by their names where they were `displacement` to.

    Args:
        table: The table.
        path: The file or folder.
        moved: Finds slides that were moved; None if none were.
    """
    problems = _Problems()
    read = [_case(row, table, _Places(path.parent, moved), problems) for row in table.rows]
    cases, nameless = assign_own_patients(read, [row.cell("patient") for row in table.rows])
    for which in (_missing, _repeated, _leaks):
        problems.lines += which(table.rows, cases)
    if problems.lines:
        listed = "\n".join(f"  {line}" for line in problems.lines)
        fault = f"{pluralize(len(problems.lines), 'problem')}\n{listed}\n "
        raise CohortError(path, fault, "Correct these rows; paths are relative to the table's folder")
    return cases, nameless


class _Places(NamedTuple):
    """The table's folder, and where slides are that are not found from there."""

    folder: Path
    moved: SlideFinder | None


def _case(row: CsvRow, table: CsvTable, places: _Places, problems: _Problems) -> Case:
    folder = places.folder
    slide = _slide(row.cell("slide"), places)
    annotations = row.cell("annotations")
    if "annotations" in table.columns:
        drawn = _path(annotations, folder) if annotations else None
    else:
        drawn = next(iter(find_annotations(slide)), None)
    return Case(
        slide=slide,
        annotations=drawn,
        patient=row.cell("patient"),
        split=problems.of(row, read_split_name, "split"),
        mpp=problems.of(row, read_mpp, "mpp"),
        site=row.cell("site") or None,
        mask_labels=problems.of(row, read_mask_labels, "mask_labels") or (),
        mask_threshold=problems.of(row, _mask_threshold, "mask_threshold"),
    )


def _path(cell: str, folder: Path) -> Path:
    """A path of the table; one written on Windows is understood elsewhere."""
    path = folder / cell
    return path if path.exists() or "\\" not in cell else folder / cell.replace("\\", "/")


def _slide(cell: str, places: _Places) -> Path:
    """The slide of a row; a name without suffix is completed if that is possible in one way only."""
    path = _path(cell, places.folder)
    if not cell or path.exists():
        return path
    completed = [path.with_name(path.name + suffix) for suffix in sorted(SLIDE_SUFFIXES)]
    there = [candidate for candidate in completed if candidate.is_file()]
    if len(there) == 1:
        return there[0]
    found = None if places.moved is None else places.moved.find(cell.replace("\\", "/").rsplit("/", 1)[-1])
    return found or path


def read_split_name(cell: str) -> SplitName:
    """The split that a cell means; ValueError if none.

    Args:
        cell: Content of a cell.
    """
    if cell.casefold() not in SPLITS:
        raise ValueError(f"{cell!r} is not train, tune or test")
    return SPLITS[cell.casefold()]


def read_mpp(cell: str) -> float:
    """The um per px that a cell says, also with a decimal comma; ValueError if that is not possible.

    Args:
        cell: Content of a cell.
    """
    try:
        mpp = float(cell.replace(",", "."))
    except ValueError:
        raise ValueError(f"{cell!r} is not a number (um per pixel, such as 0.25)") from None
    if not (math.isfinite(mpp) and 0 < mpp <= LARGEST_MPP):
        raise ValueError(f"{cell} um per pixel is not possible")
    return mpp


def read_mask_labels(cell: str) -> tuple[tuple[int, str], ...]:
    """ "1=tumour;2=stroma" as pairs; a name alone is that of value 1.

    Args:
        cell: Content of a cell.
    """
    pairs = [part.partition("=") for part in cell.replace(",", ";").split(";") if part.strip()]
    if len(pairs) == 1 and not pairs[0][1]:
        return ((1, pairs[0][0].strip()),)
    named = {int(value): name.strip() for value, mark, name in pairs if mark and value.strip().isdecimal()}
    if len(named) < len(pairs) or not all(named.values()):
        raise ValueError(f"{cell!r} does not name the mask's values, as in 1=tumor;2=stroma")
    return tuple(sorted(named.items()))


def _mask_threshold(cell: str) -> int:
    if not (cell.isdecimal() and 0 < int(cell) < 2**16):
        raise ValueError(f"{cell!r} is not a gray value, such as 128")
    return int(cell)


# ---------------------------------------------------------------- the table as a whole


def _missing(rows: tuple[CsvRow, ...], cases: list[Case]) -> list[str]:
    lines = [f"row {row.number}: no slide is named" for row in rows if not row.cell("slide")]
    for row, case in zip(rows, cases, strict=True):
        if row.cell("slide") and not case.slide.exists():
            lines.append(f"row {row.number}: there is no slide {case.slide}")
        if case.annotations is not None and not case.annotations.is_file():
            lines.append(f"row {row.number}: there are no annotations {case.annotations}")
    return lines


def _repeated(rows: tuple[CsvRow, ...], cases: list[Case]) -> list[str]:
    first: dict[Path, int] = {}
    lines = []
    for row, case in zip(rows, cases, strict=True):
        before = first.setdefault(case.slide.resolve(), row.number)
        if before != row.number and row.cell("slide"):
            lines.append(f"rows {before} and {row.number} name the same slide {case.slide.name}")
    return lines


def _leaks(rows: tuple[CsvRow, ...], cases: list[Case]) -> list[str]:
    """Patients in more than one split: what is learnt from one slide would be asked on another."""
    where: dict[str, dict[str, list[int]]] = {}
    for row, case in zip(rows, cases, strict=True):
        if case.split is not None:
            where.setdefault(case.patient, {}).setdefault(case.split, []).append(row.number)
    return [
        f"patient {patient} is in {' and '.join(_in_rows(*rows_of) for rows_of in splits.items())}"
        for patient, splits in where.items()
        if len(splits) > 1
    ]


def _in_rows(split: str, numbers: list[int]) -> str:
    return f"{split} ({'row' if len(numbers) == 1 else 'rows'} {', '.join(map(str, numbers))})"
