"""Postprocessing: from a heatmap to regions with outlines and scores, and fainter regions below the threshold.

A large heatmap is split into parts that hold whole regions, so that memory is bounded and no outline is cut.
"""

import math
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import Polygon

from histoscout.detection.heatmap import LEVELS, Heatmap, threshold_level
from histoscout.detection.inference import release_memory
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Outline, Region, Regions, valid_outline
from histoscout.geometry.simplify import simplify_outlines
from histoscout.geometry.vectorize import contour_polygons
from histoscout.recipe_sections import DetectionConfig
from histoscout.tissue.mask import clean_mask, join_corner_contacts

BLOCK_CELLS = 64
"""Side of the blocks by which a heatmap is split, in cells."""

LARGEST_PART = 2**24
"""Cells of a part; a larger one is made coarser by averaging."""

SCORE_QUANTILE = 0.9
"""A region's score is this quantile of the probabilities inside: high, yet not that of a single cell."""

FAINTER = (1 / 2, 1 / 4)
"""Shares of the threshold at which fainter regions are found."""

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "histoscout/region")

# cells that touch at a corner belong together, as in `find_regions`
_EIGHT_NEIGHBORS = np.ones((3, 3), int)

_Levels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class HeatmapPart:
    """A part of a heatmap with whole regions in it.

    Attributes:
        levels: (H, W) uint8, 0 where the regions of other parts are.
        row: Row of its first cell in the heatmap.
        column: Column of its first cell in the heatmap.
        coarser: Cells of the heatmap along a side of one of its cells.
    """

    levels: _Levels
    row: int
    column: int
    coarser: int


def split_heatmap(levels: _Levels, floor: int, reach: int) -> Iterator[HeatmapPart]:
    """Split a heatmap into parts that hold whole regions, from the top down.

    Args:
        levels: (H, W) uint8.
        floor: Level that a part reaches somewhere.
        reach: Regions nearer to each other than this many cells come in one part.

    Yields:
        The parts.
    """
    # blocks that reach the level, and their neighbors, are grouped
    occupied = _block_peaks(levels) >= floor
    if reach:
        occupied = ndimage.maximum_filter(
            occupied.view(np.uint8), 2 * math.ceil(reach / BLOCK_CELLS) + 1
        ).view(np.bool_)
    groups, _ = ndimage.label(occupied, np.ones((3, 3)))
    for number, where in enumerate(ndimage.find_objects(groups), start=1):
        if where is not None:
            yield _part(levels, groups[where] == number, where[0].start, where[1].start)


def _block_peaks(levels: _Levels) -> _Levels:
    """The highest level in each block."""
    rows, columns = (math.ceil(length / BLOCK_CELLS) for length in levels.shape)
    peaks = np.zeros((rows, columns), np.uint8)
    for row in range(rows):
        highest = levels[row * BLOCK_CELLS : (row + 1) * BLOCK_CELLS].max(axis=0)
        peaks[row] = (
            np.pad(highest, (0, columns * BLOCK_CELLS - len(highest)))
            .reshape(columns, BLOCK_CELLS)
            .max(axis=1)
        )
        if row % 16 == 0:
            release_memory(levels)
    return peaks


def _part(levels: _Levels, blocks: NDArray[np.bool_], block_row: int, block_column: int) -> HeatmapPart:
    """Read a part strip by strip, coarser if it is too large."""
    top, left = block_row * BLOCK_CELLS, block_column * BLOCK_CELLS
    bottom, right = (
        min(start + count * BLOCK_CELLS, end)
        for start, count, end in zip((top, left), blocks.shape, levels.shape, strict=True)
    )
    coarser = 1
    while (bottom - top) * (right - left) / coarser**2 > LARGEST_PART and coarser < BLOCK_CELLS:
        coarser *= 2
    strips = []
    for row, belongs in enumerate(blocks):
        strip = levels[top + row * BLOCK_CELLS : min(top + (row + 1) * BLOCK_CELLS, bottom), left:right]
        strip = strip * np.repeat(belongs, BLOCK_CELLS)[: strip.shape[1]].astype(np.uint8)
        strips.append(strip if coarser == 1 else _averaged(strip, coarser))
        release_memory(levels)
    return HeatmapPart(levels=np.concatenate(strips), row=top, column=left, coarser=coarser)


def _averaged(strip: _Levels, factor: int) -> _Levels:
    """The rounded mean of squares of cells."""
    rows, columns = (-(-length // factor) * factor for length in strip.shape)
    whole = np.pad(strip, ((0, rows - strip.shape[0]), (0, columns - strip.shape[1])), mode="edge")
    # rows first, then columns, a step at a time: far quicker than a mean over axes of a few cells
    down = whole[::factor].astype(np.uint32)
    for start in range(1, factor):
        down += whole[start::factor]
    sums = down[:, ::factor].copy()
    for start in range(1, factor):
        sums += down[:, start::factor]
    return np.asarray(((sums + factor**2 // 2) // factor**2).astype(np.uint8))


@dataclass(frozen=True)
class _ScoredOutline:
    """An outline in level-0 px, and the probabilities inside it."""

    outline: Outline
    score: float
    mean: float
    peak: float


def find_regions(
    heatmap: Heatmap, label: str, threshold: float, choices: DetectionConfig, model_hash: str = ""
) -> Regions:
    """Find the regions where a class is at least as probable as a threshold.

    Small holes and regions are removed, outlines are simplified; they are valid and never touch themselves (QuPath
    refuses the file otherwise). Cells that touch at a corner belong together. The score is the 90th percentile of the
    probability inside. Ids are the same for the same model, slide and outline.

    Args:
        heatmap: The heatmap.
        label: The class.
        threshold: Least probability.
        choices: Least area, largest hole, tolerance of the outlines.
        model_hash: Hash of the model, which is part of the ids.

    Returns:
        Regions in level-0 px, clipped to the slide, from the top down.
    """
    floor = max(1, threshold_level(threshold))
    hole_radius = math.sqrt(choices.max_hole_um2 / math.pi)
    reach = math.ceil(2 * hole_radius / heatmap.mpp)
    levels = heatmap.levels(label)
    return Regions.of(
        _region(outline, label, heatmap, model_hash)
        for part in split_heatmap(levels, floor, reach)
        for outline in _outlines_in(part, heatmap, levels, floor, choices)
    )


def _outlines_in(
    part: HeatmapPart, heatmap: Heatmap, whole: _Levels, floor: int, choices: DetectionConfig
) -> Iterator[_ScoredOutline]:
    """Outlines and scores of the regions of a part."""
    mpp, scale = heatmap.mpp * part.coarser, heatmap.scale * part.coarser
    levels = part.levels
    mask = join_corner_contacts(levels >= floor)
    mask = clean_mask(mask, choices.min_area_um2 / mpp**2, choices.max_hole_um2 / mpp**2)
    corner_x = heatmap.box.x + part.column * heatmap.scale
    corner_y = heatmap.box.y + part.row * heatmap.scale
    # in cells until the end: what is moved by whole cells keeps its outline
    traced = contour_polygons(mask, _with_rim(part, whole), floor - 0.5)
    # the area is that of the cells: at a sharp edge, the contour depends on how high the level is inside
    cells = np.bincount(ndimage.label(mask)[0].ravel())[1:]
    simple = simplify_outlines(traced, cells, choices.simplify_um / mpp)
    placed = shapely.transform(
        np.array(simple, dtype=object), lambda points: points * scale + (corner_x, corner_y)
    )
    clipped = _clipped(placed.tolist(), heatmap.box)
    for shape, (score, mean, peak) in zip(clipped, _levels_inside(mask, levels), strict=True):
        if shape is not None:
            yield _ScoredOutline(shape, score=score, mean=mean, peak=peak)


def _levels_inside(mask: NDArray[np.bool_], levels: NDArray[np.uint8]) -> list[tuple[float, float, float]]:
    """Score, mean and highest probability of each connected piece, in the order of `mask_to_polygons`."""
    pieces, count = ndimage.label(mask)
    # piece and level in one number: one sort gives every piece's quantiles, however many there are
    keys = np.sort((pieces[mask].astype(np.uint32) - 1) * LEVELS + levels[mask])
    ends = np.searchsorted(keys, np.arange(1, count + 1, dtype=np.uint32) * LEVELS)
    starts = np.concatenate([[0], ends[:-1]]) if count else ends
    values = keys % LEVELS
    at = starts + np.ceil(SCORE_QUANTILE * (ends - starts)).astype(np.int64) - 1
    sums = np.add.reduceat(values.astype(np.float64), starts) if count else np.zeros(0)
    measured = np.stack([values[at], sums / np.maximum(ends - starts, 1), values[ends - 1]]) / (LEVELS - 1)
    return [(float(score), float(mean), float(peak)) for score, mean, peak in measured.T]


def _with_rim(part: HeatmapPart, whole: _Levels) -> NDArray[np.float32]:
    """The levels of a part and of the cells around it; NaN beyond the heatmap.

    Cells of blocks that belong to other parts have their true level, so that outlines do not depend on the blocks.
    """
    height, width = part.levels.shape
    rim = np.full((height + 2, width + 2), np.nan, np.float32)
    if part.coarser > 1:
        rim[1:-1, 1:-1] = part.levels
        return rim
    top, left = max(0, part.row - 1), max(0, part.column - 1)
    known = whole[top : part.row + height + 1, left : part.column + width + 1]
    row, column = top - part.row + 1, left - part.column + 1
    rim[row : row + known.shape[0], column : column + known.shape[1]] = known
    return rim


def _clipped(outlines: Sequence[Polygon], box: Box) -> list[Outline | None]:
    """Outlines cut to the slide: its last row and column of cells may reach beyond it by a part of a cell."""
    if not outlines:
        return []
    left, top, right, bottom = np.array([one.bounds for one in outlines]).T
    beyond = (left < box.x) | (top < box.y) | (right > box.right) | (bottom > box.bottom)
    whole = shapely.box(*box.bounds)
    return [
        valid_outline(shapely.intersection(one, whole)) if over else one
        for one, over in zip(outlines, beyond.tolist(), strict=True)
    ]


def _region(scored: _ScoredOutline, label: str, heatmap: Heatmap, model_hash: str) -> Region:
    """A region with its id and the measurements that QuPath shows."""
    name = "\n".join((model_hash, heatmap.slide_name, label, shapely.to_wkb(scored.outline, hex=True)))
    measurements = {
        "area mm2": float(scored.outline.area) * heatmap.slide_mpp**2 * 1e-6,
        "mean probability": round(scored.mean, 4),
        "max probability": round(scored.peak, 4),
    }
    properties = {"measurements": measurements, "metadata": {"model": model_hash}}
    return Region(
        scored.outline,
        label,
        round(scored.score, 4),
        id=str(uuid.uuid5(_NAMESPACE, name)),
        properties=properties,
    )


def find_candidates(
    heatmap: Heatmap, label: str, threshold: float, choices: DetectionConfig, model_hash: str = ""
) -> Regions:
    """Find regions at the threshold and fainter ones: all that some score threshold may let through.

    The FROC curve is that of these regions by their scores; to keep those of at least a score is to choose a point of it.

    Args:
        heatmap: The heatmap.
        label: The class.
        threshold: Probability threshold.
        choices: Least area, largest hole, tolerance of the outlines.
        model_hash: Hash of the model, which is part of the ids.

    Returns:
        The regions.
    """
    found = find_regions(heatmap, label, threshold, choices, model_hash)
    return add_fainter_regions(found, heatmap, label, threshold, choices, model_hash)


def add_fainter_regions(
    found: Regions,
    heatmap: Heatmap,
    label: str,
    threshold: float,
    choices: DetectionConfig,
    model_hash: str = "",
) -> Regions:
    """Add regions that only lower thresholds find, with lower scores, to those found at the threshold.

    A fainter region is added if it touches none found before, so that the FROC curve continues below the threshold.
    Scores of the former are at least the threshold, of the latter below it.

    Args:
        found: Regions at the threshold, which stay as they are.
        heatmap: The heatmap.
        label: The class.
        threshold: Probability threshold.
        choices: Least area, largest hole, tolerance of the outlines.
        model_hash: Hash of the model, which is part of the ids.

    Returns:
        All regions.
    """
    kept = [replace(region, score=max(region.score or 0.0, threshold)) for region in found]
    below = threshold - 0.5 / (LEVELS - 1)
    for share in FAINTER:
        new = [
            region
            for rest in _remaining(heatmap, label, share * threshold, kept)
            for region in find_regions(rest, label, share * threshold, choices, model_hash)
        ]
        kept += [
            replace(region, score=min(region.score or 0.0, below)) for region in _without_contact(new, kept)
        ]
    return Regions.of(kept)


def _remaining(heatmap: Heatmap, label: str, threshold: float, kept: Sequence[Region]) -> Iterator[Heatmap]:
    """Parts of a heatmap that reach a threshold, without the patches around regions that are found already."""
    floor = max(1, threshold_level(threshold))
    places = _cells_inside(kept, heatmap)
    for part in split_heatmap(heatmap.levels(label), floor, 0):
        patches, count = ndimage.label(part.levels >= floor, _EIGHT_NEIGHBORS)
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


def _as_heatmap(part: HeatmapPart, levels: NDArray[np.uint8], whole: Heatmap, label: str) -> Heatmap:
    """A part as a heatmap of its own, at its position on the slide."""
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


def _without_contact(regions: Sequence[Region], others: Sequence[Region]) -> list[Region]:
    """The regions that touch none of the others."""
    if not regions or not others:
        return list(regions)
    tree = shapely.STRtree([other.outline for other in others])
    meeting = tree.query([region.outline for region in regions], predicate="intersects")[0]
    met = set(meeting.tolist())
    return [region for index, region in enumerate(regions) if index not in met]
