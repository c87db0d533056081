"""Class smoothing: the class of a lesion is decided by its neighborhood, not by each place for itself."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.detection.heatmap import LEVELS, Heatmap
from histoscout.detection.inference import release_memory

STRIP = 1024
"""Rows that are processed at once."""

CELLS_PER_SIGMA = 4
"""Cells of the coarse sums, across one sigma."""

_Sums = NDArray[np.float32]


def smooth_classes(heatmap: Heatmap, sigma_um: float) -> None:
    """Smooth the class of each place over its neighborhood, in place.

    The probability of all classes together stays at each place. It is divided among the classes by their shares in a
    Gaussian neighborhood, as a pathologist names a gland by the whole of it and its neighbors. With one class nothing changes.
    Memory holds a strip, and sums over cells of a quarter of sigma.

    Args:
        heatmap: The heatmap, which is changed.
        sigma_um: Sigma of the neighborhood in um; 0 for no smoothing.
    """
    if not sigma_um or len(heatmap.labels) == 1:
        return
    side = max(1, int(sigma_um / heatmap.mpp / CELLS_PER_SIGMA))
    # coarse sums are blurred, so that a wide neighborhood costs little
    sums = _cell_sums(heatmap.values, side)
    for plane in sums:
        ndimage.gaussian_filter(plane, sigma_um / heatmap.mpp / side, output=plane, mode="constant")
    shares = sums / np.maximum(sums.sum(0), np.float32(1e-6))
    rows = heatmap.values.shape[1]
    for top in range(0, rows, STRIP):
        strip = heatmap.values[:, top : top + STRIP]
        if strip.any():
            strip[:] = _divide(strip, _interpolate(shares, (top, 0), strip.shape[1:], side))
            release_memory(heatmap.values)


def _cell_sums(values: NDArray[np.uint8], side: int) -> _Sums:
    """The sum of each class in square cells of `side` places: float32 (C, rows, columns)."""
    classes, rows, columns = values.shape
    cells = np.zeros((classes, -(-rows // side), -(-columns // side)), np.float32)
    height = STRIP // side * side or side
    starts = np.arange(0, columns, side)
    for top in range(0, rows, height):
        strip = values[:, top : top + height].astype(np.float32)
        across = np.add.reduceat(strip, starts, axis=2)
        down = np.add.reduceat(across, np.arange(0, strip.shape[1], side), axis=1)
        cells[:, top // side : top // side + down.shape[1]] = down
        release_memory(values)
    return cells


def _interpolate(shares: _Sums, corner: tuple[int, int], shape: tuple[int, ...], side: int) -> _Sums:
    """The part of the cells that covers `shape` places from a corner on, linear between cell centers."""
    for axis, (start, length) in enumerate(zip(corner, shape, strict=True), start=1):
        last = shares.shape[axis] - 1
        places = np.clip((np.arange(start, start + length) + 0.5) / side - 0.5, 0, last)
        below = places.astype(np.intp)
        weight = (places - below).astype(np.float32).reshape((-1, 1) if axis == 1 else (1, -1))
        above = np.minimum(below + 1, last)
        shares = shares.take(below, axis) * (1 - weight) + shares.take(above, axis) * weight
    return shares


def _divide(levels: NDArray[np.uint8], shares: _Sums) -> NDArray[np.uint8]:
    """The sum of the classes divided by the shares."""
    together = levels.sum(0, dtype=np.float32)
    divided: NDArray[np.uint8] = np.minimum(np.rint(together * shares), LEVELS - 1).astype(np.uint8)
    return divided
