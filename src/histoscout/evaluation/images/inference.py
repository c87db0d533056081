"""Predictions of a network for whole images: the mean over patches that cover the image."""

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
from histoscout.slides.scale import check_enlargement, check_overview

_AHEAD = 2
"""Images that each reading thread reads ahead of the network."""

ImageSource = tuple[Path, float | None]
"""An image file, and its um/px where the file does not say."""


@dataclass(frozen=True)
class ImagePatches:
    """The patches of one image.

    Attributes:
        pixels: The patches, (N, side, side, 3) uint8, white beyond the image.
        inside: Which of their pixels are inside the image, (N, side, side) bool.
    """

    pixels: NDArray[np.uint8]
    inside: NDArray[np.bool_]


def patch_starts(length: float, side: float) -> list[float]:
    """Place patches along an image: as few as cover it, evenly spaced.

    Args:
        length: Length of the image.
        side: Side of a patch, in the same unit.

    Returns:
        Where the patches start; one patch in the middle of an image that is shorter than it.
    """
    if length <= side:
        return [(length - side) / 2]
    return [float(start) for start in np.linspace(0, length - side, math.ceil(length / side - 1e-9))]


def read_patches(path: Path, mpp: float | None, recipe: Recipe) -> ImagePatches:
    """Cut an image into patches.

    Args:
        path: The image.
        mpp: Its um/px, if the file does not say.
        recipe: Resolution and size of patches.

    Returns:
        The patches.

    Raises:
        SlideError: The image cannot be read.
    """
    patch_px = recipe.patch_px
    with open_slide(path, mpp) as image:
        # patches in pixels of the image, with the pixels of each that are inside it
        scale = recipe.patches.mpp / image.mpp
        side = patch_px * recipe.patches.mpp / image.mpp
        lefts = patch_starts(image.box.width, side)
        tops = patch_starts(image.box.height, side)
        check_enlargement(path, image.mpp, recipe.patches.mpp, "the model (patches.mpp)")
        check_overview(path, (len(tops) * patch_px, len(lefts) * patch_px), "patches.mpp")
        boxes = [Box(x, y, side, side) for y, x in product(tops, lefts)]
        pixels = np.stack([image.read(box, recipe.patches.mpp) for box in boxes])
        inside = np.stack([_pixels_inside(box, image.box, scale, side=patch_px) for box in boxes])
    return ImagePatches(pixels, inside)


def _pixels_inside(box: Box, image_box: Box, scale: float, *, side: int) -> NDArray[np.bool_]:
    """Which pixel centers of a patch are inside the image, bool (side, side)."""
    centers = (np.arange(side) + 0.5) * scale
    rows = (box.y + centers > 0) & (box.y + centers < image_box.height)
    columns = (box.x + centers > 0) & (box.x + centers < image_box.width)
    return np.outer(rows, columns)


@dataclass
class ImagePredictions:
    """Summed predictions of a network for each image.

    Attributes:
        total: Sums of predictions, float64 (images, C).
        weight: How many pixels or patches were summed, float64 (images,).
        failed: The error of each image that could not be read, by its number.
    """

    total: NDArray[np.float64]
    weight: NDArray[np.float64]
    failed: dict[int, str] = field(default_factory=dict)

    @property
    def means(self) -> NDArray[np.float64]:
        """The mean prediction for each image, float64 (images, C); 0 for those that failed."""
        return self.total / np.maximum(self.weight, 1)[:, None]


def predict_images(
    engine: Engine, images: Sequence[ImageSource], recipe: Recipe, progress: Progress
) -> ImagePredictions:
    """Predict the class probabilities of images.

    Args:
        engine: The network.
        images: Image files with their um/px.
        recipe: Patches and batch size.
        progress: Where to report progress.

    Returns:
        The predictions, of which `cell_means` are over pixels, or over patches for a tile classifier. Images that
        cannot be read are in `failed`.
    """
    predictions = ImagePredictions(np.zeros((len(images), len(engine.labels))), np.zeros(len(images)))

    # the patches given to the network, in order: the number of their image, and their pixels inside it
    pending: deque[tuple[int, NDArray[np.bool_]]] = deque()
    patches = _read_ahead(images, recipe, predictions, progress=progress)
    for output in engine.stream(_batches(patches, recipe.detection.batch_size, pending)):
        for prediction in output:
            number, inside = pending.popleft()
            # a map of pixels without those beyond the image, or one prediction for the patch
            values = prediction[inside] if prediction.ndim == 3 else prediction[None]
            predictions.total[number] += values.sum(0, dtype=np.float64)
            predictions.weight[number] += len(values)
    return predictions


def _read_ahead(
    images: Sequence[ImageSource], recipe: Recipe, predictions: ImagePredictions, *, progress: Progress
) -> Iterator[tuple[int, ImagePatches]]:
    """The patches of every readable image, read ahead by a few threads; others go to `failed`."""
    # a few images wait in memory for the network, in order
    readers = min(4, usable_cores())
    pool = ThreadPoolExecutor(readers, thread_name_prefix="histoscout-read")
    waiting: deque[tuple[int, Future[ImagePatches]]] = deque()
    remaining = enumerate(images)
    try:
        for _ in images:
            while len(waiting) < _AHEAD * readers and (following := next(remaining, None)) is not None:
                number, (path, mpp) = following
                waiting.append((number, pool.submit(read_patches, path, mpp, recipe)))
            # an image that cannot be read does not end the others
            number, future = waiting.popleft()
            try:
                yield number, future.result()
            except HistoscoutError as error:
                predictions.failed[number] = str(error)
            progress.advance()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(
    images: Iterator[tuple[int, ImagePatches]], size: int, pending: deque[tuple[int, NDArray[np.bool_]]]
) -> Iterator[NDArray[np.uint8]]:
    """Patches of all images in batches of one size; each patch is added to `pending`."""
    batch: list[NDArray[np.uint8]] = []
    for number, image in images:
        for pixels, inside in zip(image.pixels, image.inside, strict=True):
            batch.append(pixels)
            pending.append((number, inside))
            if len(batch) == size:
                yield np.stack(batch)[:, None]
                batch = []
    if batch:
        yield np.stack(batch)[:, None]
