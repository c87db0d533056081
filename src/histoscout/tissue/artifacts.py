"""Artifacts that hide tissue: pen marks on the glass, and areas that the scanner did not focus."""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.geometry.box import Box

STAIN_VECTORS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]])
"""Optical density in red, green and blue of hematoxylin, eosin and the residual (rows): (3, 3) float64."""

HED = STAIN_VECTORS.astype(np.float32)
"""The same in single precision: (3, 3) float32."""

RGB_TO_HED = np.linalg.inv(HED).astype(np.float32)
"""Turns optical densities of red, green and blue, (..., 3), into amounts of the three stains: (3, 3) float32."""

OPTICAL_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)
"""The optical density of each intensity: `OPTICAL_DENSITY[pixels]` converts (H, W, 3) uint8 to float32."""


MIN_INK_UM2 = 10_000.0
"""Smaller spots of color are dirt or pigment, not a stroke of a pen."""

STROKE_UM = 40.0
"""A stroke of a pen is at least this wide."""

FINEST_FOCUS_MPP = 2.0
"""The finest um/px at which focus is measured: a nucleus is some three pixels wide."""

CELL_PX = 16
"""Side of a cell in which focus is measured, in pixels."""

BLOCK_CELLS = 16
"""Cells along a side of what is read at once."""

MIN_FOCUS_CELLS = 60
"""With less tissue than this (0.06 mm2) a slide has no typical focus of its own."""

FOCUS_DROP = 1.5
"""Cells this many octaves (of fine to coarse detail) below the sharp part of the slide are out of focus."""

MAX_FOCUS_LIMIT = 0.3
"""Cells above this many octaves are in focus, however sharp the rest of the slide is."""

MIN_BLUR_UM2 = 20_000.0
"""Smaller areas are not reported as out of focus."""

_Mask = NDArray[np.bool_]
_Plane = NDArray[np.float32]


# ---------------------------------------------------------------- pen marks


def find_pen_marks(pixels: NDArray[np.uint8], mpp: float) -> _Mask:
    """Find pen marks on the slide by their color.

    Hematoxylin and eosin both let more red than green through, so what lets less red through is blue or green ink.
    Black ink is darker than tissue ever is on average over cells; red ink is as poor in blue as in green. A stroke
    that continues over tissue loses its hue: there it is followed as far as it is darker than the slide's tissue.

    Args:
        pixels: The slide, (H, W, 3) uint8.
        mpp: Resolution of the pixels, in um/px (about 8).

    Returns:
        Where there is ink, (H, W) bool.
    """
    smooth = np.stack([ndimage.gaussian_filter(pixels[..., c].astype(np.float32), 1.0) for c in range(3)])
    darkness = -np.log10(np.maximum(smooth, 1) / 255).sum(0)
    seeds = _keep_strokes(_has_ink_color(smooth, darkness), mpp)
    if not seeds.any():
        return seeds
    # follow the strokes into darker pixels next to them
    dark = _keep_strokes(darkness > _darker_than_tissue(smooth, darkness, seeds), mpp)
    near = ndimage.binary_dilation(seeds, iterations=2)
    return np.asarray(ndimage.binary_dilation(ndimage.binary_propagation(near, mask=near | dark)))


def _has_ink_color(rgb: NDArray[np.float32], darkness: _Plane) -> _Mask:
    red, green, blue = rgb
    brightest, dullest = rgb.max(0), rgb.min(0)
    blue_or_green = (red < green - 7) & (brightest - dullest > 30) & (darkness > 0.5)
    blue_on_tissue = (blue > 1.4 * red) & (red < green + 25) & (darkness > 1.0)
    # 0 means that the area was not scanned
    black = (brightest < 105) & (brightest - dullest < 32) & (brightest > 8)
    crimson = (red > 140) & (green < 80) & (blue < green + 15) & (red > green + 110)
    return np.asarray(blue_or_green | blue_on_tissue | black | crimson)


def _keep_strokes(mask: _Mask, mpp: float) -> _Mask:
    """The parts of a mask that are as wide and as large as a stroke of a pen."""
    radius = max(1, round(STROKE_UM / 2 / mpp))
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = rows**2 + columns**2 <= radius**2
    # pixels outside the picture may be ink: a stroke along the border is a stroke
    padded = np.pad(mask, radius, mode="edge")
    opened = ndimage.binary_dilation(ndimage.binary_erosion(padded, disc), disc)
    inner = opened[radius:-radius, radius:-radius]
    return _keep_large(inner, math.ceil(MIN_INK_UM2 / mpp**2), np.ones((3, 3)))


def _darker_than_tissue(rgb: NDArray[np.float32], darkness: _Plane, seeds: _Mask) -> float:
    tissue = (rgb.max(0) - rgb.min(0) > 15) & ~seeds
    usual = float(np.percentile(darkness[tissue], 97)) if tissue.any() else 0.0
    return max(1.1, 1.15 * usual)


# ---------------------------------------------------------------- focus


class ReadableSlide(Protocol):
    """The part of `Slide` that is needed here."""

    @property
    def box(self) -> Box: ...
    @property
    def mpp(self) -> float: ...
    def read(self, box: Box, mpp: float) -> NDArray[np.uint8]: ...


def find_out_of_focus(
    slide: ReadableSlide, tissue: _Mask, scale: float, mpp: float = FINEST_FOCUS_MPP
) -> _Mask:
    """Find tissue that is out of focus, compared with the rest of the same slide.

    The measure is not the amount of fine detail, which differs between stroma and nuclei, but its ratio to the amount
    of detail twice as coarse, which only blurring changes. A slide that is blurred everywhere is left as it is: it
    has nothing sharp to compare with.

    Args:
        slide: The slide.
        tissue: Where there is tissue, (H, W) bool; covers the slide.
        scale: Level-0 px per pixel of `tissue`.
        mpp: The resolution at which focus is measured, in um/px.

    Returns:
        The tissue that is out of focus, (H, W) bool.
    """
    # detail of each cell that holds tissue, averaged with its neighbors
    side = CELL_PX * mpp / slide.mpp
    fraction = _tissue_fractions(tissue, slide.box, scale, side=side)
    fine, coarse = _measure_detail(slide, fraction > 0, side)
    fine, coarse = ndimage.uniform_filter(fine, 3), ndimage.uniform_filter(coarse, 3)
    octaves = np.log2(np.maximum(fine, 1e-12) / np.maximum(coarse, 1e-12))
    measurable = (fraction > 0.5) & (coarse > 1e-4)
    if measurable.sum() < MIN_FOCUS_CELLS:
        return np.zeros_like(tissue)

    # cells far below the sharp quarter of this slide, in pieces that are large enough
    limit = min(MAX_FOCUS_LIMIT, float(np.percentile(octaves[measurable], 75)) - FOCUS_DROP)
    blurred = np.pad(measurable & (octaves < limit), 1)
    opened = ndimage.binary_opening(blurred, np.ones((2, 2), np.bool_))[1:-1, 1:-1]
    blurred = _keep_large(opened, MIN_BLUR_UM2 / (CELL_PX * mpp) ** 2)

    # back from cells to the pixels of the tissue mask
    cells = ndimage.binary_dilation(blurred) & (fraction > 0)
    rows, columns = (
        np.minimum(((np.arange(length) + 0.5) * scale / side).astype(int), count - 1)
        for length, count in zip(tissue.shape, cells.shape, strict=True)
    )
    return np.asarray(cells[np.ix_(rows, columns)]) & tissue


def _tissue_fractions(tissue: _Mask, whole: Box, scale: float, *, side: float) -> NDArray[np.float64]:
    """The tissue fraction of each cell of `side` level-0 px, sampled at 3 x 3 points."""
    rows, columns = math.ceil(whole.height / side), math.ceil(whole.width / side)
    y = np.minimum(((np.arange(rows * 3) + 0.5) / 3 * side / scale).astype(int), tissue.shape[0] - 1)
    x = np.minimum(((np.arange(columns * 3) + 0.5) / 3 * side / scale).astype(int), tissue.shape[1] - 1)
    return np.asarray(tissue[np.ix_(y, x)].reshape(rows, 3, columns, 3).mean((1, 3)))


def _measure_detail(
    slide: ReadableSlide, wanted: _Mask, side: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energy of fine detail, and of detail twice as coarse, in each cell that is wanted, else 0."""
    fine, coarse = np.zeros(wanted.shape), np.zeros(wanted.shape)
    for top in range(0, wanted.shape[0], BLOCK_CELLS):
        for left in range(0, wanted.shape[1], BLOCK_CELLS):
            block = np.s_[top : top + BLOCK_CELLS, left : left + BLOCK_CELLS]
            rows, columns = wanted[block].shape
            if wanted[block].any():
                box = Box(slide.box.x + left * side, slide.box.y + top * side, columns * side, rows * side)
                pixels = slide.read(box, side * slide.mpp / CELL_PX)
                energies = _detail_energies(pixels, rows, columns)
                for energy, values in zip((fine, coarse), energies, strict=True):
                    energy[block] = np.where(wanted[block], values, 0)
    return fine, coarse


def _detail_energies(
    pixels: NDArray[np.uint8], rows: int, columns: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean squared difference of Gaussians of two scales in each cell of a picture."""
    gray = np.log10((pixels.mean(-1, dtype=np.float32) + 1) / 256)
    once, twice = (ndimage.gaussian_filter(gray, sigma, truncate=3.0) for sigma in (1.0, 2.0))
    cells = (rows, CELL_PX, columns, CELL_PX)
    fine, coarse = ((difference**2).reshape(cells).mean((1, 3)) for difference in (gray - once, once - twice))
    return fine.astype(np.float64), coarse.astype(np.float64)


def _keep_large(mask: _Mask, min_area: float, structure: NDArray[np.float64] | None = None) -> _Mask:
    """The pieces of a mask of at least this area, in pixels."""
    pieces, count = ndimage.label(mask, structure)
    large = np.bincount(pieces.ravel(), minlength=count + 1) >= min_area
    large[0] = False
    return np.asarray(large[pieces])
