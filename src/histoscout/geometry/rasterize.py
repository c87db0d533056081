"""Polygons to masks: a pixel belongs to the polygon that contains its center.

This rule makes the mask of a box equal to the crop of the whole slide's mask, and the mask's area unbiased. Drawing
routines that also fill the edge (such as OpenCV's fillPoly) break both. `pixel_runs` is the one place that decides
which pixel is inside; it handles many polygons at once, as runs of pixels row by row.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.geometry.box import Box
from histoscout.geometry.regions import Outline, Region, Regions

STRIP_ROWS = 512
"""Rows of an image that `PixelRuns.sums` sums at once, which bounds its memory."""

Ints = NDArray[np.int64]


def polygon_to_mask(outline: Outline, box: Box, scale: float) -> NDArray[np.bool_]:
    """The mask of a polygon within a box.

    Pixel (i, j) is true if its center, (box.x + (j + 0.5) * scale, box.y + (i + 0.5) * scale), is in the polygon.

    Args:
        outline: The polygon, in level-0 px; its holes are left out.
        box: The box that the mask covers, in level-0 px.
        scale: Level-0 px per pixel of the mask.

    Returns:
        (H, W) bool, with H and W as `box.shape(scale)`.
    """
    mask = np.zeros(box.shape(scale), bool)
    for row, start, stop in pixel_runs([outline], box, scale):
        mask[row, start:stop] = True
    return mask


def label_map(layers: Sequence[tuple[Regions, int]], box: Box, scale: float) -> NDArray[np.uint8]:
    """Draw layers of regions into one label map; later layers cover earlier ones.

    Args:
        layers: Regions, and the value to draw them with.
        box: The box that the map covers, in level-0 px.
        scale: Level-0 px per pixel of the map.

    Returns:
        The value of the last layer that covers each pixel, 0 where there is none: (H, W) uint8.
    """
    labels = np.zeros(box.shape(scale), np.uint8)
    for regions, value in layers:
        outlines = [region.outline for region in regions.intersecting(box)]
        for row, start, stop in pixel_runs(outlines, box, scale):
            labels[row, start:stop] = value
    return labels


def value_map(
    regions: Regions, value_of: Callable[[Region], int], box: Box, scale: float
) -> NDArray[np.uint8]:
    """Draw regions in their own order into one label map; later regions cover earlier ones.

    Args:
        regions: The regions.
        value_of: Gives the value to draw a region with.
        box: The box that the map covers, in level-0 px.
        scale: Level-0 px per pixel of the map.

    Returns:
        The value of the last region that covers each pixel, 0 where there is none: (H, W) uint8.
    """
    runs_of_a_value = groupby(regions.intersecting(box), value_of)
    return label_map([(Regions(tuple(group)), value) for value, group in runs_of_a_value], box, scale)


@dataclass(frozen=True, kw_only=True)
class PixelRuns:
    """Run-length encoded masks of several polygons, sorted by polygon, row and column.

    Attributes:
        polygon: Index of the polygon of each run, (N,) int64.
        row: Row of each run, (N,) int64.
        start: First column of each run, (N,) int64.
        stop: Column after the last one of each run, (N,) int64.
        polygon_count: Number of polygons, some of which may have no run.
    """

    polygon: Ints
    row: Ints
    start: Ints
    stop: Ints
    polygon_count: int

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Row, start and stop of each run."""
        return zip(self.row.tolist(), self.start.tolist(), self.stop.tolist(), strict=True)

    def pixel_counts(self) -> Ints:
        """How many pixels each polygon has: (polygon_count,) int64."""
        counts = np.bincount(self.polygon, self.stop - self.start, self.polygon_count)
        return counts.astype(np.int64)

    def translate(self, rows: int, columns: int) -> "PixelRuns":
        """The same runs, counted from another corner."""
        return PixelRuns(
            polygon=self.polygon,
            row=self.row + rows,
            start=self.start + columns,
            stop=self.stop + columns,
            polygon_count=self.polygon_count,
        )

    def sums(self, values: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """Sum an image over the pixels of each polygon.

        Args:
            values: The image, (H, W); outside of it pixels count as 0.

        Returns:
            The sum for each polygon, (polygon_count,) float64.
        """
        rows, columns = values.shape
        start, stop = np.clip(self.start, 0, columns), np.clip(self.stop, 0, columns)
        totals = np.zeros(self.polygon_count)
        used = np.flatnonzero((self.row >= 0) & (self.row < rows) & (start < stop))
        strip_of_run = self.row[used] // STRIP_ROWS
        for strip in np.unique(strip_of_run).tolist():
            # a run's sum is the difference of two cumulative sums of its row
            runs = used[strip_of_run == strip]
            part = values[strip * STRIP_ROWS : (strip + 1) * STRIP_ROWS]
            cumulative = np.zeros((part.shape[0], columns + 1), np.uint32)
            np.cumsum(part, axis=1, dtype=np.uint32, out=cumulative[:, 1:])
            row = self.row[runs] - strip * STRIP_ROWS
            inside = cumulative[row, stop[runs]].astype(np.float64) - cumulative[row, start[runs]]
            totals += np.bincount(self.polygon[runs], inside, self.polygon_count)
        return totals


def pixel_runs(outlines: Sequence[Outline], box: Box, scale: float) -> PixelRuns:
    """Run-length encode the pixels of a box that are inside polygons, by the even-odd rule.

    Pixel (i, j) is inside if its center, (box.x + (j + 0.5) * scale, box.y + (i + 0.5) * scale), is.

    Args:
        outlines: The polygons, in level-0 px; their holes are left out.
        box: The box, in level-0 px.
        scale: Level-0 px per pixel.

    Returns:
        The runs of all polygons.
    """
    # the rows whose centers each edge crosses
    rows, columns = box.shape(scale)
    edge_start, edge_end, polygon_of_edge = _find_edges(outlines)
    row_of_start, row_of_end = (
        _first_center_from(y, box.y, scale) for y in (edge_start[:, 1], edge_end[:, 1])
    )
    lowest = np.clip(np.minimum(row_of_start, row_of_end), 0, rows).astype(np.int64)
    highest = np.clip(np.maximum(row_of_start, row_of_end), 0, rows).astype(np.int64)

    # one crossing for each edge and row: the first column whose center is right of it
    crossings = highest - lowest
    edge = np.repeat(np.arange(len(crossings)), crossings)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(crossings) - crossings, crossings) + lowest[edge]
    y = box.y + (row + 0.5) * scale
    slope = (edge_end[edge, 0] - edge_start[edge, 0]) / (edge_end[edge, 1] - edge_start[edge, 1])
    x = edge_start[edge, 0] + (y - edge_start[edge, 1]) * slope
    column = np.clip(_first_center_from(x, box.x, scale), 0, columns).astype(np.int64)

    # along a row, every second crossing enters a polygon and the next one leaves it
    order = np.lexsort((column, row, polygon_of_edge[edge]))
    enters, leaves = order[::2], order[1::2]
    not_empty = column[enters] < column[leaves]
    enters, leaves = enters[not_empty], leaves[not_empty]
    return PixelRuns(
        polygon=polygon_of_edge[edge[enters]],
        row=row[enters],
        start=column[enters],
        stop=column[leaves],
        polygon_count=len(outlines),
    )


def _first_center_from(position: NDArray[np.float64], origin: float, scale: float) -> NDArray[np.float64]:
    """The first pixel, counted from `origin`, whose center is at `position` or after it.

    The division may be off by one where it meets a center. Comparing with the centers themselves corrects this, in
    the same way for every box that contains the pixel.
    """
    index = np.ceil((position - origin) / scale - 0.5)
    index -= origin + (index - 0.5) * scale >= position
    return index + (origin + (index + 0.5) * scale < position)


def _find_edges(outlines: Sequence[Outline]) -> tuple[NDArray[np.float64], NDArray[np.float64], Ints]:
    """Start and end points of all edges, (N, 2) float64 each, and the polygon of each edge.

    All edges run from top to bottom, so that a border that two neighbors share is computed in the same way for
    both: no gap, no overlap.
    """
    parts, polygon_of_part = shapely.get_parts(np.array(outlines, dtype=object), return_index=True)
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same_ring = ring[1:] == ring[:-1]
    first, second = points[:-1][same_ring], points[1:][same_ring]
    swap = first[:, 1] > second[:, 1]
    polygon = np.asarray(polygon_of_part[part_of_ring[ring[:-1][same_ring]]], np.int64)
    return np.where(swap[:, None], second, first), np.where(swap[:, None], first, second), polygon
