"""Files that come back from QuPath: GeoJSON, data files and projects, each matched with its slide."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from histoscout.annotations.geojson import read_geojson
from histoscout.annotations.qpdata.image import uri_file_name
from histoscout.annotations.read import format_of, read_annotations
from histoscout.cohort.annotated_slide import is_mask, read_annotated_regions
from histoscout.cohort.case import Case, open_case, to_shown_frame
from histoscout.cohort.discovery import SlideFinder, match_names
from histoscout.cohort.qupath_project import PROJECT, find_project, read_project
from histoscout.detection.results import ResultFolder, read_cases, read_ledger
from histoscout.errors import ReviewError
from histoscout.geometry.regions import Regions
from histoscout.io.names import slide_key
from histoscout.io.notes import count_and_list
from histoscout.review.changes import Returned
from histoscout.slides.files import image_name

GIVEN = "histoscout"
"""Folder in a QuPath project with the regions of each slide as the project got them."""

_PLAIN_FORMATS = frozenset({".geojson", ".geojson.gz", ".geojson.zip", ".json", ".json.gz", ".zip"})
"""Formats that count from the corner of the slide and name no image: they are read without the slide."""


def find_results(path: Path) -> ResultFolder:
    """Find the results in a folder of `detect`, or of `evaluate`, which keeps them in `found`.

    Args:
        path: The folder.

    Returns:
        The results.

    Raises:
        ReviewError: There are none.
    """
    for folder in (path, path / "found"):
        if ResultFolder(folder).ledger.is_file():
            return ResultFolder(folder)
    fault = "there are no results of detect or evaluate in this folder"
    raise ReviewError(path, fault, "Give the folder that was given to detect with -o")


def cases_of_results(output: ResultFolder, moved: Path | None = None) -> tuple[Case, ...]:
    """The cases of the slides that a detector finished, with the um/px that it used.

    Args:
        output: The results.
        moved: Folder in which slides are found by name if they were moved.

    Returns:
        The cases, in the order of the ledger. Slides need not exist.

    Raises:
        CohortError: Several slides have one name.
        OutputError: The ledger cannot be read.
    """
    finder = None if moved is None else SlideFinder(moved)
    given = {case.name: case for case in read_cases(output)}
    cases = []
    for name, row in read_ledger(output.ledger).items():
        if row.state != "done":
            continue
        case = given.get(name, Case(Path(f"{name}.svs")))
        if finder is not None and not case.slide.exists():
            case = replace(case, slide=finder.find(case.slide.name) or case.slide)
        if row.mpp_source == "given" and case.mpp is None:
            case = replace(case, mpp=row.mpp)
        cases.append(case)
    return tuple(cases)


@dataclass(frozen=True)
class ReturnedFile:
    """A file that came back, and the slide that it belongs to.

    Attributes:
        case: The slide.
        path: The file.
        given: The regions that QuPath got; None if that is not known.
    """

    case: Case
    path: Path
    given: Path | None = None


@dataclass(frozen=True)
class ReturnedFiles:
    """The files that came back.

    Attributes:
        files: One file for each slide.
        notes: Notes for the user.
    """

    files: tuple[ReturnedFile, ...]
    notes: tuple[str, ...] = ()


def find_returned(paths: Sequence[Path], cases: Sequence[Case]) -> ReturnedFiles:
    """Find the files that came back, and the slides that they belong to.

    Args:
        paths: GeoJSON or data files, folders of such files, or QuPath projects.
        cases: The slides of the results.

    Returns:
        The files, in the order of the slides.

    Raises:
        ReviewError: A path does not exist, no file belongs to a slide of the results, or two to one slide.
        CohortError: A project cannot be read.
    """
    files: list[ReturnedFile] = []
    lost: list[str] = []
    notes: list[str] = []
    for path in paths:
        project = find_project(path) if path.is_dir() else path if path.suffix.casefold() == PROJECT else None
        if not path.exists():
            raise ReviewError(path, "there is no such file or folder", "Give what was saved in QuPath")
        if project is not None:
            found, unknown, untouched = _from_project(project, cases)
            if untouched:
                notes.append(f"images that were never saved in QuPath, left out: {count_and_list(untouched)}")
        else:
            found, unknown = _from_files(_list_files(path), cases)
        files += found
        lost += unknown
    if lost:
        notes.append(f"files that belong to no slide of the results, left out: {count_and_list(lost)}")
    if not files:
        fault = "no file belongs to a slide of the results"
        raise ReviewError(
            paths[0], fault, "Files are named after their slides, such as A1.geojson for A1.svs"
        )
    by_slide: dict[str, ReturnedFile] = {}
    for file in files:
        earlier = by_slide.setdefault(file.case.name, file)
        if earlier is not file:
            fault = f"{earlier.path} and this file belong to one slide ({file.case.name})"
            raise ReviewError(file.path, fault, "Give one of them")
    ordered = (by_slide[case.name] for case in cases if case.name in by_slide)
    return ReturnedFiles(tuple(ordered), tuple(notes))


def _list_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [
        file
        for file in sorted(path.iterdir())
        if file.is_file()
        and format_of(file) is not None
        and not file.name.startswith(".")
        and not is_mask(file)
    ]


def _from_files(paths: Sequence[Path], cases: Sequence[Case]) -> tuple[list[ReturnedFile], list[str]]:
    matches = match_names([case.named_file for case in cases], paths)
    files = [
        ReturnedFile(case, path) for case in cases for path in matches[case.named_file] if path != case.slide
    ]
    claimed = {file.path for file in files}
    return files, [path.name for path in paths if path not in claimed]


def _from_project(path: Path, cases: Sequence[Case]) -> tuple[list[ReturnedFile], list[str], list[str]]:
    """The data files of a project, the images that are no slide of the results, and those without a data file."""
    by_name = {slide_key(case.name): case for case in cases}
    files: list[ReturnedFile] = []
    unknown: list[str] = []
    untouched: list[str] = []
    for entry in read_project(path).entries:
        names = (uri_file_name(entry.uri) or entry.name, entry.name)
        keys = [slide_key(image_name(slide_key(name), entry.series)) for name in names]
        case = next((by_name[key] for key in keys if key in by_name), None)
        if case is None:
            unknown.append(entry.name)
        elif entry.annotations is None:
            untouched.append(entry.name)
        else:
            given = path.parent / GIVEN / f"{case.name}.geojson"
            files.append(ReturnedFile(case, entry.annotations, given if given.is_file() else None))
    return files, unknown, untouched


def read_returned(file: ReturnedFile, output: ResultFolder, reader: str) -> tuple[Returned, tuple[str, ...]]:
    """Read a file that came back.

    Args:
        file: The file.
        output: The results.
        reader: Initials of who edited it.

    Returns:
        What came back, and notes on the file.

    Raises:
        AnnotationError: The file cannot be read, or was drawn on an image of another size.
        SlideError: The slide is needed and cannot be read.
    """
    annotations = read_annotations(file.path, everything=True)
    # coordinates may count from another corner, which the slide states
    if format_of(file.path) not in _PLAIN_FORMATS and file.case.slide.exists():
        with open_case(file.case) as slide:
            annotations = to_shown_frame(annotations, file.path, slide)
    findings = output.regions(file.case.name)
    notes = list(annotations.notes)
    row = read_ledger(output.ledger).get(file.case.name)
    if row is not None and findings.is_file() and output.is_edited(row):
        notes.append(
            f"{findings} itself was edited: what was changed there cannot be told from what was found"
        )
    returned = Returned(
        slide=file.case.name,
        regions=annotations.regions,
        reader=reader,
        given=None if file.given is None else read_geojson(file.given).regions,
        references=read_references(file.case),
        findings=read_geojson(findings).regions if findings.is_file() else Regions(),
    )
    return returned, tuple(notes)


def read_references(case: Case) -> Regions:
    """Read the annotations of the cohort on a slide, as they were drawn.

    Args:
        case: The slide.

    Returns:
        The annotations in level-0 px; none if they are a mask, or their file is gone.

    Raises:
        AnnotationError: The file cannot be read.
    """
    path = case.annotations
    if path is None or not path.is_file() or is_mask(path):
        return Regions()
    if format_of(path) in _PLAIN_FORMATS or not case.slide.exists():
        return read_annotated_regions(case, path).regions
    with open_case(case) as slide:
        return read_annotated_regions(case, path, slide).regions
