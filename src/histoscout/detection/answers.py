"""Asking a network about many windows: readers run ahead, so that it never waits for a slide."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.views import there, views_of
from histoscout.detection.windows import WindowPlan
from histoscout.errors import ModelError
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
