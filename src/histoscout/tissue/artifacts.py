"""Marks of a pen on the glass.

Tissue that the scanner did not see sharply.
"""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.geometry.box import Box

SMALLEST_INK_UM2 = 10_000.0
"""Smaller spots of colour are dirt or pigment, not a stroke of a pen."""

STROKE_UM = 40.0
"""A stroke is at least this wide."""

_Mask = NDArray[np.bool_]
_Plane = NDArray[np.float32]


def ink(pixels: NDArray[np.uint8], mpp: float) -> _Mask:
    """Where somebody wrote on the slide: bool (H, W) for RGB pixels (H, W, 3) at `mpp` um/px (about 8).

    Haematoxylin and eosin both let more red than green through, so what lets less through is blue or green
    ink; black ink is darker than tissue ever is on average over cells; red ink is as poor in blue as in
    green. A stroke that goes on over tissue loses its hue: there it is followed as far as it is darker than
    the slide's tissue.
    """
    smooth = np.stack([ndimage.gaussian_filter(pixels[..., c].astype(np.float32), 1.0) for c in range(3)])
    darkness = -np.log10(np.maximum(smooth, 1) / 255).sum(0)
    seeds = _strokes(_color_of_ink(smooth, darkness), mpp)
    if not seeds.any():
        return seeds
    dark = _strokes(darkness > _darker_than_tissue(smooth, darkness, seeds), mpp)
    near = ndimage.binary_dilation(seeds, iterations=2)
    return np.asarray(ndimage.binary_dilation(ndimage.binary_propagation(near, mask=near | dark)))


def _color_of_ink(rgb: NDArray[np.float32], darkness: _Plane) -> _Mask:
    red, green, blue = rgb
    brightest, dullest = rgb.max(0), rgb.min(0)
    blue_or_green = (red < green - 7) & (brightest - dullest > 30) & (darkness > 0.5)
    blue_on_tissue = (blue > 1.4 * red) & (red < green + 25) & (darkness > 1.0)
    black = (brightest < 105) & (brightest - dullest < 32) & (brightest > 8)  # 0: not scanned
    crimson = (red > 140) & (green < 80) & (blue < green + 15) & (red > green + 110)
    return np.asarray(blue_or_green | blue_on_tissue | black | crimson)


def _strokes(mask: _Mask, mpp: float) -> _Mask:
    """What of a mask is as wide and as large as a stroke of a pen."""
    radius = max(1, round(STROKE_UM / 2 / mpp))
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = rows**2 + columns**2 <= radius**2
    # what lies beyond the picture may be ink: a stroke along the border is a stroke
    padded = np.pad(mask, radius, mode="edge")
    opened = ndimage.binary_dilation(ndimage.binary_erosion(padded, disc), disc)
    inner = opened[radius:-radius, radius:-radius]
    pieces, count = ndimage.label(inner, np.ones((3, 3)))
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    large = areas >= math.ceil(SMALLEST_INK_UM2 / mpp**2)
    large[0] = False
    return np.asarray(large[pieces])


def _darker_than_tissue(rgb: NDArray[np.float32], darkness: _Plane, seeds: _Mask) -> float:
    tissue = (rgb.max(0) - rgb.min(0) > 15) & ~seeds
    usual = float(np.percentile(darkness[tissue], 97)) if tissue.any() else 0.0
    return max(1.1, 1.15 * usual)


FINEST = 2.0
"""um/px at which sharpness is judged at the finest: a nucleus is some three pixels wide."""

CELL_PX = 16
BLOCK_CELLS = 16
LEAST_CELLS = 60
"""With less tissue than this (0.06 mm2) a slide has no usual sharpness of its own."""

FALL, CEILING = 1.5, 0.3
"""Octaves of fine to coarse detail: so far below the slide's own, and below that, is out of focus."""

SMALLEST_BLUR_UM2 = 20_000.0


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
    blurred = _large(opened, SMALLEST_BLUR_UM2 / (CELL_PX * mpp) ** 2)
    return _spread(ndimage.binary_dilation(blurred) & (share > 0), tissue, scale, side) & tissue


def _shares(tissue: _Mask, whole: Box, scale: float, side: float) -> NDArray[np.float64]:
    """Share of tissue in each cell, sampled at 3 x 3 points."""
    rows, columns = math.ceil(whole.height / side), math.ceil(whole.width / side)
    y = np.minimum(((np.arange(rows * 3) + 0.5) / 3 * side / scale).astype(int), tissue.shape[0] - 1)
    x = np.minimum(((np.arange(columns * 3) + 0.5) / 3 * side / scale).astype(int), tissue.shape[1] - 1)
    return np.asarray(tissue[np.ix_(y, x)].reshape(rows, 3, columns, 3).mean((1, 3)))


def _detail(slide: Readable, wanted: _Mask, side: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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


def _energies(
    pixels: NDArray[np.uint8], rows: int, columns: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    gray = np.log10((pixels.mean(-1, dtype=np.float32) + 1) / 256)
    once, twice = (ndimage.gaussian_filter(gray, sigma, truncate=3.0) for sigma in (1.0, 2.0))
    cells = (rows, CELL_PX, columns, CELL_PX)
    fine, coarse = ((difference**2).reshape(cells).mean((1, 3)) for difference in (gray - once, once - twice))
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
