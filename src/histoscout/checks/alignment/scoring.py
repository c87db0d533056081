"""A slide as a coarse map of what a stain shows: the measured side of the question whether outlines fit.

Two quantities are enough: how much haematoxylin there is, and how uneven it is (nuclei). Eosin, brightness and more
blur were tried and made it worse: each quantity more gives displaced outlines more chances to fit too. They are made
white (uncorrelated, of variance one) over the tissue, so that a difference of means between two areas counts the same
whatever the stain.

Outlines as zones of cells: the heart of each, what surrounds that, the edge, and the tissue just outside.

How well outlines fit a slide, measured against the same outlines laid anywhere else.

For every displacement the share of the stain's variance that the zones explain is computed (Fisher's between-group
variance, by fast Fourier transform). Outlines that belong to the tissue explain far more where they are than
displaced; how much more, in standard deviations over the displacements, is the fit. No model is learnt, no threshold
of stain is set, and neighbouring cells being alike cannot deceive it: displaced outlines profit from that as much.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.regions import Outline
from histoscout.slides.slide import Slide
from histoscout.tissue.artifacts import OPTICAL_DENSITY, RGB_TO_HED
from histoscout.tissue.mask import Tissue

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
class CellGrid:
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


def measure_cells(slide: Slide, tissue: Tissue) -> CellGrid:
    """Read a slide at 1 to 2 um/px (coarser where it is very large) and measure each of its cells.

    Args:
        slide: The slide.
        tissue: Its tissue.
    """
    side_um = cell_side_um(slide)
    side = side_um / slide.mpp
    rows, columns = max(1, int(slide.box.height / side)), max(1, int(slide.box.width / side))
    raw = np.empty((QUANTITIES, rows, columns), np.float32)
    for first in range(0, rows, STRIP):
        count = min(STRIP, rows - first)
        box = Box(0, first * side, columns * side, count * side)
        pixels = slide.read(box, side_um / PER_CELL)[: count * PER_CELL, : columns * PER_CELL]
        raw[:, first : first + count] = measure_quantities(pixels, PER_CELL, side_um / PER_CELL)
    mask = tissue.mask_in(Box(0, 0, columns * side, rows * side), side)[:rows, :columns]
    return CellGrid(whiten(smooth_quantities(raw, SMOOTH_UM / side_um), mask), mask, side, side_um)


def cell_side_um(slide: Slide) -> float:
    """The side of a cell of this slide, um.

    Args:
        slide: The slide.
    """
    area = slide.box.area * slide.mpp**2
    wanted = SMALL_UM if area * 1e-6 <= SMALL_SLIDE_MM2 else LARGE_UM
    return max(wanted, math.sqrt(area / MOST_CELLS))


def measure_quantities(pixels: NDArray[np.uint8], per_cell: int, mpp: float) -> Maps:
    """Haematoxylin and its unevenness in each cell: float32 (2, H, W).

    `pixels` uint8 (H * per_cell, W * per_cell, 3) at `mpp` um/px.

    Args:
        pixels: (H, W, 3) uint8.
        per_cell: Pixels along a side of a cell.
        mpp: Resolution in um/px.
    """
    hematoxylin = OPTICAL_DENSITY[pixels] @ RGB_TO_HED[:, 0]
    uneven = (hematoxylin - ndimage.gaussian_filter(hematoxylin, NUCLEUS_UM / mpp)) ** 2
    return np.stack([cell_means(one, per_cell) for one in (hematoxylin, uneven)])


def cell_means(field: Maps, per_cell: int) -> Maps:
    """The mean of each square of `per_cell` pixels.

    Args:
        field: Fields of values, (..., H, W).
        per_cell: Pixels along a side of a cell.
    """
    rows, columns = (length // per_cell for length in field.shape)
    whole = field[: rows * per_cell, : columns * per_cell]
    return np.asarray(whole.reshape(rows, per_cell, columns, per_cell).mean((1, 3)), np.float32)


def smooth_quantities(raw: Maps, sigma: float) -> Maps:
    """The quantities smoothed by a Gaussian of `sigma` cells; unevenness, a variance, as its logarithm.

    Args:
        raw: The quantities, (K, H, W).
        sigma: Sigma in cells.
    """
    smooth = np.stack([ndimage.gaussian_filter(one, sigma) for one in raw])
    smooth[1] = np.log(np.maximum(smooth[1], 0) + FAINTEST)
    return smooth


def whiten(smooth: Maps, mask: NDArray[np.bool_]) -> Maps:
    """The quantities uncorrelated and of variance one over the mask, 0 outside; rare extremes are cut first.

    Args:
        smooth: The quantities, (K, H, W).
        mask: Mask (H, W).
    """
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


INNER = (1 / 3, 2 / 3)
"""Where the zones inside an outline end, as shares of its greatest depth. A loosely drawn rectangle is sure to be
right in its heart only."""

OUTSIDE_UM = 32.0
ZONES = len(INNER) + 2

Zones = NDArray[np.float32]


def annotation_zones(
    outlines: Sequence[Outline], shape: tuple[int, int], side: float, side_um: float
) -> Zones:
    """The zones of outlines (level-0 px) on a slide of cells: float32 (ZONES, H, W), 1 where a cell is in the zone.

    From the edge inwards, and last the ring just outside all outlines.

    Args:
        outlines: Outlines in level-0 px.
        shape: Rows and columns.
        side: Side of a cell in level-0 px.
        side_um: Side of a cell in um.
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
    mask = polygon_to_mask(
        outline, Box(first_column * side, first_row * side, columns * side, rows * side), side
    )
    if not mask.any():
        return
    distance = ndimage.distance_transform_edt(mask)
    distance /= distance.max()
    there = tuple(
        slice(part.start + first, part.stop + first)
        for part, first in zip(on_slide, (first_row, first_column), strict=True)
    )
    depth[there] = np.maximum(depth[there], distance[on_slide])


REACH_UM = 480.0  # displacements compared with, in each direction
LEAST_SHARE = 0.6  # of the tissue under the outlines that must stay under them for a displacement to count
LEAST_OTHERS = 60  # displacements needed to judge by
EPSILON = 1e-9

_Array = NDArray[np.float32]


@dataclass(frozen=True)
class AlignmentFit:
    """How well outlines fit where they are: `z` standard deviations better than elsewhere (nan: not to be judged).

    `on_tissue` is the share of the cells inside outlines that is tissue (those beyond the slide are not), `cells` how
    many those are. `best` is where outlines fit best, (dx, dy) in cells, and `best_z` how well.
    """

    z: float
    on_tissue: float
    cells: int
    best: tuple[int, int] = (0, 0)
    best_z: float = math.nan


@dataclass(frozen=True)
class AlignmentTest:
    """The transforms of one slide's cells, made once for all outlines that are tried on it."""

    cells: CellGrid

    @property
    def reach(self) -> int:
        """The largest displacement, in cells."""
        return max(1, min(round(REACH_UM / self.cells.side_um), int(0.7 * min(self.cells.shape))))

    @cached_property
    def size(self) -> tuple[int, int]:
        rows, columns = (fft.next_fast_len(length + self.reach, real=True) for length in self.cells.shape)
        return rows, columns

    @cached_property
    def transformed(self) -> NDArray[np.complex64]:
        """The tissue, and each quantity, transformed: complex (1 + K, ...)."""
        planes = np.concatenate([self.cells.tissue[None].astype(np.float32), self.cells.values])
        return np.asarray(fft.rfft2(planes, self.size))

    def __call__(self, zones: Zones, whole: float, clear: float) -> AlignmentFit:
        """The fit of outlines given as zones.

        `whole` is how many cells the outlines cover, those beyond the slide included; displacements of up to `clear`
        cells are too near to be compared with.
        """
        inside = int(zones[:-1].sum())
        if inside == 0:
            return AlignmentFit(math.nan, 0.0, 0)
        explained, tissue = self.explained(zones)
        on_tissue = float(tissue[0, 0]) / max(whole, 1.0)
        near = ndimage.maximum_filter(explained, 3, mode="wrap")  # hands are not exact to a cell
        down, across = (np.fft.fftfreq(length, 1 / length) for length in self.size)
        allowed = (abs(down) <= self.reach)[:, None] & (abs(across) <= self.reach)
        allowed &= tissue > LEAST_SHARE * tissue[allowed].max()
        others = near[allowed & (np.hypot(down[:, None], across) > clear)]
        if len(others) < LEAST_OTHERS or tissue[0, 0] < 1:
            return AlignmentFit(math.nan, on_tissue, inside)
        mean, spread = float(others.mean()), float(others.std()) + EPSILON
        row, column = np.unravel_index(np.argmax(np.where(allowed, near, -np.inf)), near.shape)
        return AlignmentFit(
            (float(near[0, 0]) - mean) / spread,
            on_tissue,
            inside,
            (int(across[column]), int(down[row])),
            (float(near[row, column]) - mean) / spread,
        )

    def explained(self, zones: Zones) -> tuple[_Array, _Array]:
        """For each displacement (wrapped), the share of variance that the zones explain, and the tissue inside them."""
        moved = np.conj(fft.rfft2(zones, self.size))
        counts = np.maximum(fft.irfft2(self.transformed[0] * moved, self.size), 0)
        total = counts.sum(0)
        between = np.zeros(self.size, np.float32)
        for plane in self.transformed[1:]:
            sums = fft.irfft2(plane * moved, self.size)
            between += (sums**2 / np.maximum(counts, 1)).sum(0) - sums.sum(0) ** 2 / np.maximum(total, 1)
        return between / np.maximum(total, 1), counts[:-1].sum(0)
