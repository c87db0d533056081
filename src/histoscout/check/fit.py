"""How well outlines fit a slide, measured against the same outlines laid anywhere else.

For every displacement the share of the stain's variance that the zones explain is computed (Fisher's between-group
variance, by fast Fourier transform). Outlines that belong to the tissue explain far more where they are than
displaced; how much more, in standard deviations over the displacements, is the fit. No model is learnt, no threshold
of stain is set, and neighbouring cells being alike cannot deceive it: displaced outlines profit from that as much.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from histoscout.check.cells import Cells
from histoscout.check.zones import Zones

REACH_UM = 480.0  # displacements compared with, in each direction
LEAST_SHARE = 0.6  # of the tissue under the outlines that must stay under them for a displacement to count
LEAST_OTHERS = 60  # displacements needed to judge by
EPSILON = 1e-9

_Array = NDArray[np.float32]


@dataclass(frozen=True)
class Fit:
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
class FitTest:
    """The transforms of one slide's cells, made once for all outlines that are tried on it."""

    cells: Cells

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

    def __call__(self, zones: Zones, whole: float, clear: float) -> Fit:
        """The fit of outlines given as zones.

        `whole` is how many cells the outlines cover, those beyond the slide included; displacements of up to `clear`
        cells are too near to be compared with.
        """
        inside = int(zones[:-1].sum())
        if inside == 0:
            return Fit(math.nan, 0.0, 0)
        explained, tissue = self.explained(zones)
        on_tissue = float(tissue[0, 0]) / max(whole, 1.0)
        near = ndimage.maximum_filter(explained, 3, mode="wrap")  # hands are not exact to a cell
        down, across = (np.fft.fftfreq(length, 1 / length) for length in self.size)
        allowed = (abs(down) <= self.reach)[:, None] & (abs(across) <= self.reach)
        allowed &= tissue > LEAST_SHARE * tissue[allowed].max()
        others = near[allowed & (np.hypot(down[:, None], across) > clear)]
        if len(others) < LEAST_OTHERS or tissue[0, 0] < 1:
            return Fit(math.nan, on_tissue, inside)
        mean, spread = float(others.mean()), float(others.std()) + EPSILON
        row, column = np.unravel_index(np.argmax(np.where(allowed, near, -np.inf)), near.shape)
        return Fit(
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
