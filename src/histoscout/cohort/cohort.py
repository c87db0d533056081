"""Which slides there are, whose they are, and what was drawn on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from histoscout.cohort.case import BUILT_IN
from histoscout.cohort.case import Case as Case
from histoscout.cohort.case import SplitName as SplitName
from histoscout.cohort.discovery import SLIDE_SUFFIXES, Moved, annotations_of, slides_in, with_own_patients
from histoscout.cohort.qupath_project import PROJECT, cases_of_project, project_in, read_project
from histoscout.cohort.table import cases_of_table
from histoscout.errors import CohortError
from histoscout.io.tables import read_table, write_csv

TABLES = frozenset({".csv", ".tsv", ".txt"})


@dataclass(frozen=True)
class Cohort:
    """The slides of a study, where they were listed, and what the user should know about the list."""

    cases: tuple[Case, ...]
    where: str
    notes: tuple[str, ...] = ()

    @property
    def patients(self) -> tuple[str, ...]:
        """Every patient once, sorted."""
        return tuple(sorted({case.patient for case in self.cases}))

    @property
    def by_class(self) -> bool:
        """Whether these are images of one class each, rather than slides with outlines."""
        return bool(self.cases) and all(case.label for case in self.cases)

    @property
    def built_in(self) -> bool:
        """Whether these are slides that histoscout has drawn."""
        return bool(self.cases) and all(case.site == BUILT_IN for case in self.cases)

    def in_split(self, *splits: SplitName) -> "Cohort":
        """The part of the cohort that is in one of these splits."""
        return replace(self, cases=tuple(case for case in self.cases if case.split in splits))


def read_cohort(path: Path, slides: Path | None = None) -> Cohort:
    """The slides that a table, a QuPath project, a folder or a single slide file stands for.

    A table (CSV, also as Excel saves it) needs the column `slide` only; `annotations`, `patient`, `split`
    (train, tune or test), `mpp` (um/px) and `site` are read where they are there, and for annotations that
    are images `mask_labels` ("1=tumour;2=stroma") and `mask_threshold` (128, for JPEG). Its paths are
    relative to its folder. In a folder, and in a table without a column of annotations, these are found by
    the slide's name, beside it or in a folder `annotations`. A project is given by its file (.qpproj) or the folder
    that holds it. Slides of a table or project that have been moved are found again by their names under the
    folder `slides`.

    CohortError lists all at once: missing files, slides named twice, a patient in two splits, cells that make
    no sense. What is assumed is told in `notes`.
    """
    project = project_in(path) if path.is_dir() else path if path.suffix.casefold() == PROJECT else None
    moved = None if slides is None else Moved(slides)
    if project is not None:
        return _of_project(project, moved)
    if moved is not None and path.suffix.casefold() not in TABLES:
        raise CohortError(
            slides, "is given for slides that have been moved", "Leave out --slides: none are listed"
        )
    if path.is_dir():
        return _of_slides(slides_in(path), path)
    if not path.exists():
        raise CohortError(
            path, "does not exist", "Give a table of slides (CSV), a folder of slides, or a slide"
        )
    if path.suffix.casefold() in TABLES:
        return _of_table(path, moved)
    return _of_slides([path], path)


def _of_slides(slides: list[Path], where: Path) -> Cohort:
    if not slides:
        kinds = ", ".join(sorted(SLIDE_SUFFIXES))
        raise CohortError(
            where, f"holds no slides ({kinds})", "Give the folder that the slide files lie in themselves"
        )
    found = {slide: annotations_of(slide) for slide in slides}
    cases, nameless = with_own_patients(
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


def _of_project(path: Path, moved: Moved | None) -> Cohort:
    cases, notes = cases_of_project(read_project(path), moved)
    return Cohort(tuple(cases), str(path), tuple(notes))


def _of_table(path: Path, moved: Moved | None) -> Cohort:
    table = read_table(path)
    listed, nameless = cases_of_table(table, path, moved)
    cases = _with_patients_split(listed)
    notes = []
    if moved is not None and moved.found:
        notes.append(moved.told)
    notes += [*table.notes, *nameless]
    if "annotations" not in table.columns and (found := sum(case.annotations is not None for case in cases)):
        notes.append(f"annotations of {found} slides were found by their names")
        notes += _several({case.slide: annotations_of(case.slide) for case in cases})
    if late := sum(
        new.split is not None for row, new in zip(table.rows, cases, strict=True) if not row.cell("split")
    ):
        notes.append(f"{late} rows without a split are in that of their patient's other slides")
    return Cohort(tuple(cases), str(path), tuple(notes))


def _with_patients_split(cases: list[Case]) -> list[Case]:
    """Rows without a split get that of their patient, lest a test patient's other slide be trained on."""
    of_patient = {case.patient: case.split for case in cases if case.split is not None}
    return [replace(case, split=of_patient.get(case.patient)) for case in cases]


def write_cohort(cohort: Cohort, path: Path) -> None:
    """Write a cohort as a table that `read_cohort` reads, with relative paths below the table's folder."""
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
