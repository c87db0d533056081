"""A cohort: the cases of a study, read from a table, a folder, a QuPath project or a slide."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path

from histoscout.annotations.read import format_of, is_annotation_file
from histoscout.cohort.case import BUILT_IN
from histoscout.cohort.case import Case as Case
from histoscout.cohort.case import SplitName as SplitName
from histoscout.cohort.discovery import (
    MASK_SUFFIXES,
    SLIDE_SUFFIXES,
    SlideFinder,
    assign_own_patients,
    find_slides,
    is_named_like_slide,
    match_annotations,
    unreadable_notes,
)
from histoscout.cohort.qupath_project import PROJECT, find_project, read_project, read_project_cases
from histoscout.cohort.table import NO_LESION, read_table_cases
from histoscout.errors import CohortError
from histoscout.io.files import StrPath
from histoscout.io.inputs import real_path
from histoscout.io.names import patient_key, patient_spellings, spellings_note
from histoscout.io.notes import count_and_list, pluralize
from histoscout.io.tables import read_table, write_csv

TABLES = frozenset({".csv", ".tsv", ".txt"})
"""Suffixes of cohort tables."""

_REQUIRED_COLUMNS = frozenset({"slide", "annotations", "patient"})
"""Columns that `write_cohort` writes even if they are empty."""


@dataclass(frozen=True)
class Cohort:
    """The cases of a study.

    Attributes:
        cases: The cases.
        where: The table, folder or project they come from.
        notes: Notes for the user.
        spellings: Patient ids that differ only in case, blanks, leading zeros or ".0". They are taken as one patient,
            under the first spelling, so that no split can divide it.

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
    _: KW_ONLY
    spellings: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not (found := patient_spellings(case.patient for case in self.cases)):
            return
        one = {spelling: group[0] for group in found for spelling in group}
        cases = tuple(replace(case, patient=one.get(case.patient, case.patient)) for case in self.cases)
        object.__setattr__(self, "cases", cases)
        object.__setattr__(self, "notes", (*self.notes, spellings_note(found)))
        object.__setattr__(self, "spellings", (*self.spellings, *found))

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

    def reading(self, class_property: str | None = None, keep_found: bool = False) -> "Cohort":
        """The cohort with options for how its annotations are read.

        Args:
            class_property: Property that holds the classes; None to leave it as it is.
            keep_found: Whether regions that histoscout found and nobody confirmed count as annotations.
        """
        cases = tuple(
            replace(
                case,
                class_property=class_property or case.class_property,
                keep_found=keep_found or case.keep_found,
            )
            for case in self.cases
        )
        return replace(self, cases=cases)

    def in_split(self, *splits: SplitName) -> "Cohort":
        """The part of the cohort that is in one of these splits.

        Args:
            splits: The splits to keep.
        """
        return replace(self, cases=tuple(case for case in self.cases if case.split in splits))


def read_cohort(path: StrPath, slides: StrPath | None = None) -> Cohort:
    r"""Read a cohort: a table, a QuPath project, a folder of slides, or a single slide.

    A table (CSV, also as Excel saves it) needs the column `slide` only; `annotations`, `patient`, `split`
    (train, tune or test), `mpp` (um/px), `series` (which image of a file that holds several) and `site` are optional, and for masks `mask_labels` ("1=tumor;2=stroma") and
    `mask_threshold` (128, for JPEG). Paths are relative to the table's folder. In a folder, and in a table without a
    column of annotations, these are found by the slide's name, beside it or in a folder `annotations`.

    `none` in the column `annotations` means that the slide was looked through and has no lesion; an empty cell, that it
    is not annotated.

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
    path = Path(path)
    slides = None if slides is None else Path(slides)
    project = find_project(path) if path.is_dir() else path if path.suffix.casefold() == PROJECT else None
    finder = None if slides is None else SlideFinder(slides)
    if project is not None:
        cases, notes = read_project_cases(read_project(project), finder)
        return Cohort(tuple(cases), str(project), tuple(notes))
    if finder is not None and path.suffix.casefold() not in TABLES:
        raise CohortError(
            slides, "this option is for slides that were moved", "Leave out --slides: none are listed"
        )
    if path.is_dir():
        return _from_slides(find_slides(path), path)
    if not path.exists():
        raise CohortError(
            path, "there is no such file", "Give a table of slides (CSV), a folder of slides, or a slide"
        )
    if path.suffix.casefold() in TABLES:
        return _from_table(path, finder)
    if is_annotation_file(path) and format_of(path) not in MASK_SUFFIXES:
        fault = "this is a file of annotations, not a slide"
        raise CohortError(path, fault, "Give the slide, or a cohort.csv that names slides and annotations")
    return _from_slides([path], path)


def _from_slides(slides: list[Path], where: Path) -> Cohort:
    entries = where.iterdir() if where.is_dir() else ()
    unreadable = unreadable_notes(filter(is_named_like_slide, entries), "slides")
    if not slides:
        kinds = ", ".join(sorted(SLIDE_SUFFIXES))
        fault = "; ".join([f"the folder holds no slides ({kinds})", *unreadable])
        # a folder that others made mostly has its table in it, or its slides one level below
        tables = sorted(path.name for path in where.iterdir() if path.suffix.casefold() in TABLES)
        folders = sorted(path.name for path in where.iterdir() if path.is_dir() and find_slides(path))
        inside = [*tables, *folders][:3]
        remedy = (
            f"Give what is in it: {', '.join(inside)}"
            if inside
            else "Give the folder that holds the slide files"
        )
        raise CohortError(where, fault, remedy)
    matches = match_annotations(slides)
    cases, notes = assign_own_patients(
        [Case(slide, next(iter(files), None)) for slide, files in matches.by_slide.items()],
        [""] * len(slides),
    )
    unclaimed = matches.notes if where.is_dir() else list(matches.unreadable)
    notes += [*_ambiguous_annotations(matches.by_slide), *unclaimed, *unreadable]
    return Cohort(tuple(cases), str(where), tuple(notes))


def _ambiguous_annotations(annotations: Mapping[Path, Sequence[Path]]) -> list[str]:
    """Notes on slides with several annotation files: which of them is read."""
    return [
        f"{slide.name} has several annotation files, of which {files[0].name} is read"
        for slide, files in annotations.items()
        if len(files) > 1
    ]


def _from_table(path: Path, finder: SlideFinder | None) -> Cohort:
    table = read_table(path)
    listed, patient_notes = read_table_cases(table, path, finder)
    # A row without a split gets that of its patient, so that no test patient is trained on.
    splits = {patient_key(case.patient): case.split for case in listed if case.split is not None}
    cases = tuple(replace(case, split=splits.get(patient_key(case.patient))) for case in listed)
    notes = []
    if finder is not None and finder.found:
        notes.append(finder.note)
    notes += [*table.notes, *patient_notes]
    # Without a column of annotations, they are found by the names of the slides.
    matches = match_annotations(
        [case.named_file for case in cases], [case.annotations for case in cases if case.annotations]
    )
    if "annotations" not in table.columns:
        cases = tuple(
            replace(case, annotations=next(iter(matches.by_slide[case.named_file]), None)) for case in cases
        )
        if annotated := sum(case.annotations is not None for case in cases):
            notes.append(
                f"annotations of {pluralize(annotated, 'slide')} were found by {'its name' if annotated == 1 else 'their names'}"
            )
            notes += _ambiguous_annotations(matches.by_slide)
    elif unused := [
        matches.by_slide[case.named_file][0].name
        for case in cases
        if case.annotations is None and matches.by_slide[case.named_file]
    ]:
        notes.append(
            f"files named after slides whose cell of annotations is empty or none, left out: {count_and_list(unused)}"
        )
    notes += matches.notes
    inherited = sum(
        case.split is not None for row, case in zip(table.rows, cases, strict=True) if not row.cell("split")
    )
    if inherited:
        notes.append(f"{inherited} rows without a split get that of their patient's other slides")
    return Cohort(cases, str(path), tuple(notes))


def write_cohort(cohort: Cohort, path: Path) -> None:
    """Write a cohort as a table that `read_cohort` reads.

    Args:
        cohort: The cohort.
        path: The CSV file; paths of files below its folder are written relative to it.

    Raises:
        OutputError: If the file cannot be written.
    """
    rows = [_cells(case, path.parent) for case in cohort.cases]
    columns = [
        column
        for column in _cells(Case(Path()), Path())
        if column in _REQUIRED_COLUMNS or any(row[column] for row in rows)
    ]
    write_csv(path, columns, rows)


def _cells(case: Case, folder: Path) -> dict[str, str]:
    return {
        "slide": _relative_path(case.slide, folder),
        "annotations": _annotation_cell(case, folder),
        "patient": case.patient,
        "split": case.split or "",
        "mpp": "" if case.mpp is None else repr(case.mpp),
        "series": "" if case.series is None else str(case.series),
        "site": case.site or "",
        "mask_labels": ";".join(f"{value}={name}" for value, name in case.mask_labels),
        "class_property": case.class_property,
        "mask_threshold": "" if case.mask_threshold is None else str(case.mask_threshold),
    }


def _annotation_cell(case: Case, folder: Path) -> str:
    if case.annotations is not None:
        return _relative_path(case.annotations, folder)
    return NO_LESION if case.negative else ""


def _relative_path(path: Path, folder: Path) -> str:
    """A path relative to the folder if it is below it, else an absolute one."""
    absolute, root = real_path(path), real_path(folder)
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(absolute)
