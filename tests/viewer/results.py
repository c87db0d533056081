"""A folder of results made without a network: a slide, its heatmap and the regions in it."""

from pathlib import Path

import numpy as np
import shapely

from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.case import Case
from histoscout.detection.heatmap import Heatmap, write_heatmap
from histoscout.detection.postprocess import find_regions
from histoscout.detection.results import LedgerRow, ResultFolder, write_cases, write_ledger
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe_sections import DetectionConfig
from histoscout.slides.pyramid import write_pyramid

SIDE, MPP = 1200, 1.0
NAMES = ("A1", "böse <b>name<b> [2] 切片")


def write_results(folder: Path) -> Path:
    """Two slides with two findings each and one annotation, and a slide that is broken."""
    output = ResultFolder(folder / "found")
    random = np.random.default_rng(0)
    rows = [LedgerRow(slide="broken", state="failed", reason="the file is damaged")]
    broken = folder / "broken.svs"
    broken.write_text("no slide", encoding="utf-8")
    cases = [Case(broken)]
    for name in NAMES:
        pixels = random.integers(150, 240, (SIDE, SIDE, 3), np.uint8)
        slide = folder / f"{name}.tif"
        write_pyramid(slide, pixels, MPP)
        levels = np.zeros((1, SIDE // 4, SIDE // 4), np.uint8)
        levels[0, 20:60, 20:60] = 230
        levels[0, 150:200, 150:210] = 160
        box = Box(0, 0, SIDE, SIDE)
        heatmap = Heatmap(
            box=box, mpp=4.0, slide_mpp=MPP, slide_name=name, labels=("UDH",), values=levels, windows=9
        )
        write_heatmap(heatmap, output.heatmap(name))
        regions = find_regions(heatmap, "UDH", 0.5, DetectionConfig())
        write_geojson(regions, output.regions(name))
        annotations = folder / f"{name}.geojson"
        drawn = Regions.of(
            [Region(shapely.box(84, 84, 240, 240), "UDH"), Region(shapely.box(900, 90, 990, 200), "ADH")]
        )
        write_geojson(drawn, annotations)
        cases.append(Case(slide, annotations, f"patient {name}"))
        rows.append(LedgerRow(slide=name, state="done", regions=len(regions), mpp=MPP, mpp_source="metadata"))
    write_cases(cases, output)
    write_ledger(rows, output.ledger)
    return output.folder
