"""Outlines to masks, by the rule that a pixel belongs to the outline that holds its centre (see `spans`).

Outlines as runs of pixels, row by row, all outlines at once: the one place that decides which pixel is inside.

A pixel belongs to the outline that holds its centre. The rule makes the mask of a box equal to the crop of the
whole slide's mask, and its area unbiased. Painting routines that also fill the rim (OpenCV's fillPoly) break both.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.geometry.box import Box
from histoscout.geometry.regions import Outline, Region, Regions

STRIP = 512
"""Rows that are summed at once."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Spans:
    """Runs of pixels inside outlines: run k is of outline `owner[k]`, in `row[k]`, from `first[k]` to before `last[k]`.

    int64 (N,) each, by owner, row and column; of `owners` outlines, some of which may have none.
    """

    owner: Ints
    row: Ints
    first: Ints
    last: Ints
    owners: int

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Row, first and last of each run."""
        return zip(self.row.tolist(), self.first.tolist(), self.last.tolist(), strict=True)

    def pixels(self) -> Ints:
        """How many pixels each outline has: int64 (owners,)."""
        counts = np.bincount(self.owner, self.last - self.first, self.owners)
        return counts.astype(np.int64)

    def moved(self, rows: int, columns: int) -> "Spans":
        """The same runs, counted from another corner."""
        return Spans(self.owner, self.row + rows, self.first + columns, self.last + columns, self.owners)

    def sums(self, values: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """The sum of the values (H, W) inside each outline, 0 beyond their edges: float64 (owners,)."""
        rows, columns = values.shape
        first, last = np.clip(self.first, 0, columns), np.clip(self.last, 0, columns)
        totals = np.zeros(self.owners)
        used = np.flatnonzero((self.row >= 0) & (self.row < rows) & (first < last))
        strip_of = self.row[used] // STRIP
        for strip in np.unique(strip_of).tolist():
            runs = used[strip_of == strip]
            part = values[strip * STRIP : (strip + 1) * STRIP]
            upto = np.zeros((part.shape[0], columns + 1), np.uint32)
            np.cumsum(part, axis=1, dtype=np.uint32, out=upto[:, 1:])
            row = self.row[runs] - strip * STRIP
            inside = upto[row, last[runs]].astype(np.float64) - upto[row, first[runs]]
            totals += np.bincount(self.owner[runs], inside, self.owners)
        return totals


def spans(outlines: Sequence[Outline], box: Box, scale: float) -> Spans:
    """The runs of pixels of a box at `scale` level-0 px per pixel that lie in each outline, holes left out.

    Pixel (i, j) is inside if its centre, box.x + (j + .5) * scale and box.y + (i + .5) * scale, is. Every second
    stretch between the places where edges cross a row of centres is inside (even and odd).
    """
    rows, columns = box.shape(scale)
    start, end, owner_of = _edges(outlines)
    row_of_start, row_of_end = (_first_center_from(y, box.y, scale) for y in (start[:, 1], end[:, 1]))
    lowest = np.clip(np.minimum(row_of_start, row_of_end), 0, rows).astype(np.int64)
    highest = np.clip(np.maximum(row_of_start, row_of_end), 0, rows).astype(np.int64)
    crossings = highest - lowest
    edge = np.repeat(np.arange(len(crossings)), crossings)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(crossings) - crossings, crossings) + lowest[edge]
    y = box.y + (row + 0.5) * scale
    slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
    x = start[edge, 0] + (y - start[edge, 1]) * slope
    column = np.clip(_first_center_from(x, box.x, scale), 0, columns).astype(np.int64)
    order = np.lexsort((column, row, owner_of[edge]))
    enters, leaves = order[::2], order[1::2]
    some = column[enters] < column[leaves]
    enters, leaves = enters[some], leaves[some]
    return Spans(owner_of[edge[enters]], row[enters], column[enters], column[leaves], len(outlines))


def _first_center_from(place: NDArray[np.float64], origin: float, scale: float) -> NDArray[np.float64]:
    """The first pixel, counted from `origin`, whose centre is at `place` or after it.

    The count by division may be off by one where a centre is hit; comparing with the centres themselves
    settles it, and alike for every box that has this pixel.
    """
    index = np.ceil((place - origin) / scale - 0.5)
    index -= origin + (index - 0.5) * scale >= place
    return index + (origin + (index + 0.5) * scale < place)


def _edges(outlines: Sequence[Outline]) -> tuple[NDArray[np.float64], NDArray[np.float64], Ints]:
    """Start and end points of all edges of all rings, float64 (N, 2) twice, each from top to bottom; whose they are.

    One direction for all, so that a shared border is computed alike for both neighbours: no gap, no overlap.
    """
    parts, owner_of_part = shapely.get_parts(np.array(outlines, dtype=object), return_index=True)
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    first, second = points[:-1][same], points[1:][same]
    swap = first[:, 1] > second[:, 1]
    owner = np.asarray(owner_of_part[part_of_ring[ring[:-1][same]]], np.int64)
    return np.where(swap[:, None], second, first), np.where(swap[:, None], first, second), owner


def mask_of(outline: Outline, box: Box, scale: float) -> NDArray[np.bool_]:
    """Where the outline lies inside the box: bool (H, W) at `scale` level-0 px per pixel, holes left out.

    Pixel (i, j) is true if its centre, box.x + (j + .5) * scale and box.y + (i + .5) * scale, lies in the outline.
    """
    mask = np.zeros(box.shape(scale), bool)
    for row, first, last in spans([outline], box, scale):
        mask[row, first:last] = True
    return mask


def label_map(layers: Sequence[tuple[Regions, int]], box: Box, scale: float) -> NDArray[np.uint8]:
    """One value per pixel: 0 where nothing lies, else the value of the last layer that covers it; uint8 (H, W)."""
    painted = np.zeros(box.shape(scale), np.uint8)
    for regions, value in layers:
        for row, first, last in spans([region.outline for region in regions.touching(box)], box, scale):
            painted[row, first:last] = value
    return painted


def value_map(
    regions: Regions, value_of: Callable[[Region], int], box: Box, scale: float
) -> NDArray[np.uint8]:
    """One value per pixel: 0 where nothing lies, else the value of the last region that covers it; uint8 (H, W)."""
    in_order = groupby(regions.touching(box), value_of)
    return label_map([(Regions(tuple(alike)), value) for value, alike in in_order], box, scale)
