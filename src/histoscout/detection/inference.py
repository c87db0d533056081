"""Asking a network about many windows: readers run ahead, so that it never waits for a slide.

Laying the answers for overlapping windows into one map: no seams, and never the whole map in memory.

Arrays too large for memory.
"""

import mmap
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.grid import WindowPlan, there, views_of
from histoscout.errors import ModelError, OutputError
from histoscout.geometry.box import Box
from histoscout.network.engines import Engine

Read = Callable[[Box, float], NDArray[np.uint8]]


def answers_for(
    engine: Engine, read: Read, boxes: Sequence[Box], plan: WindowPlan
) -> Iterator[NDArray[np.float32]]:
    """The engine's answer for each box in turn: float32 (h, w, C), the mean over the plan's views.

    `read` gives the pixels of a box at an um/px: uint8 (H, W, 3); it is called from several threads.
    """
    views = views_of(plan.flips)

    def batches() -> Iterator[NDArray[np.uint8]]:
        for pictures in _pictures(read, boxes, plan):
            for view in views:
                yield there(pictures, view)[:, None]

    outputs = engine.stream(batches())
    for start in range(0, len(boxes), plan.batch):
        total: NDArray[np.float32] | None = None
        for view, output in zip(views, islice(outputs, len(views)), strict=True):
            answer = _as_maps(output, engine, plan)
            turned_back = there(answer, view.back)
            total = turned_back if total is None else total + turned_back
        if total is None:
            raise ModelError(
                engine.description, "gave fewer answers than windows", "Report this; it is a fault"
            )
        yield from (total / np.float32(len(views)))[: len(boxes) - start]


def _as_maps(output: NDArray[np.float32], engine: Engine, plan: WindowPlan) -> NDArray[np.float32]:
    """Answers as maps: float32 (N, h, w, C), one cell each if the engine answers for tiles."""
    maps = output if output.ndim == 4 else output[:, None, None, :]
    side = plan.side_px if engine.answers == "pixels" else 1
    if maps.shape[1:] != (side, side, len(engine.labels)):
        fault = f"answers with shape {maps.shape[1:]} where {(side, side, len(engine.labels))} is needed"
        raise ModelError(engine.description, fault, "The model folder does not fit its recipe: train it anew")
    return maps


def _pictures(read: Read, boxes: Sequence[Box], plan: WindowPlan) -> Iterator[NDArray[np.uint8]]:
    """Batches of windows, uint8 (batch, side, side, 3), read ahead; the last is filled up with copies."""
    ahead = max(2 * plan.batch, 2 * plan.readers)
    pool = ThreadPoolExecutor(plan.readers, thread_name_prefix="histoscout-read")
    waiting: deque[Future[NDArray[np.uint8]]] = deque()
    remaining = iter(boxes)
    try:
        for _ in range(0, len(boxes), plan.batch):
            pictures: list[NDArray[np.uint8]] = []
            for _ in range(plan.batch):
                more = islice(remaining, max(0, ahead - len(waiting)))
                waiting.extend(pool.submit(read, box, plan.mpp) for box in more)
                if waiting:
                    pictures.append(waiting.popleft().result())
            pictures += [pictures[-1]] * (plan.batch - len(pictures))
            yield np.stack(pictures)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


IN_MEMORY = 2**28
"""Bytes up to which an array is simply held in memory."""


def room(shape: tuple[int, ...], folder: Path | None = None) -> NDArray[np.uint8]:
    """A uint8 array of zeros: in memory if small, else in an unnamed file in `folder`, gone when done with.

    The file has holes where nothing is written, so that empty parts of a slide take no disk.
    """
    if int(np.prod(shape, dtype=np.int64)) <= IN_MEMORY:
        return np.zeros(shape, np.uint8)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return np.memmap(file, np.uint8, "w+", shape=shape)
    except OSError as error:
        where = folder or tempfile.gettempdir()
        raise OutputError(where, f"no room for a large heatmap ({error})", "Free some space there") from error


def let_go(array: NDArray[np.uint8]) -> None:
    """Give the memory of a file's array back; its content stays in the file and is read again as needed."""
    owner: object = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


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
