"""A slide made of arrays: for tests, for the built-in cohort, and for images that come from elsewhere."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from histoscout.errors import SlideError
from histoscout.slides.slide import About, Slide


class Arrays:
    """A slide source whose levels are uint8 RGB arrays (H, W, 3), level 0 first. Pickles with its pixels."""

    def __init__(self, levels: Sequence[NDArray[np.uint8]], mpp: float | None) -> None:
        self.levels, self.mpp = tuple(levels), mpp
        self.level_sizes = tuple((level.shape[1], level.shape[0]) for level in self.levels)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        return self.levels[level][y : y + height, x : x + width]

    def close(self) -> None:
        """Nothing to let go of: the arrays belong to whoever made them."""


def in_memory(
    pixels: NDArray[np.uint8], mpp: float, name: str = "in memory", levels: Sequence[NDArray[np.uint8]] = ()
) -> Slide:
    """A slide of these pixels: uint8 RGB (H, W, 3) at `mpp` um/px, with smaller copies if there are any."""
    arrays = (pixels, *levels)
    for array in arrays:
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
            fault = (
                f"its pixels are {array.dtype} of shape {array.shape}, not uint8 of shape (height, width, 3)"
            )
            raise SlideError(name, fault, "Convert them to 8-bit RGB")
    return Slide(Arrays(arrays, mpp), About(name=name, mpp=mpp))
