"""One row for each slide: what became of it, so that nothing fails unseen and nothing is done twice.

The table of all regions found on all slides.

Where the results of detection lie.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from histoscout.annotations.geojson import read_geojson
from histoscout.errors import AnnotationError, OutputError
from histoscout.io.tables import write_csv

State = Literal["done", "failed", "planned"]


@dataclass(frozen=True)
class LedgerRow:
    """What became of one slide.

    `reason` says why it failed, or what else a user should know. `seconds` are an estimate if only planned.
    Areas in mm2: tissue looked at, and left out for pen marks and bad focus. `mpp` in um/px and who said so.
    `settings` stands for all choices that change the result. `at` is what was wished for, and the score from
    which regions were kept for it. `file_hash` stands for the slide's file, so that another slide of the same name is known;
    `area` stands for the outlines within which was looked, if any.
    """

    slide: str
    state: State
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
    at: str = ""
    file_hash: str = ""
    area: str = ""


def read_ledger(path: Path) -> dict[str, LedgerRow]:
    """The rows of a ledger by slide, none if there is no ledger yet; OutputError if it is no ledger."""
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [_row(cells) for cells in csv.DictReader(file, strict=True)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError) as error:
        fault = f"is not a ledger that detect wrote ({error})"
        raise OutputError(path, fault, "Give another folder with -o, or take this file away") from error
    return {row.slide: row for row in rows}


def write_ledger(rows: Iterable[LedgerRow], path: Path) -> None:
    """Write the rows by name of slide, failures last."""
    ordered = sorted(rows, key=lambda row: (row.state == "failed", row.slide))
    cells = ({**asdict(row), "mpp": "" if row.mpp is None else repr(row.mpp)} for row in ordered)
    write_csv(path, [field.name for field in fields(LedgerRow)], cells)


def _row(cells: Mapping[str, str]) -> LedgerRow:
    if cells["state"] not in ("done", "failed"):
        raise ValueError(f"{cells['slide']} is {cells['state']!r}")
    return LedgerRow(
        slide=cells["slide"],
        state="done" if cells["state"] == "done" else "failed",
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
        at=cells.get("at", ""),  # ledgers of earlier versions have no such columns
        file_hash=cells.get("file_hash", ""),
        area=cells.get("area", ""),
    )


@dataclass(frozen=True)
class Output:
    """A folder of results: one folder a kind, one file a slide."""

    folder: Path

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.csv"

    @property
    def lesions(self) -> Path:
        return self.folder / "lesions.csv"

    def regions(self, slide: str) -> Path:
        return self.folder / "regions" / f"{slide}.geojson"

    def heatmap(self, slide: str) -> Path:
        return self.folder / "heatmaps" / f"{slide}.ome.tiff"

    def overlay(self, slide: str) -> Path:
        return self.folder / "overlays" / f"{slide}.png"

    def error(self, slide: str) -> Path:
        return self.folder / "errors" / f"{slide}.txt"

    def make(self) -> None:
        """Make the folder; OutputError if that cannot be."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            fault = f"cannot be made a folder of results ({reason})"
            raise OutputError(self.folder, fault, "Give another folder with -o") from error

    def is_complete(self, slide: str) -> bool:
        """Whether all files of a slide are there."""
        return all(path.is_file() for path in self._of(slide))

    def forget(self, slide: str, *, keep_error: bool = False) -> None:
        """Take away what an earlier run wrote for a slide."""
        for path in (*self._of(slide), *(() if keep_error else (self.error(slide),))):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                reason = error.strerror or str(error)
                raise OutputError(path, f"cannot be replaced ({reason})", "Check its permissions") from error

    def _of(self, slide: str) -> tuple[Path, ...]:
        return self.regions(slide), self.heatmap(slide), self.overlay(slide)


COLUMNS = ("slide", "id", "label", "score", "area_mm2", "x_um", "y_um", "x_px", "y_px")


def write_lesions(rows: Iterable[LedgerRow], output: Output) -> list[str]:
    """Write lesions.csv: a line for each region on each finished slide, by slide, highest score first.

    The centroid in um and in level-0 px from the slide's top left corner, as QuPath shows it. A region that somebody drew
    into a slide's file has no score. Returns what is to be told: files of regions that can no longer be read.
    """
    said = []
    lines: list[tuple[str, ...]] = []
    for row in sorted(rows, key=lambda row: row.slide):
        if row.state == "done" and row.mpp is not None:
            try:
                lines += _lines(row.slide, row.mpp, output)
            except AnnotationError as error:
                said.append(f"its regions are not in {output.lesions.name}: {error}")
    write_csv(output.lesions, COLUMNS, lines)
    return said


def _lines(slide: str, mpp: float, output: Output) -> list[tuple[str, ...]]:
    regions = read_geojson(output.regions(slide)).regions
    lines: list[tuple[str, ...]] = []
    for region in sorted(regions, key=lambda region: (-(region.score or 0), region.id)):
        x, y = region.outline.centroid.x, region.outline.centroid.y
        numbers = (region.area_mm2(mpp), x * mpp, y * mpp, x, y)
        area, x_um, y_um, x_px, y_px = (f"{number:.6g}" for number in numbers)
        score = "" if region.score is None else f"{region.score:.4f}"
        lines.append((slide, region.id, region.label, score, area, x_um, y_um, x_px, y_px))
    return lines
