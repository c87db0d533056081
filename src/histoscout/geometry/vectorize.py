"""Masks to outlines: the exact way back from `raster`.

The corners of a mask's outlines are found all at once, then joined by two sorts: along each row of corners
every second stretch is an edge, and so along each column. Following the edges gives closed rings.
"""

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import Polygon

from histoscout.geometry.box import Box

_Ints = NDArray[np.int64]

# the four pixels around a corner: above left, above right, below left, below right
_ROW_STEP = np.array([0, 0, 1, 1])
_COLUMN_STEP = np.array([0, 1, 0, 1])


def trace(mask: NDArray[np.bool_], box: Box, scale: float) -> list[Polygon]:
    """The outlines of everything that is true in a mask, along the edges of its pixels.

    `mask` is bool (H, W) with its top left corner at the box's, `scale` level-0 px per pixel; the outlines
    are in level-0 px. Pixels that share a side belong together, pixels that only touch at a corner do not.
    Every outline is valid, holes included, and `mask_of` of all of them is the mask again. Outlines come in
    the order of their first pixel, row by row.
    """
    pieces, count = ndimage.label(mask)
    if not count:
        return []
    corners = _corners(np.pad(mask.view(np.uint8), 1), np.pad(pieces, 1))
    order, ring, piece = _rings(corners)
    points = corners[order, 1:3][:, ::-1] * scale + (box.x, box.y)
    lines = np.asarray(shapely.linearrings(points, indices=ring))
    outlines: list[Polygon] = np.asarray(shapely.polygons(lines, indices=piece)).tolist()
    return outlines


def _corners(padded: NDArray[np.uint8], pieces: NDArray[np.int32]) -> _Ints:
    """All corners of all outlines: int64 (N, 5) of piece, row, column, whether the edge goes right, and down.

    A corner belongs to the one pixel of four that differs from its neighbours; where two pixels touch
    diagonally there are two corners: of the two true pixels if these are of different pieces, else of the two
    false ones, which makes the ring inside touch the ring outside instead of one ring touching itself (as OGC
    demands).
    """
    code = padded[:-1, :-1] + 2 * padded[:-1, 1:] + 4 * padded[1:, :-1] + 8 * padded[1:, 1:]
    is_corner = np.ones(16, bool)
    is_corner[[0, 3, 5, 10, 12, 15]] = False
    row, column = np.nonzero(is_corner[code])
    around = pieces[row[:, None] + _ROW_STEP, column[:, None] + _COLUMN_STEP].astype(np.int64)
    true = around > 0
    diagonal_of_one_piece = (true.sum(1) == 2) & (around.max(1) * 2 == around.sum(1))
    of_false_pixels = (true.sum(1) == 3) | diagonal_of_one_piece
    owner = np.where(of_false_pixels[:, None], ~true, true)
    which, pixel = np.nonzero(owner)
    piece = np.where(of_false_pixels[which], around.max(1)[which], around[which, pixel])
    return np.stack([piece, row[which], column[which], _COLUMN_STEP[pixel], _ROW_STEP[pixel]], axis=1)


def _rings(corners: _Ints) -> tuple[_Ints, _Ints, _Ints]:
    """Corners in the order of their rings, the ring of each of them, and the piece of each ring (from 0).

    A piece's first ring is its outside, since the search starts at the piece's topmost corner.
    """
    piece, row, column, right, down = corners.T
    by_row = np.lexsort((right, column, row, piece))
    across = _partners(by_row)
    along = _partners(np.lexsort((down, row, column, piece)))
    order: list[int] = []
    lengths: list[int] = []
    seen = np.zeros(len(corners), bool).tolist()
    across_list, along_list = across.tolist(), along.tolist()
    for start in by_row.tolist():
        if seen[start]:
            continue
        before, corner = len(order), start
        while not seen[corner]:
            other = across_list[corner]
            seen[corner] = seen[other] = True
            order += (corner, other)
            corner = along_list[other]
        lengths.append(len(order) - before)
    ring = np.repeat(np.arange(len(lengths)), lengths)
    first = np.cumsum([0, *lengths[:-1]])
    ordered = np.array(order)
    return ordered, ring, piece[ordered[first]] - 1


def _partners(order: _Ints) -> _Ints:
    """The corner at the other end of each corner's edge: in sorted order, every two share an edge."""
    partner = np.empty_like(order)
    partner[order[0::2]] = order[1::2]
    partner[order[1::2]] = order[0::2]
    return partner
