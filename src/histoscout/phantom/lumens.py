"""Holes in a filled duct: irregular slits near its rim, or round ones as if punched out."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.phantom.noise import Field, cloud


def slits(rng: np.random.Generator, depth: Field, share: float) -> Field:
    """Return how deep each point lies in a hole, um (below 0: not in one), for slit-like fenestrations.

    The holes follow the contour lines of a random field, so that they are narrow, bent, branched and pointed
    at their ends, of unequal size, and most of them lie near the rim. They take up `share` of the duct.
    """
    shape = (depth.shape[0], depth.shape[1])
    most = float(depth.max())
    ring = np.abs(depth - np.float32(0.36 * most)) / np.float32(most)
    scale = float(rng.uniform(34, 54))
    bent = cloud(rng, shape, scale) + np.float32(0.25) * cloud(rng, shape, 0.42 * scale)
    steep = np.hypot(*np.gradient(bent)) * np.float32(scale) + np.float32(0.35)
    gone = np.maximum(cloud(rng, shape, 34) + np.float32(0.1), 0)
    score = (
        np.abs(bent) / steep
        + np.float32(0.33) * gone
        + np.float32(1.6) * np.maximum(ring - np.float32(0.17), 0)
    )
    score += np.float32(0.03) * cloud(rng, shape, 6)
    return _ragged(rng, _cut(-score, depth, share, 6.0))


def punched(rng: np.random.Generator, depth: Field, share: float) -> Field:
    """Return the same for round, smooth, evenly spread holes (cribriform)."""
    area = float((depth > 0).sum()) * share
    inner = np.argwhere(depth > 16)
    if area < 60 or not len(inner):
        return np.full_like(depth, -9.0)
    radius = float(np.clip(np.sqrt(area / np.pi / rng.uniform(6, 26)), 7.5, 22))
    centres: list[tuple[float, float, float]] = []
    left = area
    for _ in range(600):
        y, x = inner[rng.integers(len(inner))]
        size = radius * float(np.exp(rng.normal(0, 0.18)))
        if depth[y, x] < size + 8 or any(np.hypot(y - b, x - a) < size + r + 7 for b, a, r in centres):
            continue
        centres.append((float(y), float(x), size))
        left -= np.pi * size**2
        if left <= 0:
            break
    axis = np.arange(depth.shape[0], dtype=np.float32)
    score = np.full_like(depth, -1e3)
    for y, x, size in centres:
        turn, oval = rng.uniform(0, np.pi), float(np.exp(rng.normal(0, 0.09)))
        down, right = axis[:, None] - np.float32(y), axis[None, :] - np.float32(x)
        along, across = down * np.sin(turn) + right * np.cos(turn), down * np.cos(turn) - right * np.sin(turn)
        score = np.maximum(
            score, np.float32(size) - np.hypot(along * np.float32(oval), across / np.float32(oval))
        )
    score += np.float32(0.9) * cloud(rng, (depth.shape[0], depth.shape[1]), 14)
    return _ragged(rng, _cut(score, depth, share, 6.0))


def _cut(score: Field, depth: Field, share: float, rim: float) -> Field:
    """Cut holes where the score is highest, to take up a share of the duct and leave its rim whole."""
    duct = int((depth > 0).sum())
    allowed = depth > rim
    wanted = min(int(share * duct), int(allowed.sum()) - 1)
    if wanted <= 0:
        return np.full_like(depth, -9.0)
    limit = np.partition(score[allowed], -wanted)[-wanted]
    holes = _without_specks((score > limit) & allowed)
    smooth = ndimage.gaussian_filter(holes.astype(np.float32), 1.8)
    inside = smooth > max(float(np.partition(smooth.ravel(), -wanted)[-wanted]), 0.1)
    away = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    result: Field = ndimage.gaussian_filter(-away.astype(np.float32), 0.8)
    return result


def _ragged(rng: np.random.Generator, inside: Field) -> Field:
    """Return holes with the fine unevenness of cells, so that short pieces of rim look alike in all."""
    rough = np.float32(rng.uniform(0.6, 1.3)) * cloud(rng, (inside.shape[0], inside.shape[1]), 4.5)
    return np.where(inside > -2.5, inside + np.minimum(rough, 2), inside)


def _without_specks(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the holes that are at least 40 um2, about the place of a cell."""
    parts, count = ndimage.label(inside)
    kept = np.bincount(parts.ravel(), minlength=count + 1) >= 40
    kept[0] = False
    result: NDArray[np.bool_] = kept[parts]
    return result
