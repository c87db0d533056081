"""The folder of results: ledger (one row for each slide), table of lesions, and files of each slide."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from histoscout.annotations.found import read_found
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort, write_cohort
from histoscout.cohort.table import read_mask_labels, read_mpp, read_series, read_split_name
from histoscout.errors import AnnotationError, CohortError, OutputError
from histoscout.io.files import read_text, remove_leftovers, sha256
from histoscout.io.tables import CsvRow, read_cell, read_table, write_csv

COLUMNS = ("slide", "id", "label", "score", "area_mm2", "x_um", "y_um", "x_px", "y_px")
"""Columns of lesions.csv."""

SlideState = Literal["done", "failed", "planned", "begun"]
STORED_STATES: Mapping[str, SlideState] = MappingProxyType(
    {"done": "done", "failed": "failed", "begun": "begun"}
)
"""States in a ledger. A slide that is only begun was being examined when its run was killed, or is right now."""


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """One row of the ledger: what was done with a slide.

    Attributes:
        slide: Name of the slide.
        state: "done", "failed", "planned", or "begun" from before its first file is written.
        reason: Why it failed, or notes for the user.
        seconds: Time it took; an estimate if planned.
        windows: Windows that were examined.
        regions: Detected regions.
        tissue_mm2: Tissue that was examined.
        pen_mm2: Tissue left out for pen marks.
        blur_mm2: Tissue left out for bad focus.
        mpp: um/px of the slide.
        mpp_source: Where the um/px comes from.
        model: Hash of the model.
        settings: Hash of everything that changes results.
        operating_target: The operating target and its score threshold.
        file_hash: Hash of the slide file, which recognizes another slide of the same name.
        area: Hash of the annotations that limit what is examined; empty for the whole slide.
        heatmap_settings: Hash of everything that changes the heatmap; empty in ledgers of earlier versions.
        files: Sizes and hashes of the files of regions, heatmap and overlay; empty in older ledgers.
    """

    slide: str
    state: SlideState
    reason: str = ""
    seconds: float = 0.0
    windows: int = 0
    regions: int = 0
    tissue_mm2: float = 0.0
    pen_mm2: float = 0.0
    blur_mm2: float = 0.0
    mpp: float | None = None
    mpp_source: str = ""
    model: str = ""
    settings: str = ""
    operating_target: str = ""
    file_hash: str = ""
    area: str = ""
    heatmap_settings: str = ""
    files: str = ""


def read_ledger(path: Path) -> dict[str, LedgerRow]:
    """Read a ledger.

    Args:
        path: ledger.csv, of this version or of histoscout 0.1.0.

    Returns:
        Rows by slide; none if there is no ledger yet.

    Raises:
        OutputError: If the file is not a ledger.
    """
    if not path.exists():
        return {}
    try:
        with io.StringIO(read_text(path), newline="") as file:
            lines = csv.DictReader(file, strict=True)
            rows = [
                _row({name: read_cell(cell or "") for name, cell in line.items() if name}) for line in lines
            ]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError) as error:
        fault = f"this is not a ledger that detect wrote ({error})"
        raise OutputError(path, fault, "Give another folder with -o, or remove this file") from error
    return {row.slide: row for row in rows}


def write_ledger(rows: Iterable[LedgerRow], path: Path) -> None:
    """Write a ledger, sorted by name of slide, failures last.

    Args:
        rows: The rows.
        path: The file, which is replaced.
    """
    ordered = sorted(rows, key=lambda row: (row.state == "failed", row.slide))
    cells = ({**asdict(row), "mpp": "" if row.mpp is None else repr(row.mpp)} for row in ordered)
    write_csv(path, [field.name for field in fields(LedgerRow)], cells)


def _row(cells: Mapping[str, str]) -> LedgerRow:
    """A row from its cells; ValueError or KeyError if it is none."""
    if cells["state"] not in STORED_STATES:
        raise ValueError(f"{cells['slide']} is {cells['state']!r}")
    return LedgerRow(
        slide=cells["slide"],
        state=STORED_STATES[cells["state"]],
        reason=cells["reason"],
        seconds=float(cells["seconds"]),
        windows=int(cells["windows"]),
        regions=int(cells["regions"]),
        tissue_mm2=float(cells["tissue_mm2"]),
        pen_mm2=float(cells["pen_mm2"]),
        blur_mm2=float(cells["blur_mm2"]),
        mpp=float(cells["mpp"]) if cells["mpp"] else None,
        mpp_source=cells["mpp_source"],
        model=cells["model"],
        settings=cells["settings"],
        # "at" in ledgers of histoscout 0.1.0; older ones have none of these columns
        operating_target=cells.get("operating_target", cells.get("at", "")),
        file_hash=cells.get("file_hash", ""),
        area=cells.get("area", ""),
        heatmap_settings=cells.get("heatmap_settings", ""),
        files=cells.get("files", ""),
    )


@dataclass(frozen=True)
class ResultFolder:
    """A folder of results: a folder for each kind of file, in it a file for each slide.

    Attributes:
        folder: The folder.
        heatmaps: The folder whose heatmaps the regions were outlined from; None if it is this one.
    """

    folder: Path
    heatmaps: Path | None = None

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.folder / "ledger.csv"

    @property
    def cohort(self) -> Path:
        """The table of the slides that were given, with the files they were read from."""
        return self.folder / "cohort.csv"

    @property
    def outlining(self) -> Path:
        """How regions were outlined from heatmaps."""
        return self.folder / "detection.json"

    @property
    def lesions(self) -> Path:
        """The table of lesions."""
        return self.folder / "lesions.csv"

    def regions(self, slide: str) -> Path:
        """Regions of a slide, for QuPath."""
        return self.folder / "regions" / f"{slide}.geojson"

    def heatmap(self, slide: str) -> Path:
        """Heatmap of a slide."""
        return (self.heatmaps or self.folder) / "heatmaps" / f"{slide}.ome.tiff"

    def overlay(self, slide: str) -> Path:
        """Picture of a slide with its regions."""
        return self.folder / "overlays" / f"{slide}.png"

    def error(self, slide: str) -> Path:
        """Traceback of a slide that failed."""
        return self.folder / "errors" / f"{slide}.txt"

    def make(self) -> None:
        """Make the folder; OutputError if that is not possible."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            fault = f"the folder cannot be made ({reason})"
            raise OutputError(self.folder, fault, "Give another folder with -o") from error

    def remove_leftovers(self, *, alone: bool) -> None:
        """Remove temporary files of killed runs; `alone` says that no other run is in the folder."""
        folders = {path.parent for path in (*self._files(""), self.error(""))}
        remove_leftovers(self.folder, *sorted(folders), alone=alone)

    def describe_files(self, slide: str) -> str:
        """Sizes and hashes of the files of a slide, for its row of the ledger."""
        return " ".join(_describe(path) for path in self._files(slide))

    def has_files(self, slide: str) -> bool:
        """Whether all files of a slide exist and none is empty."""
        return all(path.is_file() and path.stat().st_size for path in self._files(slide))

    def is_complete(self, row: LedgerRow) -> bool:
        """Whether all files of a slide are as they were written; regions that somebody has edited count as well."""
        if not self.has_files(row.slide):
            return False
        if not row.files:
            return True
        stated, found = row.files.split(" "), self.describe_files(row.slide).split(" ")
        if stated[1:] != found[1:]:
            return False
        return stated[0] == found[0] or self._can_read_regions(row.slide)

    def is_edited(self, row: LedgerRow) -> bool:
        """Whether somebody has changed the regions of a slide since they were written."""
        return bool(row.files) and _describe(self.regions(row.slide)) != row.files.split(" ")[0]

    def has_whole_heatmap(self, row: LedgerRow) -> bool:
        """Whether the heatmap of a slide is as it was written."""
        path = self.heatmap(row.slide)
        if not (path.is_file() and path.stat().st_size):
            return False
        return not row.files or _describe(path) in row.files.split(" ")

    def _can_read_regions(self, slide: str) -> bool:
        try:
            read_found(self.regions(slide))
        except AnnotationError:
            return False
        return True

    def forget(self, slide: str, *, keep_error: bool = False) -> None:
        """Remove what an earlier run wrote for a slide."""
        for path in (*self._files(slide), *(() if keep_error else (self.error(slide),))):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                reason = error.strerror or str(error)
                raise OutputError(
                    path, f"the file cannot be replaced ({reason})", "Check its permissions"
                ) from error

    def _files(self, slide: str) -> tuple[Path, ...]:
        # heatmaps of another folder are only read
        own = (self.heatmap(slide),) if self.heatmaps is None else ()
        return self.regions(slide), *own, self.overlay(slide)


def write_cases(cases: Iterable[Case], output: ResultFolder) -> None:
    """Add cases to the table of the slides that were given; a case replaces an earlier one of its name.

    Args:
        cases: The cases of a run.
        output: The folder of results.
    """
    known = {case.name: case for case in (*read_cases(output), *cases)}
    ordered = tuple(known[name] for name in sorted(known))
    write_cohort(Cohort(ordered, str(output.cohort)), output.cohort)


def read_cases(output: ResultFolder) -> tuple[Case, ...]:
    """The cases that results were made from, whether or not their files are still there.

    Args:
        output: The folder of results.

    Returns:
        The cases; none if the folder has no table of them, as folders of histoscout 0.2.0 and before.

    Raises:
        CohortError: If the table cannot be read.
    """
    if not output.cohort.is_file():
        return ()
    try:
        return tuple(_case(row, output.folder) for row in read_table(output.cohort).rows)
    except ValueError as error:
        remedy = "Run detect again to make this table again"
        raise CohortError(output.cohort, f"a row cannot be read ({error})", remedy) from error


def _case(row: CsvRow, folder: Path) -> Case:
    annotations, mpp, threshold = row.cell("annotations"), row.cell("mpp"), row.cell("mask_threshold")
    return Case(
        folder / row.cell("slide"),
        folder / annotations if annotations else None,
        row.cell("patient"),
        split=read_split_name(row.cell("split")) if row.cell("split") else None,
        mpp=read_mpp(mpp) if mpp else None,
        series=read_series(row.cell("series")) if row.cell("series") else None,
        site=row.cell("site") or None,
        mask_labels=read_mask_labels(row.cell("mask_labels")) if row.cell("mask_labels") else (),
        mask_threshold=int(threshold) if threshold else None,
    )


def _describe(path: Path) -> str:
    return f"{path.stat().st_size}:{sha256(path)[:16]}"


def find_results(folder: Path, settings: str) -> ResultFolder:
    """Find results of some settings: in a folder, or inside it if they were outlined from its heatmaps.

    Args:
        folder: The folder that was given to `detect`.
        settings: Hash of the settings, as in the ledger.

    Returns:
        The folder of results; the folder itself if there are none.
    """
    inside = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for place in (folder, *inside):
        rows = read_ledger(ResultFolder(place).ledger).values()
        if any(row.settings == settings for row in rows):
            return ResultFolder(place, heatmaps=None if place == folder else folder)
    return ResultFolder(folder)


def write_lesions(
    rows: Iterable[LedgerRow], output: ResultFolder, kept: ResultFolder | None = None
) -> list[str]:
    """Write lesions.csv: a line for each region on each finished slide, by slide, highest score first.

    The centroid is in um and in level-0 px from the slide's top left corner, as QuPath shows it. A region that somebody
    drew into a result file has no score.

    Args:
        rows: The ledger.
        output: The folder of results.
        kept: Where the results of slides are that are not in this folder.

    Returns:
        Notes on files of regions that cannot be read any more.
    """
    notes = []
    lines: list[tuple[str, ...]] = []
    for row in sorted(rows, key=lambda row: row.slide):
        if row.state == "done" and row.mpp is not None:
            try:
                has_own = kept is None or output.regions(row.slide).is_file()
                lines += _lines(row.slide, row.mpp, output if has_own or kept is None else kept)
            except AnnotationError as error:
                notes.append(f"its regions are not in {output.lesions.name}: {error}")
    write_csv(output.lesions, COLUMNS, lines)
    return notes


def _lines(slide: str, mpp: float, output: ResultFolder) -> list[tuple[str, ...]]:
    regions = read_found(output.regions(slide))
    lines: list[tuple[str, ...]] = []
    for region in sorted(regions, key=lambda region: (-(region.score or 0), region.id)):
        x, y = region.outline.centroid.x, region.outline.centroid.y
        numbers = (region.area_mm2(mpp), x * mpp, y * mpp, x, y)
        area, x_um, y_um, x_px, y_px = (f"{number:.6g}" for number in numbers)
        score = "" if region.score is None else f"{region.score:.4f}"
        lines.append((slide, region.id, region.label, score, area, x_um, y_um, x_px, y_px))
    return lines
