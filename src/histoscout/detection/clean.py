"""Tidying masks: closing gaps, filling holes, dropping specks."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_Mask = NDArray[np.bool_]


def closed(mask: _Mask, reach: int) -> _Mask:
    """A mask with its gaps and bays closed that are at most twice `reach` pixels wide."""
    if reach < 1:
        return mask
    size = 2 * reach + 1
    grown = ndimage.maximum_filter(np.pad(mask, size).view(np.uint8), size)
    return np.asarray(ndimage.minimum_filter(grown, size)[size:-size, size:-size].view(np.bool_) | mask)


def cleaned(mask: _Mask, smallest: float, largest_hole: float) -> _Mask:
    """A mask with its small holes filled, then its small pieces dropped; sizes in pixels.

    What is false up to the picture's border is no hole. Pixels of a piece share a side or a corner.
    """
    whole = mask | _kept(~mask, largest_hole) if largest_hole > 0 else mask
    if smallest <= 1:
        return whole
    pieces, count = ndimage.label(whole, np.ones((3, 3)))
    keep = np.bincount(pieces.ravel(), minlength=count + 1) >= smallest
    keep[0] = False
    return np.asarray(keep[pieces])


def _kept(outside: _Mask, largest: float) -> _Mask:
    """The pieces of a mask that do not meet the border and are no larger than that."""
    pieces, count = ndimage.label(outside)
    keep = np.bincount(pieces.ravel(), minlength=count + 1) <= largest
    keep[np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])] = False
    keep[0] = False
    return np.asarray(keep[pieces])


def without_corners(mask: _Mask) -> _Mask:
    """A mask grown until no two of its pixels touch at a corner only, so that no outline touches itself."""
    joined = mask.copy()
    upper_left, upper_right = joined[:-1, :-1], joined[:-1, 1:]
    lower_left, lower_right = joined[1:, :-1], joined[1:, 1:]
    while True:
        falling = upper_left & lower_right & ~upper_right & ~lower_left
        rising = upper_right & lower_left & ~upper_left & ~lower_right
        if not (falling.any() or rising.any()):
            return joined
        upper_right |= falling
        upper_left |= rising
