"""Random fields that give synthetic tissue its cloudy, fibrous or foamy texture.

Every function takes a random generator and returns a float32 array of the wanted shape.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Field = NDArray[np.float32]
"""An image of one value per pixel, (H, W) float32."""

Shape = tuple[int, int]
"""Height and width of an array."""


def resize_field(field: Field, shape: Shape) -> Field:
    """Return the field resized to another shape by bilinear interpolation.

    Args:
        field: A field of values.
        shape: Height and width.
    """
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.array(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR), dtype=np.float32)


def smooth_noise(rng: np.random.Generator, shape: Shape, scale: float) -> Field:
    """Return smooth value noise, whose blobs are about `scale` pixels wide.

    Args:
        rng: Random generator; advanced by the call.
        shape: Height and width of the result, px.
        scale: Width of the blobs, px.

    Returns:
        (H, W) float32 with mean 0 and standard deviation about 1.
    """
    rows, columns = (int(np.ceil(side / scale)) + 4 for side in shape)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    size = (round(columns * scale), round(rows * scale))
    fine = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    # a random crop hides the lattice of the coarse noise
    top, left = (int(rng.integers(int(scale), int(2 * scale) + 1)) for _ in range(2))
    return fine[top : top + shape[0], left : left + shape[1]] * np.float32(1.35)


def grain(rng: np.random.Generator, shape: Shape, sigma: float, tile: int = 512) -> Field:
    """Return fine noise of standard deviation 1, repeated every `tile` pixels.

    Args:
        rng: Random generator; advanced by the call.
        shape: Height and width of the result, px.
        sigma: Standard deviation of the Gaussian blur, px; 0 for white noise.
        tile: Side of the pattern that repeats, px. The repeat is too fine to be visible.

    Returns:
        (H, W) float32.
    """
    pattern = rng.standard_normal((tile, tile), dtype=np.float32)
    if sigma > 0:
        pattern = ndimage.gaussian_filter(pattern, sigma, mode="wrap")
    pattern /= pattern.std()
    repeats = (-(-shape[0] // tile), -(-shape[1] // tile))
    return np.tile(pattern, repeats)[: shape[0], : shape[1]]


def contour_streaks(rng: np.random.Generator, height: Field, period: float) -> Field:
    """Return streaks that follow the contour lines of a height field, such as collagen fibers.

    Args:
        rng: Random generator; advanced by the call.
        height: (H, W) field whose contour lines the streaks follow.
        period: Distance between two streaks, in units of `height`.

    Returns:
        (H, W) float32 from 0 to 1.
    """
    # a random profile of two widths, looked up by height
    profile = ndimage.gaussian_filter1d(rng.standard_normal(4096), 2.0, mode="wrap")
    profile += 0.8 * ndimage.gaussian_filter1d(rng.standard_normal(4096), 8.0, mode="wrap") * 2.0
    profile = ((profile - profile.min()) / (profile.max() - profile.min())).astype(np.float32)
    index = (height * np.float32(8.0 / period)).astype(np.int32)
    index &= 4095
    return np.take(profile, index)


def cellular_noise(rng: np.random.Generator, shape: Shape, spacing: float) -> Field:
    """Return the distance to the walls of a foam, such as fat (Worley's cellular noise, 1996).

    Args:
        rng: Random generator; advanced by the call.
        shape: Height and width of the result, px.
        spacing: Distance between the cells of the foam, px.

    Returns:
        (H, W) float32, px: half the difference of the distances to the two nearest of jittered points.
    """
    rows, columns = (int(side / spacing) + 4 for side in shape)
    jitter = rng.uniform(0.08, 0.92, (2, rows, columns)).astype(np.float32)
    y = np.arange(shape[0], dtype=np.float32) / np.float32(spacing) + 1
    x = np.arange(shape[1], dtype=np.float32) / np.float32(spacing) + 1
    row, column = y.astype(np.intp), x.astype(np.intp)

    # the two nearest points lie in the 3 x 3 lattice cells around each pixel; 81 is farther than any of them
    nearest = np.full(shape, 81.0, dtype=np.float32)
    second = nearest.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            cell = np.ix_(row + down, column + right)
            offset_y = (y - (row + down).astype(np.float32))[:, None] - jitter[0][cell]
            offset_x = (x - (column + right).astype(np.float32))[None, :] - jitter[1][cell]
            squared = offset_y**2 + offset_x**2
            second = np.minimum(second, np.maximum(nearest, squared))
            nearest = np.minimum(nearest, squared)
    return (np.sqrt(second) - np.sqrt(nearest)) * np.float32(spacing / 2)
