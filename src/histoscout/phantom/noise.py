"""Random fields: what gives tissue its cloudy, fibrous or foamy look."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Field = NDArray[np.float32]
Shape = tuple[int, int]


def enlarged(field: Field, shape: Shape) -> Field:
    """Return the field stretched to another shape, smoothly."""
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.array(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR), dtype=np.float32)


def cloud(rng: np.random.Generator, shape: Shape, scale: float) -> Field:
    """Return a smooth random field with blobs about `scale` pixels wide; mean 0, deviation about 1."""
    rows, columns = (int(np.ceil(side / scale)) + 4 for side in shape)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    size = (round(columns * scale), round(rows * scale))
    fine = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    top, left = (int(rng.integers(int(scale), int(2 * scale) + 1)) for _ in range(2))
    return fine[top : top + shape[0], left : left + shape[1]] * np.float32(1.35)


def grain(rng: np.random.Generator, shape: Shape, sigma: float, tile: int = 512) -> Field:
    """Return fine noise of deviation 1, repeated every `tile` pixels (no eye finds the repeat)."""
    patch = rng.standard_normal((tile, tile), dtype=np.float32)
    if sigma > 0:
        patch = ndimage.gaussian_filter(patch, sigma, mode="wrap")
    patch /= patch.std()
    repeats = (-(-shape[0] // tile), -(-shape[1] // tile))
    return np.tile(patch, repeats)[: shape[0], : shape[1]]


def contours(rng: np.random.Generator, height: Field, period: float) -> Field:
    """Return streaks that run along the contour lines of a height field, `period` heights apart; 0 to 1."""
    line = ndimage.gaussian_filter1d(rng.standard_normal(4096), 2.0, mode="wrap")
    line += 0.8 * ndimage.gaussian_filter1d(rng.standard_normal(4096), 8.0, mode="wrap") * 2.0
    line = ((line - line.min()) / (line.max() - line.min())).astype(np.float32)
    index = (height * np.float32(8.0 / period)).astype(np.int32)
    index &= 4095
    return np.take(line, index)


def foam(rng: np.random.Generator, shape: Shape, spacing: float) -> Field:
    """Return the distance, in pixels, to the walls of a foam with cells about `spacing` pixels apart.

    Worley's cellular noise (1996): half the difference of the distances to the nearest two of jittered
    points.
    """
    rows, columns = (int(side / spacing) + 4 for side in shape)
    jitter = rng.uniform(0.08, 0.92, (2, rows, columns)).astype(np.float32)
    y = np.arange(shape[0], dtype=np.float32) / np.float32(spacing) + 1
    x = np.arange(shape[1], dtype=np.float32) / np.float32(spacing) + 1
    row, column = y.astype(np.intp), x.astype(np.intp)
    nearest = np.full(shape, 81.0, dtype=np.float32)
    second = nearest.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            cell = np.ix_(row + down, column + right)
            off_y = (y - (row + down).astype(np.float32))[:, None] - jitter[0][cell]
            off_x = (x - (column + right).astype(np.float32))[None, :] - jitter[1][cell]
            away = off_y**2 + off_x**2
            second = np.minimum(second, np.maximum(nearest, away))
            nearest = np.minimum(nearest, away)
    return (np.sqrt(second) - np.sqrt(nearest)) * np.float32(spacing / 2)
