"""What a network says of whole images of any size: the mean of its answers over windows on them."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoscout.errors import HistoscoutError
from histoscout.geometry.box import Box
from histoscout.hardware import usable_cores
from histoscout.network.engines import Engine
from histoscout.progress import Progress
from histoscout.recipe import Recipe
from histoscout.slides.open import open_slide

_AHEAD = 2  # images read ahead of the network, for each reader


@dataclass(frozen=True)
class Looked:
    """The windows on one image: uint8 (N, side, side, 3), and which of their pixels it has: bool (N, side, side)."""

    pictures: NDArray[np.uint8]
    inside: NDArray[np.bool_]


def windows_on(length: float, side: float) -> list[float]:
    """Where windows start along an image: as few as cover it, evenly; one in the middle if it is shorter."""
    if length <= side:
        return [(length - side) / 2]
    return [float(start) for start in np.linspace(0, length - side, math.ceil(length / side - 1e-9))]


def look_at(path: Path, mpp: float | None, recipe: Recipe) -> Looked:
    """Cut an image into windows as the recipe has them, white beyond its edges. SlideError if it cannot be read."""
    with open_slide(path, mpp) as image:
        scale, side = recipe.patches.mpp / image.mpp, recipe.patch_px * recipe.patches.mpp / image.mpp
        across, down = (windows_on(length, side) for length in (image.box.width, image.box.height))
        boxes = [Box(x, y, side, side) for y, x in product(down, across)]
        pictures = np.stack([image.read(box, recipe.patches.mpp) for box in boxes])
        inside = np.stack([_inside(box, image.box, scale, recipe.patch_px) for box in boxes])
    return Looked(pictures, inside)


def _inside(box: Box, whole: Box, scale: float, side: int) -> NDArray[np.bool_]:
    centers = (np.arange(side) + 0.5) * scale
    rows = (box.y + centers > 0) & (box.y + centers < whole.height)
    columns = (box.x + centers > 0) & (box.x + centers < whole.width)
    return np.outer(rows, columns)


@dataclass
class Answers:
    """The sum of a network's answers for each image, what it is divided by, and the images that failed."""

    total: NDArray[np.float64]
    weight: NDArray[np.float64]
    failed: dict[int, str] = field(default_factory=dict)

    @property
    def means(self) -> NDArray[np.float64]:
        """The mean answer for each image: float64 (images, C); 0 for those that failed."""
        return self.total / np.maximum(self.weight, 1)[:, None]


def answers_for_images(
    engine: Engine, images: Sequence[tuple[Path, float | None]], recipe: Recipe, progress: Progress
) -> Answers:
    """Ask a network about images (path, and um/px where they do not say): the mean of its answers for each.

    Of a network that answers for pixels the mean goes over the image's pixels, of one for tiles over its windows.
    An image that cannot be read is told in `failed`, and the others go on.
    """
    answers = Answers(np.zeros((len(images), len(engine.labels))), np.zeros(len(images)))
    asked: deque[tuple[int, NDArray[np.bool_]]] = deque()
    batches = _batches(_looked(images, recipe, answers, progress), recipe.detection.batch_size, asked)
    for output in engine.stream(batches):
        for answer in output:
            number, inside = asked.popleft()
            seen = answer[inside] if answer.ndim == 3 else answer[None]
            answers.total[number] += seen.sum(0, dtype=np.float64)
            answers.weight[number] += len(seen)
    return answers


def _looked(
    images: Sequence[tuple[Path, float | None]], recipe: Recipe, answers: Answers, progress: Progress
) -> Iterator[tuple[int, Looked]]:
    """Every image that can be read, in order, read ahead by a few threads."""
    readers = min(4, usable_cores())
    pool = ThreadPoolExecutor(readers, thread_name_prefix="histoscout-read")
    waiting: deque[tuple[int, Future[Looked]]] = deque()
    remaining = enumerate(images)
    try:
        for _ in images:
            while len(waiting) < _AHEAD * readers and (following := next(remaining, None)) is not None:
                number, (path, mpp) = following
                waiting.append((number, pool.submit(look_at, path, mpp, recipe)))
            number, future = waiting.popleft()
            try:
                yield number, future.result()
            except HistoscoutError as error:
                answers.failed[number] = str(error)
            progress.advance()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(
    looked: Iterator[tuple[int, Looked]], size: int, asked: deque[tuple[int, NDArray[np.bool_]]]
) -> Iterator[NDArray[np.uint8]]:
    """Windows of all images in batches of one size, the last perhaps smaller; `asked` says whose they are."""
    pictures: list[NDArray[np.uint8]] = []
    for number, image in looked:
        for picture, inside in zip(image.pictures, image.inside, strict=True):
            pictures.append(picture)
            asked.append((number, inside))
            if len(pictures) == size:
                yield np.stack(pictures)[:, None]
                pictures = []
    if pictures:
        yield np.stack(pictures)[:, None]
