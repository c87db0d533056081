"""Engines that look at each pixel alone: what a network answers is then known exactly."""

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray


def redness(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How much more red than green, 0 to 1: float32 of the shape without the colours."""
    more = np.clip(pixels[..., 0].astype(np.float32) - pixels[..., 1], 0, 255)
    return np.asarray(more / 255, np.float32)


class Redness:
    """Probability is the redness of the pixel, or of the tile on average; a second label is its opposite."""

    def __init__(
        self, labels: tuple[str, ...] = ("UDH",), answers: Literal["pixels", "tile"] = "pixels"
    ) -> None:
        self._labels, self._answers = labels, answers
        self.windows = 0

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    @property
    def description(self) -> str:
        return "redness of each pixel"

    @property
    def answers(self) -> Literal["pixels", "tile"]:
        return self._answers

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.windows += len(windows)
        red = redness(windows[:, 0])
        both = np.stack([red, 1 - red], axis=-1)[..., : len(self.labels)]
        return both if self.answers == "pixels" else both.mean((1, 2))

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        return map(self, batches)

    def close(self) -> None:
        """Nothing is held."""
