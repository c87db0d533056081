"""Tissue that the scanner did not see sharply."""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.geometry.box import Box

FINEST = 2.0
"""um/px at which sharpness is judged at the finest: a nucleus is some three pixels wide."""

CELL_PX = 16
BLOCK_CELLS = 16
LEAST_CELLS = 60
"""With less tissue than this (0.06 mm2) a slide has no usual sharpness of its own."""

FALL, CEILING = 1.5, 0.3
"""Octaves of fine to coarse detail: so far below the slide's own, and below that, is out of focus."""

SMALLEST_UM2 = 20_000.0

_Mask = NDArray[np.bool_]
_Plane = NDArray[np.float64]


class Readable(Protocol):
    """As much of a slide as is needed here."""

    @property
    def box(self) -> Box: ...
    @property
    def mpp(self) -> float: ...
    def read(self, box: Box, mpp: float) -> NDArray[np.uint8]: ...


def out_of_focus(slide: Readable, tissue: _Mask, scale: float, mpp: float = FINEST) -> _Mask:
    """Where the tissue is out of focus at `mpp` um/px, compared with the rest of the same slide: bool like `tissue`.

    `tissue` covers the slide at `scale` level-0 px per pixel. What counts is not the amount of fine detail,
    which differs between stroma and nuclei, but its amount beside that of detail twice as coarse, which
    blurring alone changes. A slide that is blurred all over is left as it is: there is nothing sharp to
    compare with.
    """
    side = CELL_PX * mpp / slide.mpp  # of a cell, in level-0 px
    share = _shares(tissue, slide.box, scale, side)
    fine, coarse = _detail(slide, share > 0, side)
    weight = ndimage.uniform_filter(fine, 3), ndimage.uniform_filter(coarse, 3)
    octaves = np.log2(np.maximum(weight[0], 1e-12) / np.maximum(weight[1], 1e-12))
    judged = (share > 0.5) & (weight[1] > 1e-4)
    if judged.sum() < LEAST_CELLS:
        return np.zeros_like(tissue)
    limit = min(CEILING, float(np.percentile(octaves[judged], 75)) - FALL)
    blurred = np.pad(judged & (octaves < limit), 1)
    opened = ndimage.binary_opening(blurred, np.ones((2, 2), np.bool_))[1:-1, 1:-1]
    blurred = _large(opened, SMALLEST_UM2 / (CELL_PX * mpp) ** 2)
    return _spread(ndimage.binary_dilation(blurred) & (share > 0), tissue, scale, side) & tissue


def _shares(tissue: _Mask, whole: Box, scale: float, side: float) -> _Plane:
    """Share of tissue in each cell, sampled at 3 x 3 points."""
    rows, columns = math.ceil(whole.height / side), math.ceil(whole.width / side)
    y = np.minimum(((np.arange(rows * 3) + 0.5) / 3 * side / scale).astype(int), tissue.shape[0] - 1)
    x = np.minimum(((np.arange(columns * 3) + 0.5) / 3 * side / scale).astype(int), tissue.shape[1] - 1)
    return np.asarray(tissue[np.ix_(y, x)].reshape(rows, 3, columns, 3).mean((1, 3)))


def _detail(slide: Readable, wanted: _Mask, side: float) -> tuple[_Plane, _Plane]:
    """Energy of fine detail and of detail twice as coarse in each cell; 0 where it is not wanted."""
    fine, coarse = np.zeros(wanted.shape), np.zeros(wanted.shape)
    for top in range(0, wanted.shape[0], BLOCK_CELLS):
        for left in range(0, wanted.shape[1], BLOCK_CELLS):
            block = np.s_[top : top + BLOCK_CELLS, left : left + BLOCK_CELLS]
            rows, columns = wanted[block].shape
            if wanted[block].any():
                box = Box(slide.box.x + left * side, slide.box.y + top * side, columns * side, rows * side)
                pixels = slide.read(box, side * slide.mpp / CELL_PX)
                for energy, values in zip((fine, coarse), _energies(pixels, rows, columns), strict=True):
                    energy[block] = np.where(wanted[block], values, 0)
    return fine, coarse


def _energies(pixels: NDArray[np.uint8], rows: int, columns: int) -> tuple[_Plane, _Plane]:
    grey = np.log10((pixels.mean(-1, dtype=np.float32) + 1) / 256)
    once, twice = (ndimage.gaussian_filter(grey, sigma, truncate=3.0) for sigma in (1.0, 2.0))
    cells = (rows, CELL_PX, columns, CELL_PX)
    fine, coarse = ((difference**2).reshape(cells).mean((1, 3)) for difference in (grey - once, once - twice))
    return fine.astype(np.float64), coarse.astype(np.float64)


def _large(cells: _Mask, least: float) -> _Mask:
    pieces, count = ndimage.label(cells)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    large = areas >= least
    large[0] = False
    return np.asarray(large[pieces])


def _spread(cells: _Mask, like: _Mask, scale: float, side: float) -> _Mask:
    """Cells drawn at the scale of another mask."""
    rows, columns = (
        np.minimum(((np.arange(length) + 0.5) * scale / side).astype(int), count - 1)
        for length, count in zip(like.shape, cells.shape, strict=True)
    )
    return np.asarray(cells[np.ix_(rows, columns)])
