"""The slides that the viewer shows: of results, of an evaluation, of a cohort, or single files."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from histoscout.cohort.case import Case
from histoscout.cohort.cohort import read_cohort
from histoscout.cohort.discovery import SlideFinder
from histoscout.detection.operating_point import OPERATING_FILE, OperatingPoints
from histoscout.detection.outlining import Outlining, read_outlining
from histoscout.detection.results import LedgerRow, ResultFolder, read_cases, read_ledger
from histoscout.errors import HistoscoutError, OutputError
from histoscout.geometry.regions import Regions
from histoscout.review.review import FOLDER, Review

KEY_DIGITS = 10
"""Digits of the hash by which the page asks for a slide; its name never becomes part of a path."""


@dataclass(frozen=True, kw_only=True)
class ViewedSlide:
    """A slide that the viewer lists.

    Attributes:
        key: What the page calls it.
        case: The slide and its annotations.
        output: The results that it belongs to; None without.
        row: Its row of the ledger; None without.
        outlining: How its regions were outlined.
        fault: Why it cannot be shown; empty if nothing is known to be wrong.
    """

    key: str
    case: Case
    output: ResultFolder | None = None
    row: LedgerRow | None = None
    outlining: Outlining = field(default_factory=Outlining)
    fault: str = ""

    @property
    def name(self) -> str:
        """Name of the slide."""
        return self.case.name

    @property
    def heatmap(self) -> Path | None:
        """Its heatmap; None without."""
        path = None if self.output is None else self.output.heatmap(self.name)
        return path if path is not None and path.is_file() else None


@dataclass(frozen=True, kw_only=True)
class Library:
    """Everything that the viewer shows.

    Attributes:
        slides: The slides, in the order they are listed.
        review: Where readers' operations are saved; None to look only.
        points: Operating points of an evaluation; None without.
        notes: Notes for the user.
    """

    slides: tuple[ViewedSlide, ...]
    review: Review | None
    points: OperatingPoints | None = None
    notes: tuple[str, ...] = ()

    @property
    def threshold(self) -> float | None:
        """Probability from which a place was detected; None if results differ or do not say so."""
        thresholds = {slide.outlining.threshold for slide in self.slides if slide.output is not None}
        return thresholds.pop() if len(thresholds) == 1 else None

    def find(self, key: str) -> ViewedSlide | None:
        """The slide that the page calls so; None if there is none."""
        return next((slide for slide in self.slides if slide.key == key), None)


def open_library(paths: Sequence[Path], moved: Path | None = None, out: Path | None = None) -> Library:
    """Collect the slides of folders of results, evaluations, cohorts and slide files.

    Args:
        paths: Folders that detect or evaluate wrote, cohorts, or slides.
        moved: Folder in which slides are found by name if they were moved.
        out: Folder for what readers do. Without it, that is `review` in the one folder of results; if there are none or
            several, nothing can be changed.

    Returns:
        The library.

    Raises:
        HistoscoutError: A path is nothing that can be shown.
    """
    slides: list[ViewedSlide] = []
    notes: list[str] = []
    outputs: list[ResultFolder] = []
    points: OperatingPoints | None = None
    finder = None if moved is None else SlideFinder(moved)
    for path in paths:
        output = _results(path)
        if output is None:
            cohort = read_cohort(path, moved if path.suffix.casefold() == ".csv" else None)
            slides += [_viewed(case, None, None, fault="") for case in cohort.cases]
            notes += cohort.notes
            continue
        outputs.append(output)
        slides += _slides_of_results(output, finder)
        if output.folder != path:
            points = OperatingPoints.read(path / OPERATING_FILE)
    if not slides:
        raise OutputError(paths[0], "there is no slide to show", "Give a folder of results or a slide")
    folder = out or (outputs[0].folder / FOLDER if len(outputs) == 1 else None)
    review = None if folder is None else Review(folder, _findings(slides))
    if review is None:
        notes.append("nothing can be changed here: give a folder for corrections with -o")
    return Library(slides=tuple(_distinct(slides)), review=review, points=points, notes=tuple(notes))


def _results(path: Path) -> ResultFolder | None:
    """The results in a folder, or in the folder of an evaluation; None if it is neither."""
    for folder in (path, path / "found"):
        if (folder / "ledger.csv").is_file():
            return ResultFolder(folder)
    return None


def _slides_of_results(output: ResultFolder, finder: SlideFinder | None) -> list[ViewedSlide]:
    cases = {case.name: case for case in read_cases(output)}
    outlining = read_outlining(output)
    slides = []
    for name, row in read_ledger(output.ledger).items():
        case = cases.get(name, Case(Path(f"{name}.svs")))
        if not case.slide.exists() and finder is not None:
            case = replace(case, slide=finder.find(case.slide.name) or case.slide)
        fault = row.reason if row.state == "failed" else ""
        if not case.slide.exists():
            fault = f"the slide file {case.slide.name} is not there: give its folder with --slides"
        if row.mpp_source == "given" and case.mpp is None:
            case = replace(case, mpp=row.mpp)
        slides.append(replace(_viewed(case, output, row, fault=fault), outlining=outlining))
    return slides


def _viewed(case: Case, output: ResultFolder | None, row: LedgerRow | None, *, fault: str) -> ViewedSlide:
    key = hashlib.sha256(case.name.encode(errors="surrogatepass")).hexdigest()[:KEY_DIGITS]
    return ViewedSlide(key=key, case=case, output=output, row=row, fault=fault)


def _distinct(slides: Iterable[ViewedSlide]) -> list[ViewedSlide]:
    """The slides, each name once: corrections are kept by name."""
    return list({slide.key: slide for slide in reversed(list(slides))}.values())[::-1]


def _findings(slides: Sequence[ViewedSlide]) -> "_FindingsReader":
    return _FindingsReader({slide.name: slide for slide in slides})


@dataclass(frozen=True)
class _FindingsReader:
    """Reads what a detector found on a slide, for the review."""

    slides: dict[str, ViewedSlide]

    def __call__(self, name: str) -> Regions:
        slide = self.slides.get(name)
        return Regions() if slide is None else read_findings(slide)


def read_findings(slide: ViewedSlide) -> Regions:
    """The regions that a detector found on a slide.

    Args:
        slide: The slide.

    Returns:
        The regions; none without results.

    Raises:
        HistoscoutError: The file cannot be read.
    """
    from histoscout.annotations.geojson import read_geojson

    path = None if slide.output is None else slide.output.regions(slide.name)
    return Regions() if path is None or not path.is_file() else read_geojson(path).regions


def describe_fault(error: HistoscoutError) -> str:
    """What is wrong and what to do, without the path, which a page need not know.

    Args:
        error: The error.
    """
    return f"{error.fault.rstrip('.')}. {error.remedy.rstrip('.')}."
