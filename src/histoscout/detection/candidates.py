"""Fainter findings, below the threshold in use: what a lower threshold would find besides."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.detection.heatmap import LEVELS, Heatmap, level_of
from histoscout.detection.outline import outline
from histoscout.detection.parts import Part, parts
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Detection

FAINTER = (1 / 2, 1 / 4)
"""Shares of the threshold at which more is outlined."""

_EIGHT = np.ones((3, 3), int)  # cells that touch at a corner belong together, as in `outline`


def candidates(
    heatmap: Heatmap, label: str, threshold: float, choices: Detection, model_hash: str = ""
) -> Regions:
    """Everything that some cut-off may let through: what is found at the threshold, and what is fainter.

    The lesions' curve over thresholds is that of these, by their scores; to keep those of at least a score is to
    choose a point of it.
    """
    found = outline(heatmap, label, threshold, choices, model_hash)
    return with_fainter(found, heatmap, label, threshold, choices, model_hash)


def with_fainter(
    found: Regions,
    heatmap: Heatmap,
    label: str,
    threshold: float,
    choices: Detection,
    model_hash: str = "",
) -> Regions:
    """The regions found at the threshold in use, and those that only lower thresholds find, with lower scores.

    What is found at the threshold stays as it is. A fainter region that touches none found before it joins them,
    so that the curve over thresholds goes on below the one in use. Scores of the first are at least the threshold,
    of the others below it.
    """
    kept = [replace(region, score=max(region.score or 0.0, threshold)) for region in found]
    below = threshold - 0.5 / (LEVELS - 1)
    for share in FAINTER:
        new = [
            region
            for rest in _unfound(heatmap, label, share * threshold, kept)
            for region in outline(rest, label, share * threshold, choices, model_hash)
        ]
        kept += [
            replace(region, score=min(region.score or 0.0, below)) for region in _touching_none(new, kept)
        ]
    return Regions.of(kept)


def _unfound(heatmap: Heatmap, label: str, threshold: float, kept: Sequence[Region]) -> Iterator[Heatmap]:
    """Parts of a heatmap in which a threshold is reached, without the patches around what is found already."""
    floor = max(1, level_of(threshold))
    places = _cells_inside(kept, heatmap)
    for part in parts(heatmap.levels(label), floor, 0):
        patches, count = ndimage.label(part.levels >= floor, _EIGHT)
        row, column = (places - (part.row, part.column)).T // part.coarser
        here = (row >= 0) & (column >= 0) & (row < patches.shape[0]) & (column < patches.shape[1])
        known = np.zeros(count + 1, bool)
        known[patches[row[here], column[here]]] = True
        known[0] = True
        if not known.all():
            yield _as_heatmap(part, np.where(known[patches], 0, part.levels).astype(np.uint8), heatmap, label)


def _cells_inside(regions: Sequence[Region], heatmap: Heatmap) -> NDArray[np.int64]:
    """A cell of the heatmap inside each region, row and column: int64 (N, 2)."""
    points = [region.outline.representative_point() for region in regions]
    scale, corner = heatmap.scale, (heatmap.box.y, heatmap.box.x)
    places = np.array([(point.y, point.x) for point in points]).reshape(-1, 2)
    return np.floor((places - corner) / scale).astype(np.int64)


def _as_heatmap(part: Part, levels: NDArray[np.uint8], whole: Heatmap, label: str) -> Heatmap:
    """A part as a heatmap of its own, where it lies on the slide."""
    scale = whole.scale * part.coarser
    x, y = whole.box.x + part.column * whole.scale, whole.box.y + part.row * whole.scale
    box = Box(x, y, levels.shape[1] * scale, levels.shape[0] * scale)
    return replace(
        whole,
        box=box.intersection(whole.box) or box,
        mpp=whole.mpp * part.coarser,
        labels=(label,),
        values=levels[None],
    )


def _touching_none(regions: Sequence[Region], others: Sequence[Region]) -> list[Region]:
    """The regions that meet none of the others."""
    if not regions or not others:
        return list(regions)
    tree = shapely.STRtree([other.outline for other in others])
    meeting = tree.query([region.outline for region in regions], predicate="intersects")[0]
    met = set(meeting.tolist())
    return [region for index, region in enumerate(regions) if index not in met]
