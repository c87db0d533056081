"""A cohort: the cases of a study, read from a table, a folder, a QuPath project or a slide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from histoscout.cohort.case import BUILT_IN
from histoscout.cohort.case import Case as Case
from histoscout.cohort.case import SplitName as SplitName
from histoscout.cohort.discovery import (
    SLIDE_SUFFIXES,
    SlideFinder,
    assign_own_patients,
    find_annotations,
    find_slides,
)
from histoscout.cohort.qupath_project import PROJECT, find_project, read_project, read_project_cases
from histoscout.cohort.table import read_table_cases
from histoscout.errors import CohortError
from histoscout.io.tables import read_table, write_csv

TABLES = frozenset({".csv", ".tsv", ".txt"})


@dataclass(frozen=True)
class Cohort:
    """The cases of a study.

    Attributes:
        cases: The cases.
        where: The table, folder or project they come from.
        notes: Notes for the user.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import Case, Cohort
        >>> cohort = Cohort((Case(Path("A1.svs"), patient="p1"), Case(Path("A2.svs"), patient="p1")), "example")
        >>> cohort.patients
        ('p1',)
    """

    cases: tuple[Case, ...]
    where: str
    notes: tuple[str, ...] = ()

    @property
    def patients(self) -> tuple[str, ...]:
        """Every patient once, sorted."""
        return tuple(sorted({case.patient for case in self.cases}))

    @property
    def by_class(self) -> bool:
        """Whether this is image classification data instead of annotated slides."""
        return bool(self.cases) and all(case.label for case in self.cases)

    @property
    def built_in(self) -> bool:
        """Whether these are synthetic slides."""
        return bool(self.cases) and all(case.site == BUILT_IN for case in self.cases)

    def in_split(self, *splits: SplitName) -> "Cohort":
        """The part of the cohort that is in one of these splits."""
        return replace(self, cases=tuple(case for case in self.cases if case.split in splits))


def read_cohort(path: Path, slides: Path | None = None) -> Cohort:
    r"""Read a cohort: a table, a QuPath project, a folder of slides, or a single slide.

    A table (CSV, also as Excel saves it) needs the column `slide` only; `annotations`, `patient`, `split`
    (train, tune or test), `mpp` (um/px) and `site` are optional, and for masks `mask_labels` ("1=tumor;2=stroma") and
    `mask_threshold` (128, for JPEG). Paths are relative to the table's folder. In a folder, and in a table without a
    column of annotations, these are found by the slide's name, beside it or in a folder `annotations`.

    Args:
        path: A table, a project (.qpproj or its folder), a folder of slides, or a slide.
        slides: Folder in which slides of a table or project are found by name if they were moved.

    Returns:
        The cohort; its notes say what was assumed.

    Raises:
        CohortError: Lists all at once: missing files, slides named twice, a patient in two splits, cells that make no
            sense.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import read_cohort
        >>> Path("A1.svs").touch()
        >>> _ = Path("cohort.csv").write_text("slide,patient,split\nA1.svs,p1,test\n")
        >>> read_cohort(Path("cohort.csv")).cases[0].split
        'test'
    """
    project = find_project(path) if path.is_dir() else path if path.suffix.casefold() == PROJECT else None
    moved = None if slides is None else SlideFinder(slides)
    if project is not None:
        return _of_project(project, moved)
    if moved is not None and path.suffix.casefold() not in TABLES:
        raise CohortError(
            slides, "this option is for slides that were moved", "Leave out --slides: none are listed"
        )
    if path.is_dir():
        return _of_slides(find_slides(path), path)
    if not path.exists():
        raise CohortError(
            path, "there is no such file", "Give a table of slides (CSV), a folder of slides, or a slide"
        )
    if path.suffix.casefold() in TABLES:
        return _of_table(path, moved)
    return _of_slides([path], path)


def _of_slides(slides: list[Path], where: Path) -> Cohort:
    if not slides:
        kinds = ", ".join(sorted(SLIDE_SUFFIXES))
        raise CohortError(where, f"holds no slides ({kinds})", "Give the folder that holds the slide files")
    found = {slide: find_annotations(slide) for slide in slides}
    cases, nameless = assign_own_patients(
        [Case(slide, next(iter(files), None)) for slide, files in found.items()], [""] * len(found)
    )
    return Cohort(tuple(cases), str(where), (*nameless, *_several(found)))


def _several(found: Mapping[Path, Sequence[Path]]) -> list[str]:
    """Which of the annotation files of a slide's name is read, where there are several."""
    return [
        f"{slide.name} has several annotation files, of which {files[0].name} is read"
        for slide, files in found.items()
        if len(files) > 1
    ]


def _of_project(path: Path, moved: SlideFinder | None) -> Cohort:
    cases, notes = read_project_cases(read_project(path), moved)
    return Cohort(tuple(cases), str(path), tuple(notes))


def _of_table(path: Path, moved: SlideFinder | None) -> Cohort:
    table = read_table(path)
    listed, nameless = read_table_cases(table, path, moved)
    cases = _with_patients_split(listed)
    notes = []
    if moved is not None and moved.found:
        notes.append(moved.told)
    notes += [*table.notes, *nameless]
    if "annotations" not in table.columns and (found := sum(case.annotations is not None for case in cases)):
        notes.append(f"annotations of {found} slides were found by their names")
        notes += _several({case.slide: find_annotations(case.slide) for case in cases})
    if late := sum(
        new.split is not None for row, new in zip(table.rows, cases, strict=True) if not row.cell("split")
    ):
        notes.append(f"{late} rows without a split get that of their patient's other slides")
    return Cohort(tuple(cases), str(path), tuple(notes))


def _with_patients_split(cases: list[Case]) -> list[Case]:
    """Rows without a split get that of their patient, lest a test patient's other slide be trained on."""
    of_patient = {case.patient: case.split for case in cases if case.split is not None}
    return [replace(case, split=of_patient.get(case.patient)) for case in cases]


def write_cohort(cohort: Cohort, path: Path) -> None:
    """Write a cohort as a table that `read_cohort` reads, with relative paths below the table's folder.

    Args:
        cohort: The cohort.
        path: The file or folder.
    """
    rows = [_cells(case, path.parent) for case in cohort.cases]
    columns = [
        column
        for column in _cells(Case(Path()), Path())
        if column in _ALWAYS or any(row[column] for row in rows)
    ]
    write_csv(path, columns, rows)


_ALWAYS = frozenset({"slide", "annotations", "patient"})


def _cells(case: Case, folder: Path) -> dict[str, str]:
    return {
        "slide": _written(case.slide, folder),
        "annotations": "" if case.annotations is None else _written(case.annotations, folder),
        "patient": case.patient,
        "split": case.split or "",
        "mpp": "" if case.mpp is None else repr(case.mpp),
        "site": case.site or "",
        "mask_labels": ";".join(f"{value}={name}" for value, name in case.mask_labels),
        "mask_threshold": "" if case.mask_threshold is None else str(case.mask_threshold),
    }


def _written(path: Path, folder: Path) -> str:
    absolute, root = path.resolve(), folder.resolve()
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(absolute)
