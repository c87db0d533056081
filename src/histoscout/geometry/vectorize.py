"""Masks to polygons: along pixel edges, the exact inverse of `histoscout.geometry.rasterize`, or along a contour.

All corners of the polygons are found at once and then joined by two sorts: along each row of corners, every second
stretch is an edge, and likewise along each column. Following the edges gives closed rings.
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

NEAREST = 1 / 16
"""How near a contour comes to the center of a pixel, in pixels: contours of different pieces never touch."""

CONTOUR_STEP = 1 / 256
"""Pixels to which the corners of a contour are rounded."""


def mask_to_polygons(mask: NDArray[np.bool_], box: Box, scale: float) -> list[Polygon]:
    """The polygons of all pieces of a mask, along the edges of its pixels.

    Pixels that share a side belong to one piece; pixels that only touch at a corner do not. Every polygon is valid,
    holes included, and `polygon_to_mask` of all of them gives the mask again.

    Args:
        mask: (H, W) bool; its top left corner is that of `box`.
        box: The box that the mask covers, in level-0 px.
        scale: Level-0 px per pixel of the mask.

    Returns:
        One polygon for each piece, in level-0 px, in the order of their first pixels, row by row.
    """
    pieces, count = ndimage.label(mask)
    if not count:
        return []
    corners = _find_corners(np.pad(mask.view(np.uint8), 1), np.pad(pieces, 1))
    order, ring, piece = _join_rings(corners)
    points = corners[order, 1:3][:, ::-1] * scale + (box.x, box.y)
    lines = np.asarray(shapely.linearrings(points, indices=ring))
    polygons: list[Polygon] = np.asarray(shapely.polygons(lines, indices=piece)).tolist()
    return polygons


def contour_polygons(mask: NDArray[np.bool_], levels: NDArray[np.float32], threshold: float) -> list[Polygon]:
    """The polygons of all pieces of a mask, along the contour of the levels that it was made from.

    Each edge between a pixel of the mask and one outside becomes a point between their centers, where the level is
    the threshold by linear interpolation: marching squares, with the pieces and holes of the mask. Where the mask is
    not that of the threshold (small holes filled, say), and at the rim, the point is on the edge of the pixel.

    Args:
        mask: (H, W) bool.
        levels: (H + 2, W + 2) float32: the level of each pixel, and of those around the mask; NaN where unknown.
        threshold: The level of the contour.

    Returns:
        One polygon for each piece, in the order of `mask_to_polygons`, in pixels of the mask from its top left corner.
        Coordinates are whole numbers of `CONTOUR_STEP`, so that a mask which is moved gives the same outlines, moved.
    """
    pieces, count = ndimage.label(mask)
    if not count:
        return []
    padded = np.pad(mask, 1)
    found = _find_corners(padded.view(np.uint8), np.pad(pieces, 1))
    order, ring, piece = _join_rings(found)
    corners = found[order, 1:3]
    # the next corner of the same ring, and the unit edges on the way to it
    first = np.flatnonzero(np.diff(ring, prepend=-1))
    following = np.arange(1, len(corners) + 1)
    following[np.append(first[1:], len(corners)) - 1] = first
    way = corners[following] - corners
    lengths = np.abs(way).sum(axis=1)
    stretch = np.repeat(np.arange(len(corners)), lengths)
    step = np.sign(way)[stretch]
    along = np.arange(len(stretch)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    start = corners[stretch] + step * along[:, None]

    # the pixels on both sides of each unit edge: above and below, or left and right
    lower = np.minimum(start, start + step)
    normal = (step == 0).astype(np.int64)
    after = lower + 1
    before = after - normal
    after_inside = padded[after[:, 0], after[:, 1]]
    level_before = levels[before[:, 0], before[:, 1]].astype(np.float64)
    level_after = levels[after[:, 0], after[:, 1]].astype(np.float64)
    inner = np.where(after_inside, level_after, level_before)
    outer = np.where(after_inside, level_before, level_after)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (inner - threshold) / (inner - outer)
    crosses = (inner >= threshold) & (outer < threshold)
    share = np.where(crosses, np.clip(share, NEAREST, 1 - NEAREST), 0.5)
    share = np.round(share / CONTOUR_STEP) * CONTOUR_STEP
    shift = np.where(after_inside, 0.5 - share, share - 0.5)
    points = lower + 0.5 * np.abs(step) + normal * shift[:, None]
    lines = np.asarray(shapely.linearrings(points[:, ::-1], indices=ring[stretch]))
    polygons: list[Polygon] = np.asarray(shapely.polygons(lines, indices=piece)).tolist()
    return polygons


def _find_corners(padded: NDArray[np.uint8], pieces: NDArray[np.int32]) -> _Ints:
    """All corners: (N, 5) int64 of piece, row, column, whether the edge goes right, and down.

    A corner belongs to the one pixel of four that differs from the others. Where two pixels touch diagonally there
    are two corners: of the two true pixels if these belong to different pieces, else of the two false ones, so that
    the inner ring touches the outer one instead of one ring touching itself (as OGC requires).
    """
    # the four pixels around each corner as bits; a corner has one or three true pixels, or two on a diagonal
    code = padded[:-1, :-1] + 2 * padded[:-1, 1:] + 4 * padded[1:, :-1] + 8 * padded[1:, 1:]
    is_corner = np.ones(16, bool)
    is_corner[[0, 3, 5, 10, 12, 15]] = False
    row, column = np.nonzero(is_corner[code])

    # the pixels that each corner belongs to, and their pieces
    around = pieces[row[:, None] + _ROW_STEP, column[:, None] + _COLUMN_STEP].astype(np.int64)
    true = around > 0
    diagonal_of_one_piece = (true.sum(1) == 2) & (around.max(1) * 2 == around.sum(1))
    of_false_pixels = (true.sum(1) == 3) | diagonal_of_one_piece
    owner = np.where(of_false_pixels[:, None], ~true, true)
    corner, pixel = np.nonzero(owner)
    piece = np.where(of_false_pixels[corner], around.max(1)[corner], around[corner, pixel])
    return np.stack([piece, row[corner], column[corner], _COLUMN_STEP[pixel], _ROW_STEP[pixel]], axis=1)


def _join_rings(corners: _Ints) -> tuple[_Ints, _Ints, _Ints]:
    """Corners in the order of their rings, the ring of each, and the piece of each ring.

    Pieces are counted from 0. A piece's first ring is its exterior, since the search starts at the piece's topmost corner.
    """
    # the two neighbors of each corner: along its row, and along its column
    piece, row, column, right, down = corners.T
    by_row = np.lexsort((right, column, row, piece))
    row_partner = _pair_neighbors(by_row).tolist()
    column_partner = _pair_neighbors(np.lexsort((down, row, column, piece))).tolist()

    # follow horizontal and vertical edges in turn until the ring closes
    order: list[int] = []
    lengths: list[int] = []
    visited = np.zeros(len(corners), bool).tolist()
    for start in by_row.tolist():
        if visited[start]:
            continue
        before, corner = len(order), start
        while not visited[corner]:
            other = row_partner[corner]
            visited[corner] = visited[other] = True
            order += (corner, other)
            corner = column_partner[other]
        lengths.append(len(order) - before)

    ring = np.repeat(np.arange(len(lengths)), lengths)
    first = np.cumsum([0, *lengths[:-1]])
    ordered = np.array(order)
    return ordered, ring, piece[ordered[first]] - 1


def _pair_neighbors(order: _Ints) -> _Ints:
    """The corner at the other end of each corner's edge: in sorted order, every two share an edge."""
    partner = np.empty_like(order)
    partner[order[0::2]] = order[1::2]
    partner[order[1::2]] = order[0::2]
    return partner
