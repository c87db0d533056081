"""Tiled inference: windows are read ahead, predicted with TTA, and blended into one map without seams."""

import errno
import mmap
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.grid import WindowPlan, apply_view, tta_views
from histoscout.errors import ModelError, OutputError
from histoscout.geometry.box import Box
from histoscout.network.engines import Engine

ReadBox = Callable[[Box, float], NDArray[np.uint8]]


def predict_windows(
    engine: Engine, read: ReadBox, boxes: Sequence[Box], plan: WindowPlan
) -> Iterator[NDArray[np.float32]]:
    """Predict windows with test-time augmentation, reading ahead of the engine.

    Args:
        engine: The opened model.
        read: Gives the pixels of a box at an um/px, (H, W, 3) uint8; it is called from several threads.
        boxes: Windows in level-0 px.
        plan: How windows are read and predicted.

    Yields:
        For each box, probabilities (h, w, C) float32, the mean over the TTA views.

    Raises:
        ModelError: If the engine gives outputs of another number or shape.
    """
    views = tta_views(plan.views)

    def batches() -> Iterator[NDArray[np.uint8]]:
        for images in _read_batches(read, boxes, plan):
            for view in views:
                yield apply_view(images, view)[:, None]

    outputs = engine.stream(batches())
    for start in range(0, len(boxes), plan.batch):
        total: NDArray[np.float32] | None = None
        for view, output in zip(views, islice(outputs, len(views)), strict=True):
            restored = apply_view(_as_maps(output, engine, plan), view.inverse)
            total = restored if total is None else total + restored
        if total is None:
            raise ModelError(
                engine.description, "the engine gave fewer outputs than windows", "Please report this"
            )
        # the last batch is padded with copies
        yield from (total / np.float32(len(views)))[: len(boxes) - start]


def _as_maps(output: NDArray[np.float32], engine: Engine, plan: WindowPlan) -> NDArray[np.float32]:
    """Outputs as maps (N, h, w, C) float32, of one cell each for a tile classifier."""
    maps = output if output.ndim == 4 else output[:, None, None, :]
    side = plan.side_px if engine.answers == "pixels" else 1
    if maps.shape[1:] != (side, side, len(engine.labels)):
        fault = f"outputs have the shape {maps.shape[1:]} instead of {(side, side, len(engine.labels))}"
        raise ModelError(
            engine.description, fault, "The model folder does not fit its recipe: train it again"
        )
    return maps


def _read_batches(read: ReadBox, boxes: Sequence[Box], plan: WindowPlan) -> Iterator[NDArray[np.uint8]]:
    """Batches of windows (batch, side, side, 3) uint8, read ahead; the last is padded with copies."""
    ahead = max(2 * plan.batch, 2 * plan.readers)
    pool = ThreadPoolExecutor(plan.readers, thread_name_prefix="histoscout-read")
    waiting: deque[Future[NDArray[np.uint8]]] = deque()
    remaining = iter(boxes)
    try:
        for _ in range(0, len(boxes), plan.batch):
            images: list[NDArray[np.uint8]] = []
            for _ in range(plan.batch):
                more = islice(remaining, max(0, ahead - len(waiting)))
                waiting.extend(pool.submit(read, box, plan.mpp) for box in more)
                if waiting:
                    images.append(waiting.popleft().result())
            images += [images[-1]] * (plan.batch - len(images))
            yield np.stack(images)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


MAX_IN_MEMORY = 2**28
"""Bytes up to which a map is held in memory."""

WRITTEN_BYTES = 2**22
"""Bytes of zeros that are written at a time where a file system cannot reserve space."""


def allocate_map(shape: tuple[int, ...], folder: Path | None = None) -> NDArray[np.uint8]:
    """Allocate an array of zeros, in memory if small, else in an unnamed file that vanishes after use.

    The space of the file is reserved first: writing into a mapped file on a full disk is no error that a program could
    report, but its end.

    Args:
        shape: Shape of the array.
        folder: Folder of the file; None for the system's.

    Returns:
        The array, uint8.

    Raises:
        OutputError: If the file cannot be made, or there is no space for it.
    """
    size = int(np.prod(shape, dtype=np.int64))
    if size <= MAX_IN_MEMORY:
        return np.zeros(shape, np.uint8)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            _reserve(file, size)
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        where = folder or Path(tempfile.gettempdir())
        fault = f"a large heatmap needs {size / 1e6:,.0f} MB here for a while ({error.strerror or error})"
        raise OutputError(where, fault, "Free some space there") from error


def _reserve(file: IO[bytes], size: int) -> None:
    """Give a file its size, with disk space for all of it; OSError if there is too little."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            # file systems that cannot reserve space are written to instead
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
        else:
            return
    zeros = bytes(WRITTEN_BYTES)
    for start in range(0, size, WRITTEN_BYTES):
        file.write(zeros[: size - start])
    file.flush()


def release_memory(array: NDArray[np.uint8]) -> None:
    """Release the memory of an array that is stored in a file; it is read again as needed.

    Args:
        array: An array of `allocate_map`, or a part of one.
    """
    owner: object = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


class StripBlender:
    """Blends windows, row by row, in a strip of weighted sums that moves down the map.

    Over the overlap with its neighbors a window's weight rises from its border inwards, so that no seam shows.

    Args:
        values: Receives the finished rows, (C, H, W) uint8.
        patch: Side of a window in cells.
        overlap: Overlap of neighboring windows in cells.
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

    def add(self, row: int, column: int, output: NDArray[np.float32]) -> None:
        """Add a window.

        Args:
            row: Row of its corner; windows come row by row.
            column: Column of its corner.
            output: Probabilities (patch, patch, C) float32, or (1, 1, C) for the whole window.
        """
        self._move_to(row)
        left, right = max(0, column), min(self._width, column + self._patch)
        if left >= right:
            return
        weight = self._weight[:, left - column : right - column]
        part = output[:, left - column : right - column] if output.shape[1] > 1 else output
        for label, sums in enumerate(self._sums):
            sums[:, left:right] += weight * part[..., label]
        self._weights[:, left:right] += weight

    def finish(self) -> None:
        """Write the rest of the strip."""
        self._move_to(self._top + self._patch)

    def _move_to(self, row: int) -> None:
        """Write the rows above `row` and move the strip there."""
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
        """Write the weighted mean of the first rows, where any window reached them."""
        rows = max(0, min(rows, self._height - self._top))
        weights = self._weights[:rows]
        covered = np.flatnonzero(weights.any(axis=0))
        if not len(covered):
            return
        columns = slice(int(covered[0]), int(covered[-1]) + 1)
        weights = np.maximum(weights[:, columns], np.float32(1e-6))
        for label, sums in enumerate(self._sums):
            levels = np.rint(np.clip(sums[:rows, columns] / weights, 0, 1) * 255).astype(np.uint8)
            self._values[label, self._top : self._top + rows, columns] = levels
        release_memory(self._values)
