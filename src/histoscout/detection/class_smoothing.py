"""Which class a lesion is of is decided by its whole neighbourhood, not by each place for itself."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.detection.heatmap import LEVELS, Heatmap
from histoscout.detection.inference import let_go

STRIP = 1024
CELLS = 4
"""Cells that the sums are kept in, across one sigma."""

_Sums = NDArray[np.float32]


def decide_together(heatmap: Heatmap, sigma_um: float) -> None:
    """Let places near one another agree on the class, in place; that there is a lesion at all stays as it was said.

    The probabilities of all classes together are left alone at each place and divided anew: by the shares that the
    classes have in a Gaussian neighbourhood of `sigma_um`. A pathologist, too, names a gland by the whole of it and those
    around it. Nothing changes where there is one class only. Memory holds a strip, and sums over cells of a quarter of sigma.
    """
    if not sigma_um or len(heatmap.labels) == 1:
        return
    side = max(1, int(sigma_um / heatmap.mpp / CELLS))
    sums = _sums(heatmap.values, side)
    for plane in sums:
        ndimage.gaussian_filter(plane, sigma_um / heatmap.mpp / side, output=plane, mode="constant")
    shares = sums / np.maximum(sums.sum(0), np.float32(1e-6))
    rows = heatmap.values.shape[1]
    for top in range(0, rows, STRIP):
        strip = heatmap.values[:, top : top + STRIP]
        if strip.any():
            strip[:] = _divided(strip, _enlarged(shares, (top, 0), strip.shape[1:], side))
            let_go(heatmap.values)


def _sums(values: NDArray[np.uint8], side: int) -> _Sums:
    """What each class has in square cells of so many places: float32 (C, rows, columns)."""
    classes, rows, columns = values.shape
    found = np.zeros((classes, -(-rows // side), -(-columns // side)), np.float32)
    height = STRIP // side * side or side
    starts = np.arange(0, columns, side)
    for top in range(0, rows, height):
        strip = values[:, top : top + height].astype(np.float32)
        across = np.add.reduceat(strip, starts, axis=2)
        down = np.add.reduceat(across, np.arange(0, strip.shape[1], side), axis=1)
        found[:, top // side : top // side + down.shape[1]] = down
        let_go(values)
    return found


def _enlarged(shares: _Sums, corner: tuple[int, int], shape: tuple[int, ...], side: int) -> _Sums:
    """The part of the cells that covers `shape` places from a corner on, in straight lines between cell centres."""
    for axis, (start, length) in enumerate(zip(corner, shape, strict=True), start=1):
        last = shares.shape[axis] - 1
        places = np.clip((np.arange(start, start + length) + 0.5) / side - 0.5, 0, last)
        below = places.astype(np.intp)
        weight = (places - below).astype(np.float32).reshape((-1, 1) if axis == 1 else (1, -1))
        above = np.minimum(below + 1, last)
        shares = shares.take(below, axis) * (1 - weight) + shares.take(above, axis) * weight
    return shares


def _divided(levels: NDArray[np.uint8], shares: _Sums) -> NDArray[np.uint8]:
    together = levels.sum(0, dtype=np.float32)
    divided: NDArray[np.uint8] = np.minimum(np.rint(together * shares), LEVELS - 1).astype(np.uint8)
    return divided
