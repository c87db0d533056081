"""The table of all regions found on all slides."""

import csv
import io
from collections.abc import Iterable

from histoscout.annotations.geojson import read_geojson
from histoscout.detection.ledger import LedgerRow
from histoscout.detection.output import Output
from histoscout.errors import AnnotationError
from histoscout.files import write_text

COLUMNS = ("slide", "id", "label", "score", "area_mm2", "x_um", "y_um", "x_px", "y_px")


def write_lesions(rows: Iterable[LedgerRow], output: Output) -> list[str]:
    """Write lesions.csv: a line for each region on each finished slide, by slide, highest score first.

    The centroid in um and in level-0 px from the slide's top left corner, as QuPath shows it. A region that somebody drew
    into a slide's file has no score. Returns what is to be told: files of regions that can no longer be read.
    """
    said = []
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda row: row.slide):
        if row.state == "done" and row.mpp is not None:
            try:
                writer.writerows(_lines(row.slide, row.mpp, output))
            except AnnotationError as error:
                said.append(f"its regions are not in {output.lesions.name}: {error}")
    write_text(output.lesions, text.getvalue())
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
