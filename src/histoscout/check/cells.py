"""A slide as a coarse map of what a stain shows: the measured side of the question whether outlines fit.

Two quantities are enough: how much haematoxylin there is, and how uneven it is (nuclei). Eosin, brightness and more
blur were tried and made it worse: each quantity more gives displaced outlines more chances to fit too. They are made
white (uncorrelated, of variance one) over the tissue, so that a difference of means between two areas counts the same
whatever the stain.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.detection.tissue import Tissue
from histoscout.geometry.box import Box
from histoscout.slides.slide import Slide
from histoscout.windows.augment import DENSITY, RGB_TO_HED

MOST_CELLS = 400_000
"""A slide is divided into at most about so many cells: that bounds time and memory, whatever its size."""

SMALL_UM, LARGE_UM = 4.0, 8.0
"""Side of a cell: small for fields of view, large for slides, larger still where there would be too many."""

SMALL_SLIDE_MM2 = 1.0
PER_CELL = 4  # pixels read along a cell's side
NUCLEUS_UM = 8.0  # unevenness is measured against a blur of this sigma
SMOOTH_UM = 4.0  # sigma of the blur of what was measured; more of it loses sharp edges
STRIP = 64  # rows of cells read at once
QUANTITIES = 2
FAINTEST = 1e-4  # unevenness below which only noise is told apart

Maps = NDArray[np.float32]


@dataclass(frozen=True)
class Cells:
    """What a slide shows, cell by cell: `values` float32 (K, H, W), white over the tissue and 0 elsewhere.

    `tissue` bool (H, W). Cell (i, j) covers the square of `side` level-0 px at (j * side, i * side); `side_um` is the
    same in um.
    """

    values: Maps
    tissue: NDArray[np.bool_]
    side: float
    side_um: float

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.tissue.shape
        return rows, columns


def cells_of(slide: Slide, tissue: Tissue) -> Cells:
    """Read a slide at 1 to 2 um/px (coarser where it is very large) and measure each of its cells."""
    side_um = cell_side_um(slide)
    side = side_um / slide.mpp
    rows, columns = max(1, int(slide.box.height / side)), max(1, int(slide.box.width / side))
    raw = np.empty((QUANTITIES, rows, columns), np.float32)
    for first in range(0, rows, STRIP):
        count = min(STRIP, rows - first)
        box = Box(0, first * side, columns * side, count * side)
        pixels = slide.read(box, side_um / PER_CELL)[: count * PER_CELL, : columns * PER_CELL]
        raw[:, first : first + count] = measured(pixels, PER_CELL, side_um / PER_CELL)
    mask = tissue.mask_of(Box(0, 0, columns * side, rows * side), side)[:rows, :columns]
    return Cells(whitened(smoothed(raw, SMOOTH_UM / side_um), mask), mask, side, side_um)


def cell_side_um(slide: Slide) -> float:
    """The side of a cell of this slide, um."""
    area = slide.box.area * slide.mpp**2
    wanted = SMALL_UM if area * 1e-6 <= SMALL_SLIDE_MM2 else LARGE_UM
    return max(wanted, math.sqrt(area / MOST_CELLS))


def measured(pixels: NDArray[np.uint8], per_cell: int, mpp: float) -> Maps:
    """Haematoxylin and its unevenness in each cell: float32 (2, H, W).

    `pixels` uint8 (H * per_cell, W * per_cell, 3) at `mpp` um/px.
    """
    haematoxylin = DENSITY[pixels] @ RGB_TO_HED[:, 0]
    uneven = (haematoxylin - ndimage.gaussian_filter(haematoxylin, NUCLEUS_UM / mpp)) ** 2
    return np.stack([means(one, per_cell) for one in (haematoxylin, uneven)])


def means(field: Maps, per_cell: int) -> Maps:
    """The mean of each square of `per_cell` pixels."""
    rows, columns = (length // per_cell for length in field.shape)
    whole = field[: rows * per_cell, : columns * per_cell]
    return np.asarray(whole.reshape(rows, per_cell, columns, per_cell).mean((1, 3)), np.float32)


def smoothed(raw: Maps, sigma: float) -> Maps:
    """The quantities smoothed by a Gaussian of `sigma` cells; unevenness, a variance, as its logarithm."""
    smooth = np.stack([ndimage.gaussian_filter(one, sigma) for one in raw])
    smooth[1] = np.log(np.maximum(smooth[1], 0) + FAINTEST)
    return smooth


def whitened(smooth: Maps, mask: NDArray[np.bool_]) -> Maps:
    """The quantities uncorrelated and of variance one over the mask, 0 outside; rare extremes are cut first."""
    inside = smooth[:, mask].astype(np.float64)
    if inside.shape[1] < 2:
        return np.zeros_like(smooth)
    low, high = np.percentile(inside, [1, 99], axis=1)
    inside = np.clip(inside, low[:, None], high[:, None])
    mean = inside.mean(1, keepdims=True)
    spread = inside.std(1, keepdims=True) + 1e-6
    values, vectors = np.linalg.eigh(np.cov((inside - mean) / spread))
    keep = values > 1e-2
    turn = vectors[:, keep] / np.sqrt(values[keep])
    clipped = (np.clip(smooth, low[:, None, None], high[:, None, None]) - mean[..., None]) / spread[..., None]
    white = np.tensordot(turn.T, clipped, 1) * mask
    return np.asarray(white, np.float32)
