"""Outlines to masks, by the rule that a pixel belongs to the outline that holds its centre.

The rule makes the mask of a box equal to the crop of the whole slide's mask, and its area unbiased. Painting
routines that also fill the rim (OpenCV's fillPoly) break both.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.geometry.box import Box
from histoscout.geometry.regions import Outline, Region, Regions


def mask_of(outline: Outline, box: Box, scale: float) -> NDArray[np.bool_]:
    """Where the outline lies inside the box: bool (H, W) at `scale` level-0 px per pixel, holes left out.

    Pixel (i, j) is true if its centre, box.x + (j + .5) * scale and box.y + (i + .5) * scale, lies in the outline.
    """
    mask = np.zeros(box.shape(scale), bool)
    _paint(mask, outline, box, scale, True)
    return mask


def label_map(layers: Sequence[tuple[Regions, int]], box: Box, scale: float) -> NDArray[np.uint8]:
    """One value per pixel: 0 where nothing lies, else the value of the last layer that covers it; uint8 (H, W)."""
    painted = np.zeros(box.shape(scale), np.uint8)
    for regions, value in layers:
        for region in regions.touching(box):
            _paint(painted, region.outline, box, scale, value)
    return painted


def value_map(
    regions: Regions, value_of: Callable[[Region], int], box: Box, scale: float
) -> NDArray[np.uint8]:
    """One value per pixel: 0 where nothing lies, else the value of the last region that covers it; uint8 (H, W)."""
    painted = np.zeros(box.shape(scale), np.uint8)
    for region in regions.touching(box):
        _paint(painted, region.outline, box, scale, value_of(region))
    return painted


def _paint(canvas: NDArray[np.generic], outline: Outline, box: Box, scale: float, value: int | bool) -> None:
    """Set `value` where the outline lies, touching only the rows and columns that it spans."""
    left, top, right, bottom = outline.bounds
    rows, columns = canvas.shape
    first_row = min(rows, max(0, math.floor((top - box.y) / scale)))
    last_row = min(rows, max(0, math.ceil((bottom - box.y) / scale)))
    first_column = min(columns, max(0, math.floor((left - box.x) / scale)))
    last_column = min(columns, max(0, math.ceil((right - box.x) / scale)))
    if first_row >= last_row or first_column >= last_column:
        return
    window = (first_row, last_row, first_column, last_column)
    inside = _inside(outline, box, scale, window)
    canvas[first_row:last_row, first_column:last_column][inside] = value


def _inside(outline: Outline, box: Box, scale: float, window: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Even-odd scanline fill: each edge flips all pixels to the right of where it crosses a row of centres."""
    first_row, last_row, first_column, last_column = window
    start, end = _edges(outline)
    row_of_start, row_of_end = (_first_centre_from(y, box.y, scale) for y in (start[:, 1], end[:, 1]))
    lowest = np.clip(np.minimum(row_of_start, row_of_end), first_row, last_row).astype(np.int64)
    highest = np.clip(np.maximum(row_of_start, row_of_end), first_row, last_row).astype(np.int64)
    crossings = highest - lowest
    edge = np.repeat(np.arange(len(crossings)), crossings)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(crossings) - crossings, crossings) + lowest[edge]
    y = box.y + (row + 0.5) * scale
    slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
    x = start[edge, 0] + (y - start[edge, 1]) * slope
    column = np.clip(_first_centre_from(x, box.x, scale), first_column, last_column).astype(np.int64)
    flips = np.zeros((last_row - first_row, last_column - first_column + 1), np.uint8)
    np.bitwise_xor.at(flips, (row - first_row, column - first_column), 1)
    return np.bitwise_xor.accumulate(flips[:, :-1], axis=1).astype(bool)


def _first_centre_from(place: NDArray[np.float64], origin: float, scale: float) -> NDArray[np.float64]:
    """The first pixel, counted from `origin`, whose centre is at `place` or after it.

    The count by division may be off by one where a centre is hit; comparing with the centres themselves
    settles it, and alike for every box that has this pixel.
    """
    index = np.ceil((place - origin) / scale - 0.5)
    index -= origin + (index - 0.5) * scale >= place
    return index + (origin + (index + 0.5) * scale < place)


def _edges(outline: Outline) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Start and end points of all edges of all rings, each edge from top to bottom: float64 (N, 2) twice.

    One direction for all, so that a shared border is computed alike for both neighbours: no gap, no overlap.
    """
    rings = shapely.get_rings(shapely.get_parts(outline))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    first, second = points[:-1][same], points[1:][same]
    swap = first[:, 1] > second[:, 1]
    return np.where(swap[:, None], second, first), np.where(swap[:, None], first, second)
