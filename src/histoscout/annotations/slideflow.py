"""Regions of interest of Slideflow: a CSV file for each slide, a row for each point.

The columns are `roi_name` (or `ROI_Name`), `x_base`, `y_base` in level-0 px, and since version 2 `label`. Rows of one
name are one polygon.
"""

import csv
import io
from pathlib import Path

import numpy as np

from histoscout.annotations.files import read_content
from histoscout.annotations.polygons import shape_outline
from histoscout.annotations.qupath_properties import checked_outline, file_notes, stable_id
from histoscout.annotations.read import Annotations
from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Region, Regions
from histoscout.io.files import decode_text
from histoscout.io.inputs import open_regular
from histoscout.io.notes import NoteCounter

COLUMNS = ("roi_name", "x_base", "y_base")
"""Columns that a file must have, in any case."""
LABEL = "label"
"""Column of the class; files of earlier versions lack it."""
_NO_CLASS = frozenset({"", "none", "nan", "na"})
_HEAD_BYTES = 4096


def is_roi_table(path: Path) -> bool:
    """Whether a CSV file has the columns of Slideflow's regions of interest.

    Args:
        path: The file.
    """
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    first = head.replace(b"\0", b"").split(b"\n", 1)[0].decode("utf-8", "replace").casefold()
    return all(column in first for column in COLUMNS)


def read_slideflow_rois(path: Path) -> Annotations:
    """Read the regions of interest of a slide from Slideflow's CSV.

    Args:
        path: The CSV file.

    Returns:
        Regions in level-0 px, and notes on what was repaired or left out.

    Raises:
        AnnotationError: The file has other columns, or a coordinate is not a number; it names the row.
    """
    text = decode_text(read_content(path))
    if text is None or "\0" in text:
        raise AnnotationError(path, "the file is not text, so it is not CSV", "Export it again")
    try:
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise AnnotationError(path, f"the file is not CSV ({error})", "Export it again") from error
    heading = [cell.strip().casefold() for cell in rows[0]] if rows else []
    if missing := [column for column in COLUMNS if column not in heading]:
        fault = f"the table has no column {', '.join(missing)}, as Slideflow's regions have"
        raise AnnotationError(path, fault, "Give annotations, or the regions of one slide")
    name_at, x_at, y_at = (heading.index(column) for column in COLUMNS)
    label_at = heading.index(LABEL) if LABEL in heading else None

    # rows of one name are one polygon, in the order of the file
    points: dict[str, list[tuple[float, float]]] = {}
    labels: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) <= max(name_at, x_at, y_at):
            raise AnnotationError(f"{path}, row {number}", "cells are missing", "Export it again")
        name = row[name_at].strip()
        xy = _number(row[x_at], "x_base", path, row=number), _number(row[y_at], "y_base", path, row=number)
        points.setdefault(name, []).append(xy)
        lines.setdefault(name, number)
        if label_at is not None and len(row) > label_at:
            labels.setdefault(name, row[label_at].strip())

    counter = NoteCounter()
    regions: list[Region] = []
    for name, corners in points.items():
        parsed = shape_outline("polygon", np.array(corners, np.float64), f"{path}, row {lines[name]}")
        outline = checked_outline(parsed, name, counter)
        if outline is None:
            continue
        label = labels.get(name, "")
        label = "" if label.casefold() in _NO_CLASS else label
        if not label:
            counter.add("annotations without a class", name)
        identity = stable_id(f"{name} {outline.wkt}")
        regions.append(Region(outline, label, id=identity, properties={"name": name} if name else {}))
    return Annotations(Regions.of(regions), file_notes(regions, counter))


def _number(text: str, column: str, path: Path, *, row: int) -> float:
    try:
        if "_" not in text:
            return float(text.replace(",", "."))
    except ValueError:
        pass
    fault = f"{column} is {text[:40]!r}, which is not a number"
    raise AnnotationError(f"{path}, row {row}", fault, "Correct this coordinate")
