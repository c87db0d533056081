"""Undoing what a reader's interpolation did to an image.

OpenSlide is asked for places in whole level-0 px. Where a level's downsample is not a whole number (a slide of
803 px has 401 px on its second level: 2.0022), the place that can be asked for lies up to half a level-0 px off
the level's own pixels, and OpenSlide interpolates linearly between them. The same pixel would then differ between
two overlapping boxes, by 20 grey values at the rim of a nucleus. The interpolation is known exactly, so it is undone.
"""

import numpy as np
from numpy.typing import NDArray

# How many pixels beyond the wanted ones are needed; what is left out weighs less than (1/3) ** 8 at downsample 2.
REACH = 8

# A shift that changes a pixel by less than one grey value, even from black to white.
NOTHING = 1 / 512


def undone(pixels: NDArray[np.uint8], shift_x: float, shift_y: float) -> NDArray[np.uint8]:
    """The image whose linear interpolation, `shift` px to the right and down, is `pixels` (H, W, 3).

    |shift| < 1/2. Exact to rounding but for the last `REACH` rows and columns in the direction of the shift,
    where the image is taken to go on as it ends.
    """
    if abs(shift_x) < NOTHING and abs(shift_y) < NOTHING:
        return pixels
    image = np.pad(pixels, ((REACH, REACH), (REACH, REACH), (0, 0)), mode="edge").astype(np.float32)
    _undo(image, shift_y)
    _undo(image.swapaxes(0, 1), shift_x)
    image = image[REACH:-REACH, REACH:-REACH]
    moved: NDArray[np.uint8] = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    return moved


def _undo(image: NDArray[np.float32], shift: float) -> None:
    """In place along the first axis: with r = f / (1 - f) and S the step to the neighbour, 1 / (1 - f) / (1 + r S).

    1 / (1 + r S) = (1 - r S)(1 + r^2 S^2)(1 + r^4 S^4)... up to `REACH` terms.
    """
    if shift < 0:
        image = image[::-1]
    factor = abs(shift) / (1 - abs(shift))
    image *= 1 + factor
    step, weight = 1, -factor
    while step < REACH:
        image[:-step] += weight * image[step:]
        step, weight = 2 * step, weight * weight
