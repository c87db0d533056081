"""Where a window shows empty glass, however its colours were varied: judged by the window's own white.

A varied stain darkens glass to as little as two thirds of white, and pale tissue may be brighter than that. Glass is
therefore what is nearly as bright as the brightest usual grey of the window, if the window has glass at all: glass is
even, so that many cells are about equally bright, while the palest tissue is the thin end of a wide spread.
"""

import numpy as np
from numpy.typing import NDArray

from histoscout.check.cells import Maps, means

USUAL = 99  # percentile of the cells' greys that counts as the window's white
NEARLY = 0.88  # of the white: 225 of 255
DARKEST_WHITE = 150  # of 255: no glass, its stain varied by as much as .2, was seen darker
MANY = 0.2  # of the cells nearly white: glass, since tissue varies more
# shares of the white: few cells may be nearly white if twice as many are even as just below
EVEN, BELOW = 0.95, 0.90
TIMES = 2


def glass_of(picture: NDArray[np.uint8], per_cell: int) -> NDArray[np.bool_]:
    """Which cells of a window are mostly glass: bool (H, W). `picture` uint8 (H * per_cell, W * per_cell, 3)."""
    greys = np.stack([means(picture[..., colour].astype(np.float32), per_cell) for colour in range(3)]).min(0)
    white = float(np.percentile(greys, USUAL))
    if white < DARKEST_WHITE or not _has_glass(greys / white):
        return np.zeros(greys.shape, bool)
    bright: Maps = (picture.min(-1) > NEARLY * white).astype(np.float32)
    return means(bright, per_cell) >= 0.5


def _has_glass(share: Maps) -> bool:
    """Whether the brightest cells (as shares of white) are as many and as even as those of glass."""
    even, below = (share > EVEN).mean(), ((share > BELOW) & (share <= EVEN)).mean()
    return bool((share > NEARLY).mean() >= MANY or even >= TIMES * below)
