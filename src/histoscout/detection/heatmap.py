"""What a network says of every place on a slide."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.blend import Blend
from histoscout.detection.room import room
from histoscout.detection.views import there, views_of
from histoscout.detection.windows import WindowPlan
from histoscout.errors import ModelError
from histoscout.geometry.box import Box
from histoscout.network.engines import Engine
from histoscout.slides.slide import Slide

LEVELS = 256
"""Probabilities are kept as 0..255."""

Cell = tuple[int, int]


@dataclass(frozen=True)
class Heatmap:
    """The probability of each label at each place of a slide; 0 where nobody looked.

    `values` uint8 (C, H, W), 255 meaning certain, in memory or in a file; cells of `mpp` um cover `box`
    (level-0 px), the last row and column perhaps a little more or less. `seen` windows were looked at.
    """

    box: Box
    mpp: float
    slide_mpp: float
    slide_name: str
    labels: tuple[str, ...]
    values: NDArray[np.uint8]
    seen: int

    @property
    def scale(self) -> float:
        """Level-0 px per cell."""
        return self.mpp / self.slide_mpp

    def levels(self, label: str) -> NDArray[np.uint8]:
        """0..255 of one label: uint8 (H, W)."""
        levels: NDArray[np.uint8] = self.values[self.labels.index(label)]
        return levels

    def probability(self, label: str) -> NDArray[np.float32]:
        """The probability of one label: float32 (H, W), made anew on each call."""
        return self.levels(label).astype(np.float32) / np.float32(LEVELS - 1)


def level_of(threshold: float) -> int:
    """The lowest level of a heatmap that counts as found at a threshold in [0, 1]."""
    return int(np.ceil(round(threshold * (LEVELS - 1), 6)))


def compute_heatmap(
    slide: Slide,
    engine: Engine,
    boxes: Sequence[Box],
    plan: WindowPlan,
    *,
    on_window: Callable[[int, int], None],
) -> Heatmap:
    """Look at every window and lay the answers side by side, blended where windows overlap.

    Reader threads run ahead of the engine. Memory holds a strip of one window's height across the slide;
    the map itself goes to a file if it is large. The result depends neither on the order of the boxes nor
    on the number of threads. An engine that answers for whole tiles gives cells of one stride.
    `on_window(done, total)` is called as windows are finished. What `slide.read` raises, this raises.
    """
    cell_px = 1 if engine.answers == "pixels" else plan.stride_px
    patch = max(1, round(plan.side_px / cell_px))
    mpp = plan.mpp * cell_px
    scale = mpp / slide.mpp
    shape = slide.box.shape(scale)
    places = sorted({_cell(box, slide.box, scale): box for box in boxes}.items())
    values = room((len(engine.labels), *shape), plan.scratch)
    overlap = max(0, patch - max(1, round(plan.stride_px / cell_px)))
    blend = Blend(values, patch, overlap)
    answers = _answers(engine, slide, [box for _, box in places], plan)
    for done, ((cell, _), answer) in enumerate(zip(places, answers, strict=True), start=1):
        blend.add(*cell, answer)
        on_window(done, len(places))
    blend.finish()
    return Heatmap(slide.box, mpp, slide.mpp, slide.name, tuple(engine.labels), values, len(places))


def _cell(box: Box, whole: Box, scale: float) -> Cell:
    return round((box.y - whole.y) / scale), round((box.x - whole.x) / scale)


def _answers(
    engine: Engine, slide: Slide, boxes: Sequence[Box], plan: WindowPlan
) -> Iterator[NDArray[np.float32]]:
    """The engine's answer for each box in turn: float32 (h, w, C), the mean over the plan's views."""
    views = views_of(plan.flips)

    def batches() -> Iterator[NDArray[np.uint8]]:
        for pictures in _pictures(slide, boxes, plan):
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


def _pictures(slide: Slide, boxes: Sequence[Box], plan: WindowPlan) -> Iterator[NDArray[np.uint8]]:
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
                waiting.extend(pool.submit(slide.read, box, plan.mpp) for box in more)
                if waiting:
                    pictures.append(waiting.popleft().result())
            pictures += [pictures[-1]] * (plan.batch - len(pictures))
            yield np.stack(pictures)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
