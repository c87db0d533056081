"""From a heatmap to outlines that a pathologist can open, judge and correct."""

import math
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import Polygon

from histoscout.detection.clean import cleaned, without_corners
from histoscout.detection.heatmap import LEVELS, Heatmap, level_of
from histoscout.detection.parts import Part, parts
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Outline, Region, Regions, polygonal
from histoscout.geometry.trace import trace
from histoscout.recipe import Detection

SCORE_AT = 0.9
"""A region's score is this quantile of the probabilities inside: high, yet not that of a single cell."""

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "histoscout/region")


@dataclass(frozen=True)
class _Found:
    """An outline in level-0 px, and the levels inside it."""

    outline: Outline
    score: float
    mean: float
    peak: float


def outline(
    heatmap: Heatmap, label: str, threshold: float, choices: Detection, model_hash: str = ""
) -> Regions:
    """The regions where a label is at least as probable as `threshold`: with holes, not cut at windows.

    Holes and specks are removed, outlines simplified by at most `choices.simplify_um`; they are valid and never touch
    themselves (QuPath refuses the file otherwise).
    The score is the 90th percentile of the probability inside. Ids are the same for the same model, slide
    and outline. Cells touching at a corner belong together. Outlines in level-0 px, clipped to the slide;
    from the top down.
    """
    floor = max(1, level_of(threshold))
    hole_radius = math.sqrt(choices.largest_hole_um2 / math.pi)
    reach = math.ceil(2 * hole_radius / heatmap.mpp)
    found = [
        one
        for part in parts(heatmap.levels(label), floor, reach)
        for one in _found_in(part, heatmap, floor, choices)
    ]
    return Regions.of(_region(one, label, heatmap, model_hash) for one in found)


def _found_in(part: Part, heatmap: Heatmap, floor: int, choices: Detection) -> Iterator[_Found]:
    mpp, scale = heatmap.mpp * part.coarser, heatmap.scale * part.coarser
    levels = part.levels
    mask = without_corners(levels >= floor)
    mask = cleaned(mask, choices.smallest_um2 / mpp**2, choices.largest_hole_um2 / mpp**2)
    corner_x = heatmap.box.x + part.column * heatmap.scale
    corner_y = heatmap.box.y + part.row * heatmap.scale
    box = Box(corner_x, corner_y, mask.shape[1] * scale, mask.shape[0] * scale)
    traced = trace(mask, box, scale)
    simple = _simplified(traced, choices.simplify_um / heatmap.slide_mpp)
    clipped = _clipped(simple, heatmap.box)
    for shape, (score, mean, peak) in zip(clipped, _levels_inside(mask, levels), strict=True):
        if shape is not None:
            yield _Found(shape, score, mean, peak)


def _levels_inside(mask: NDArray[np.bool_], levels: NDArray[np.uint8]) -> list[tuple[float, float, float]]:
    """Score, mean and highest probability of each connected piece, in the order of `trace`."""
    pieces, count = ndimage.label(mask)
    # piece and level in one number: one sort gives every piece's quantiles, however many there are
    keys = np.sort((pieces[mask].astype(np.uint32) - 1) * LEVELS + levels[mask])
    ends = np.searchsorted(keys, np.arange(1, count + 1, dtype=np.uint32) * LEVELS)
    starts = np.concatenate([[0], ends[:-1]]) if count else ends
    values = keys % LEVELS
    at = starts + np.ceil(SCORE_AT * (ends - starts)).astype(np.int64) - 1
    sums = np.add.reduceat(values.astype(np.float64), starts) if count else np.zeros(0)
    measured = np.stack([values[at], sums / np.maximum(ends - starts, 1), values[ends - 1]]) / (LEVELS - 1)
    return [(float(score), float(mean), float(peak)) for score, mean, peak in measured.T]


def _simplified(outlines: Sequence[Polygon], tolerance: float) -> list[Polygon]:
    """Outlines with fewer corners; one that would touch itself keeps all of its corners."""
    if not tolerance or not outlines:
        return list(outlines)
    simple = shapely.simplify(np.array(outlines, dtype=object), tolerance, preserve_topology=True)
    return [new if _is_sound(new) else old for new, old in zip(simple.tolist(), outlines, strict=True)]


def _is_sound(outline: Polygon) -> bool:
    """Whether an outline is valid and its rings touch neither themselves nor one another."""
    if not outline.is_valid or outline.is_empty:
        return False
    return not outline.interiors or bool(
        shapely.is_simple(shapely.MultiLineString(shapely.get_rings(outline).tolist()))
    )


def _clipped(outlines: Sequence[Polygon], box: Box) -> list[Outline | None]:
    """Outlines cut to the slide: its last row and column of cells may reach beyond it by a part of a cell."""
    if not outlines:
        return []
    left, top, right, bottom = np.array([one.bounds for one in outlines]).T
    beyond = (left < box.x) | (top < box.y) | (right > box.right) | (bottom > box.bottom)
    whole = shapely.box(*box.bounds)
    return [
        polygonal(shapely.intersection(one, whole)) if over else one
        for one, over in zip(outlines, beyond.tolist(), strict=True)
    ]


def _region(found: _Found, label: str, heatmap: Heatmap, model_hash: str) -> Region:
    name = "\n".join((model_hash, heatmap.slide_name, label, shapely.to_wkb(found.outline, hex=True)))
    measurements = {
        "area mm2": float(found.outline.area) * heatmap.slide_mpp**2 * 1e-6,
        "mean probability": round(found.mean, 4),
        "max probability": round(found.peak, 4),
    }
    properties = {"measurements": measurements, "metadata": {"model": model_hash}}
    return Region(found.outline, label, round(found.score, 4), str(uuid.uuid5(_NAMESPACE, name)), properties)
