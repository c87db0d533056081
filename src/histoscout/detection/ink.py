"""Marks of a pen on the glass."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SMALLEST_UM2 = 10_000.0
"""Smaller spots of colour are dirt or pigment, not a stroke of a pen."""

STROKE_UM = 40.0
"""A stroke is at least this wide."""

_Mask = NDArray[np.bool_]
_Plane = NDArray[np.float32]


def ink(pixels: NDArray[np.uint8], mpp: float) -> _Mask:
    """Where somebody wrote on the slide: bool (H, W) for RGB pixels (H, W, 3) at `mpp` um/px (about 8).

    Haematoxylin and eosin both let more red than green through, so what lets less through is blue or green
    ink; black ink is darker than tissue ever is on average over cells; red ink is as poor in blue as in
    green. A stroke that goes on over tissue loses its hue: there it is followed as far as it is darker than
    the slide's tissue.
    """
    smooth = np.stack([ndimage.gaussian_filter(pixels[..., c].astype(np.float32), 1.0) for c in range(3)])
    darkness = -np.log10(np.maximum(smooth, 1) / 255).sum(0)
    seeds = _strokes(_colour_of_ink(smooth, darkness), mpp)
    if not seeds.any():
        return seeds
    dark = _strokes(darkness > _darker_than_tissue(smooth, darkness, seeds), mpp)
    near = ndimage.binary_dilation(seeds, iterations=2)
    return np.asarray(ndimage.binary_dilation(ndimage.binary_propagation(near, mask=near | dark)))


def _colour_of_ink(rgb: NDArray[np.float32], darkness: _Plane) -> _Mask:
    red, green, blue = rgb
    brightest, dullest = rgb.max(0), rgb.min(0)
    blue_or_green = (red < green - 7) & (brightest - dullest > 30) & (darkness > 0.5)
    blue_on_tissue = (blue > 1.4 * red) & (red < green + 25) & (darkness > 1.0)
    black = (brightest < 105) & (brightest - dullest < 32) & (brightest > 8)  # 0: not scanned
    crimson = (red > 140) & (green < 80) & (blue < green + 15) & (red > green + 110)
    return np.asarray(blue_or_green | blue_on_tissue | black | crimson)


def _strokes(mask: _Mask, mpp: float) -> _Mask:
    """What of a mask is as wide and as large as a stroke of a pen."""
    radius = max(1, round(STROKE_UM / 2 / mpp))
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = rows**2 + columns**2 <= radius**2
    # what lies beyond the picture may be ink: a stroke along the border is a stroke
    padded = np.pad(mask, radius, mode="edge")
    opened = ndimage.binary_dilation(ndimage.binary_erosion(padded, disc), disc)
    inner = opened[radius:-radius, radius:-radius]
    pieces, count = ndimage.label(inner, np.ones((3, 3)))
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    large = areas >= math.ceil(SMALLEST_UM2 / mpp**2)
    large[0] = False
    return np.asarray(large[pieces])


def _darker_than_tissue(rgb: NDArray[np.float32], darkness: _Plane, seeds: _Mask) -> float:
    tissue = (rgb.max(0) - rgb.min(0) > 15) & ~seeds
    usual = float(np.percentile(darkness[tissue], 97)) if tissue.any() else 0.0
    return max(1.1, 1.15 * usual)
