"""One row for each slide: what became of it, so that nothing fails unseen and nothing is done twice."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from histoscout.errors import OutputError
from histoscout.files import write_text

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
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(LedgerRow)], lineterminator="\n")
    writer.writeheader()
    ordered = sorted(rows, key=lambda row: (row.state == "failed", row.slide))
    writer.writerows({**asdict(row), "mpp": "" if row.mpp is None else repr(row.mpp)} for row in ordered)
    write_text(path, text.getvalue())


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
