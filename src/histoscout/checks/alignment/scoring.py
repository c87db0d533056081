"""How well annotations fit a slide, compared with the same annotations displaced.

1. The slide becomes a coarse grid of two stain quantities: how much hematoxylin there is, and how uneven it is (nuclei).
   Eosin, brightness and more blur were tried and made it worse: every further quantity gives displaced annotations more
   chances to fit, too. The quantities are whitened (uncorrelated, variance 1) over the tissue, so that a difference of
   means between two areas counts the same whatever the stain.
2. Annotations become zones of cells: the heart of each annotation, what surrounds it, its edge, and the tissue just
   outside.
3. For every displacement, the share of variance that the zones explain is computed (Fisher's between-group variance, by
   fast Fourier transform). Annotations that belong to the tissue explain far more where they are than displaced; how
   much more, in standard deviations over the displacements, is the fit.

No model is trained and no stain threshold is set. That neighboring cells are alike does not mislead the fit: displaced
annotations profit from it as much.
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

MAX_CELLS = 400_000
"""Cells of a slide, about: this bounds time and memory, whatever the slide's size."""

SMALL_CELL_UM, LARGE_CELL_UM = 4.0, 8.0
"""Side of a cell of fields of view and of slides; it is larger where there would be too many cells."""

SMALL_SLIDE_MM2 = 1.0
"""Area up to which a slide counts as a field of view."""

PIXELS_PER_CELL = 4
"""Pixels that are read along the side of a cell."""

NUCLEUS_UM = 8.0
"""Unevenness is measured against a blur of this sigma."""

SMOOTH_UM = 4.0
"""Sigma of the blur of the quantities; more of it loses sharp edges."""

STRIP_CELLS = 64
"""Rows of cells that are read at once."""

QUANTITIES = 2
"""Hematoxylin and its unevenness."""

MIN_UNEVENNESS = 1e-4
"""Unevenness below which differences are noise."""

INNER_ZONES = (1 / 3, 2 / 3)
"""Where the zones inside an annotation end, as shares of its greatest depth.

A loosely drawn rectangle is certain to be right in its heart only.
"""

OUTSIDE_UM = 32.0
"""Width of the zone outside annotations."""

ZONES = len(INNER_ZONES) + 2
"""Number of zones: those inside from the edge inwards, and the one outside."""

MAX_DISPLACEMENT_UM = 480.0
"""Displacements that are compared, in each direction."""

MIN_TISSUE_SHARE = 0.6
"""Share of the tissue under the annotations that must stay under them for a displacement to be compared."""

MIN_DISPLACEMENTS = 60
"""Displacements that are needed for a fit."""

EPSILON = 1e-9
"""Keeps divisors above zero."""

Maps = NDArray[np.float32]
Zones = NDArray[np.float32]


# ---------------------------------------------------------------- 1. cells


@dataclass(frozen=True, kw_only=True)
class CellGrid:
    """Stain quantities of a slide, cell by cell.

    Cell (i, j) covers the square of `side` level-0 px at (j * side, i * side).

    Attributes:
        values: (K, H, W) float32, whitened over the tissue and 0 elsewhere.
        tissue: (H, W) bool.
        side: Side of a cell in level-0 px.
        side_um: Side of a cell in um.
    """

    values: Maps
    tissue: NDArray[np.bool_]
    side: float
    side_um: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        rows, columns = self.tissue.shape
        return rows, columns


def measure_cells(slide: Slide, tissue: Tissue) -> CellGrid:
    """Read a slide at 1 to 2 um/px (coarser if it is very large) and measure each of its cells.

    Args:
        slide: The open slide.
        tissue: Its tissue.

    Returns:
        The cells of the slide.

    Raises:
        SlideError: If the slide cannot be read.
    """
    area_um2 = slide.box.area * slide.mpp**2
    usual_um = SMALL_CELL_UM if area_um2 * 1e-6 <= SMALL_SLIDE_MM2 else LARGE_CELL_UM
    side_um = max(usual_um, math.sqrt(area_um2 / MAX_CELLS))
    side = side_um / slide.mpp
    rows = max(1, int(slide.box.height / side))
    columns = max(1, int(slide.box.width / side))
    # Read strip by strip, to keep memory small.
    raw = np.empty((QUANTITIES, rows, columns), np.float32)
    for first in range(0, rows, STRIP_CELLS):
        count = min(STRIP_CELLS, rows - first)
        strip = Box(0, first * side, columns * side, count * side)
        pixels = slide.read(strip, side_um / PIXELS_PER_CELL)
        pixels = pixels[: count * PIXELS_PER_CELL, : columns * PIXELS_PER_CELL]
        raw[:, first : first + count] = measure_quantities(pixels, PIXELS_PER_CELL, side_um / PIXELS_PER_CELL)
    mask = tissue.mask_in(Box(0, 0, columns * side, rows * side), side)[:rows, :columns]
    values = whiten(smooth_quantities(raw, SMOOTH_UM / side_um), mask)
    return CellGrid(values=values, tissue=mask, side=side, side_um=side_um)


def measure_quantities(pixels: NDArray[np.uint8], per_cell: int, mpp: float) -> Maps:
    """Measure hematoxylin and its unevenness in each cell.

    Args:
        pixels: (H * per_cell, W * per_cell, 3) uint8.
        per_cell: Pixels along the side of a cell.
        mpp: Resolution in um/px.

    Returns:
        (2, H, W) float32.
    """
    hematoxylin = OPTICAL_DENSITY[pixels] @ RGB_TO_HED[:, 0]
    unevenness = (hematoxylin - ndimage.gaussian_filter(hematoxylin, NUCLEUS_UM / mpp)) ** 2
    return np.stack([cell_means(quantity, per_cell) for quantity in (hematoxylin, unevenness)])


def cell_means(values: Maps, per_cell: int) -> Maps:
    """The mean of the pixels of each cell.

    Args:
        values: (H * per_cell, W * per_cell) float32; rows and columns beyond the last whole cell are left out.
        per_cell: Pixels along the side of a cell.

    Returns:
        (H, W) float32.
    """
    rows, columns = (length // per_cell for length in values.shape)
    whole = values[: rows * per_cell, : columns * per_cell]
    return np.asarray(whole.reshape(rows, per_cell, columns, per_cell).mean((1, 3)), np.float32)


def smooth_quantities(raw: Maps, sigma: float) -> Maps:
    """Smooth the quantities with a Gaussian; unevenness, a variance, becomes its logarithm.

    Args:
        raw: (2, H, W) float32 as `measure_quantities` returns it.
        sigma: Sigma in cells.

    Returns:
        (2, H, W) float32.
    """
    smooth = np.stack([ndimage.gaussian_filter(quantity, sigma) for quantity in raw])
    smooth[1] = np.log(np.maximum(smooth[1], 0) + MIN_UNEVENNESS)
    return smooth


def whiten(smooth: Maps, mask: NDArray[np.bool_]) -> Maps:
    """Make the quantities uncorrelated and of variance 1 over a mask.

    Args:
        smooth: (K, H, W) float32.
        mask: (H, W) bool.

    Returns:
        (K, H, W) float32, 0 outside the mask; K is smaller if quantities depend on each other.
    """
    inside = smooth[:, mask].astype(np.float64)
    if inside.shape[1] < 2:
        return np.zeros_like(smooth)
    # Rare extremes, such as folds, are cut so that they do not dominate.
    low, high = np.percentile(inside, [1, 99], axis=1)
    inside = np.clip(inside, low[:, None], high[:, None])
    mean = inside.mean(1, keepdims=True)
    spread = inside.std(1, keepdims=True) + 1e-6
    variances, vectors = np.linalg.eigh(np.cov((inside - mean) / spread))
    keep = variances > 1e-2
    rotation = vectors[:, keep] / np.sqrt(variances[keep])
    clipped = (np.clip(smooth, low[:, None, None], high[:, None, None]) - mean[..., None]) / spread[..., None]
    return np.asarray(np.tensordot(rotation.T, clipped, 1) * mask, np.float32)


# ---------------------------------------------------------------- 2. zones


def annotation_zones(
    outlines: Sequence[Outline], shape: tuple[int, int], side: float, side_um: float
) -> Zones:
    """Divide annotations and their surroundings into zones of cells.

    Args:
        outlines: Outlines in level-0 px.
        shape: Rows and columns of cells.
        side: Side of a cell in level-0 px.
        side_um: Side of a cell in um.

    Returns:
        (ZONES, H, W) float32, 1 where a cell is in the zone: from the edge of annotations inwards, and last the ring just
        outside all annotations.
    """
    depth = np.zeros(shape, np.float32)
    for outline in outlines:
        _add_depth(depth, outline, side)
    inside = depth > 0
    outside = np.zeros(shape, bool)
    if inside.any():
        reach = max(1.5, OUTSIDE_UM / side_um)
        outside = (ndimage.distance_transform_edt(~inside) <= reach) & ~inside
    zone_of = np.digitize(depth, INNER_ZONES)
    inner = [(zone_of == zone) & inside for zone in range(len(INNER_ZONES) + 1)]
    return np.stack([*inner, outside]).astype(np.float32)


def _add_depth(depth: NDArray[np.float32], outline: Outline, side: float) -> None:
    """Raise `depth` to the depth of each cell in an outline: 0 at its edge, 1 at its heart."""
    # The window of cells around the outline, which may reach beyond the slide.
    left, top, right, bottom = outline.bounds
    first_row = math.floor(top / side) - 1
    first_column = math.floor(left / side) - 1
    rows = math.ceil(bottom / side) + 1 - first_row
    columns = math.ceil(right / side) + 1 - first_column
    on_slide = (
        slice(max(0, -first_row), min(rows, depth.shape[0] - first_row)),
        slice(max(0, -first_column), min(columns, depth.shape[1] - first_column)),
    )
    if any(part.start >= part.stop for part in on_slide):
        return
    window = Box(first_column * side, first_row * side, columns * side, rows * side)
    mask = polygon_to_mask(outline, window, side)
    if not mask.any():
        return
    distance = ndimage.distance_transform_edt(mask)
    distance /= distance.max()
    # The same window in coordinates of the slide.
    cells = tuple(
        slice(part.start + first, part.stop + first)
        for part, first in zip(on_slide, (first_row, first_column), strict=True)
    )
    depth[cells] = np.maximum(depth[cells], distance[on_slide])


# ---------------------------------------------------------------- 3. the fit


@dataclass(frozen=True, kw_only=True)
class AlignmentFit:
    """How well annotations fit where they are.

    Attributes:
        z: Standard deviations by which they fit better than displaced; nan if there is too little to compare.
        on_tissue: Share of the annotated cells that is tissue of the slide.
        cells: Number of annotated cells on the slide.
        best: The displacement (dx, dy) in cells at which they fit best.
        best_z: The fit there.
    """

    z: float = math.nan
    on_tissue: float
    cells: int
    best: tuple[int, int] = (0, 0)
    best_z: float = math.nan


@dataclass(frozen=True)
class AlignmentTest:
    """Tests annotations on one slide; the slide is transformed once for all of them.

    Attributes:
        cells: The cells of the slide.
    """

    cells: CellGrid

    @property
    def reach(self) -> int:
        """The largest displacement in cells."""
        wanted = round(MAX_DISPLACEMENT_UM / self.cells.side_um)
        return max(1, min(wanted, int(0.7 * min(self.cells.shape))))

    @cached_property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the transforms, padded for displacements beyond the slide."""
        rows, columns = (fft.next_fast_len(length + self.reach, real=True) for length in self.cells.shape)
        return rows, columns

    @cached_property
    def transformed(self) -> NDArray[np.complex64]:
        """Fourier transforms of the tissue and of each quantity: (1 + K, ...) complex."""
        planes = np.concatenate([self.cells.tissue[None].astype(np.float32), self.cells.values])
        return np.asarray(fft.rfft2(planes, self.size))

    def __call__(self, zones: Zones, whole: float, clear: float) -> AlignmentFit:
        """Compute the fit of annotations.

        Args:
            zones: (ZONES, H, W) float32 as `annotation_zones` returns them.
            whole: Number of cells that the annotations cover, those beyond the slide included.
            clear: Displacements up to this many cells are too near to be compared.

        Returns:
            The fit.
        """
        inside = int(zones[:-1].sum())
        if inside == 0:
            return AlignmentFit(on_tissue=0.0, cells=0)
        explained, tissue = self.explained(zones)
        on_tissue = float(tissue[0, 0]) / max(whole, 1.0)
        # Annotations are not drawn exactly to a cell: take the best of neighboring displacements.
        near = ndimage.maximum_filter(explained, 3, mode="wrap")
        # Compare displacements that are near enough to stay on tissue, and far enough to be elsewhere.
        down, right = (np.fft.fftfreq(length, 1 / length) for length in self.size)
        allowed = (abs(down) <= self.reach)[:, None] & (abs(right) <= self.reach)
        allowed &= tissue > MIN_TISSUE_SHARE * tissue[allowed].max()
        displaced = near[allowed & (np.hypot(down[:, None], right) > clear)]
        if len(displaced) < MIN_DISPLACEMENTS or tissue[0, 0] < 1:
            return AlignmentFit(on_tissue=on_tissue, cells=inside)
        mean = float(displaced.mean())
        spread = float(displaced.std()) + EPSILON
        row, column = np.unravel_index(np.argmax(np.where(allowed, near, -np.inf)), near.shape)
        return AlignmentFit(
            z=(float(near[0, 0]) - mean) / spread,
            on_tissue=on_tissue,
            cells=inside,
            best=(int(right[column]), int(down[row])),
            best_z=(float(near[row, column]) - mean) / spread,
        )

    def explained(self, zones: Zones) -> tuple[Maps, Maps]:
        """Compute the share of variance that zones explain at every displacement.

        Args:
            zones: (ZONES, H, W) float32.

        Returns:
            The share for each displacement (dy, dx), negative ones wrapped around, and the number of tissue cells inside
            the annotations there.
        """
        conjugate = np.conj(fft.rfft2(zones, self.size))
        counts = np.maximum(fft.irfft2(self.transformed[0] * conjugate, self.size), 0)
        total = counts.sum(0)
        between = np.zeros(self.size, np.float32)
        for plane in self.transformed[1:]:
            sums = fft.irfft2(plane * conjugate, self.size)
            between += (sums**2 / np.maximum(counts, 1)).sum(0) - sums.sum(0) ** 2 / np.maximum(total, 1)
        return between / np.maximum(total, 1), counts[:-1].sum(0)
