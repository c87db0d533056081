"""Laying the answers for overlapping windows into one map: no seams, and never the whole map in memory."""

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.room import let_go


class Blend:
    """A strip of weighted sums, as high as a window, that moves down the map as windows come row by row.

    `values` uint8 (C, H, W) receives the finished rows. Windows are `patch` cells wide and high; over the
    `overlap` with its neighbours a window's weight rises from its border inwards, so that no border shows.
    """

    def __init__(self, values: NDArray[np.uint8], patch: int, overlap: int) -> None:
        labels, self._height, self._width = values.shape
        self._values = values
        self._patch = patch
        ramp = np.minimum(1, (np.arange(patch) + 0.5) / max(0.5, overlap)).astype(np.float32)
        side = np.minimum(ramp, ramp[::-1])
        self._weight = np.outer(side, side)
        self._sums = np.zeros((labels, patch, self._width), np.float32)
        self._weights = np.zeros((patch, self._width), np.float32)
        self._top = 0

    def add(self, row: int, column: int, answer: NDArray[np.float32]) -> None:
        """Add a window's answer: float32 (patch, patch, C), or (1, 1, C) for all of it; row by row."""
        self._move_to(row)
        left, right = max(0, column), min(self._width, column + self._patch)
        if left >= right:
            return
        weight = self._weight[:, left - column : right - column]
        part = answer[:, left - column : right - column] if answer.shape[1] > 1 else answer
        for label, sums in enumerate(self._sums):
            sums[:, left:right] += weight * part[..., label]
        self._weights[:, left:right] += weight

    def finish(self) -> None:
        """Write what is left in the strip."""
        self._move_to(self._top + self._patch)

    def _move_to(self, row: int) -> None:
        if row < self._top:
            raise ValueError(f"windows must come row by row: {row} after {self._top}")
        done = min(row - self._top, self._patch)
        if done == 0:
            return
        self._write(done)
        for strip in (*self._sums, self._weights):
            strip[: self._patch - done] = strip[done:]
            strip[self._patch - done :] = 0
        self._top = row

    def _write(self, rows: int) -> None:
        rows = max(0, min(rows, self._height - self._top))
        weights = self._weights[:rows]
        touched = np.flatnonzero(weights.any(axis=0))
        if not len(touched):
            return
        columns = slice(int(touched[0]), int(touched[-1]) + 1)
        weights = np.maximum(weights[:, columns], np.float32(1e-6))
        for label, sums in enumerate(self._sums):
            levels = np.rint(np.clip(sums[:rows, columns] / weights, 0, 1) * 255).astype(np.uint8)
            self._values[label, self._top : self._top + rows, columns] = levels
        let_go(self._values)
