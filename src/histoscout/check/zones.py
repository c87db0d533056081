"""Outlines as zones of cells: the heart of each, what surrounds that, the edge, and the tissue just outside."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.geometry.box import Box
from histoscout.geometry.raster import mask_of
from histoscout.geometry.regions import Outline

INNER = (1 / 3, 2 / 3)
"""Where the zones inside an outline end, as shares of its greatest depth. A loosely drawn rectangle is sure to be
right in its heart only."""

OUTSIDE_UM = 32.0
ZONES = len(INNER) + 2

Zones = NDArray[np.float32]


def zones_of(outlines: Sequence[Outline], shape: tuple[int, int], side: float, side_um: float) -> Zones:
    """The zones of outlines (level-0 px) on a slide of cells: float32 (ZONES, H, W), 1 where a cell is in the zone.

    From the edge inwards, and last the ring just outside all outlines.
    """
    depth = np.zeros(shape, np.float32)
    for outline in outlines:
        _deepen(depth, outline, side)
    inside = depth > 0
    ring = np.zeros(shape, bool)
    if inside.any():
        reach = max(1.5, OUTSIDE_UM / side_um)
        ring = (ndimage.distance_transform_edt(~inside) <= reach) & ~inside
    which = np.digitize(depth, INNER)
    return np.stack([*((which == zone) & inside for zone in range(len(INNER) + 1)), ring]).astype(np.float32)


def _deepen(depth: NDArray[np.float32], outline: Outline, side: float) -> None:
    """Enter how deep each cell lies in an outline (0 at its edge, 1 at its heart), where that is more than before."""
    left, top, right, bottom = outline.bounds
    first_row, first_column = math.floor(top / side) - 1, math.floor(left / side) - 1
    rows, columns = math.ceil(bottom / side) + 1 - first_row, math.ceil(right / side) + 1 - first_column
    on_slide = (
        slice(max(0, -first_row), min(rows, depth.shape[0] - first_row)),
        slice(max(0, -first_column), min(columns, depth.shape[1] - first_column)),
    )
    if any(part.start >= part.stop for part in on_slide):
        return
    mask = mask_of(outline, Box(first_column * side, first_row * side, columns * side, rows * side), side)
    if not mask.any():
        return
    distance = ndimage.distance_transform_edt(mask)
    distance /= distance.max()
    there = tuple(
        slice(part.start + first, part.stop + first)
        for part, first in zip(on_slide, (first_row, first_column), strict=True)
    )
    depth[there] = np.maximum(depth[there], distance[on_slide])
