"""Filled ducts: usual hyperplasia, and look-alikes that differ in arrangement alone.

Holes in a filled duct: irregular slits near its rim, or round ones as if punched out.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.synthetic.cells import Look, Row, at, scattered, set_down, set_in_row, stamps
from histoscout.synthetic.layout import Placed
from histoscout.synthetic.patient import Patient
from histoscout.synthetic.textures import UM, Blob, Canvas, Field, cloud, depth, fine, frame, paste, soft


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
    centers: list[tuple[float, float, float]] = []
    left = area
    for _ in range(600):
        y, x = inner[rng.integers(len(inner))]
        size = radius * float(np.exp(rng.normal(0, 0.18)))
        if depth[y, x] < size + 8 or any(np.hypot(y - b, x - a) < size + r + 7 for b, a, r in centers):
            continue
        centers.append((float(y), float(x), size))
        left -= np.pi * size**2
        if left <= 0:
            break
    axis = np.arange(depth.shape[0], dtype=np.float32)
    score = np.full_like(depth, -1e3)
    for y, x, size in centers:
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


@dataclass(frozen=True)
class Filling:
    """What fills a duct.

    `mixed` (0 even, round, well-spaced nuclei; 1 nuclei of all sizes and shapes that overlap) and `slit` (are
    its holes slits, or punched out) say what kind of proliferation it is. All else comes from one
    distribution for all kinds, and the finished duct is brought to its `mean` and `deviation` of haematoxylin
    and its `holes` (share of the area) exactly: colour, density and the share of holes say nothing about the
    kind.
    """

    mixed: float
    slit: bool
    crowding: float
    holes: float
    mean: float
    deviation: float
    cytoplasm: float
    nucleus: float
    chromatin: float
    blur: float
    cleft: float


def filling(kind: str, who: Patient, rng: np.random.Generator) -> Filling:
    """Choose what fills a duct of this kind: "UDH", "ADH" or "unclear" (something between).

    Most of the look-alikes have mixed nuclei round punched-out holes, as higher grades have: nuclei alone do
    not tell.
    """
    shared = Filling(
        mixed=float(rng.uniform(0.75, 1.0)),
        slit=True,
        crowding=float(rng.uniform(0.92, 1.08)),
        holes=float(rng.uniform(0.04, 0.19)),
        mean=float(rng.uniform(0.52, 0.72)),
        deviation=float(rng.uniform(0.28, 0.4)),
        cytoplasm=float(rng.uniform(0.42, 0.72)),
        nucleus=float(rng.uniform(6.7, 9.2)) * who.nucleus,
        chromatin=float(rng.uniform(0.05, 0.3)),
        blur=float(max(0.0, rng.uniform(-0.7, 1.4))),
        cleft=float(rng.uniform(-0.6, 1.0)),
    )
    if kind == "UDH":
        return shared
    if kind == "ADH":
        even = rng.uniform() > MIXED_LOOK_ALIKES
        return replace(shared, slit=False, mixed=float(rng.uniform(0.0, 0.25)) if even else shared.mixed)
    return replace(shared, mixed=float(rng.uniform(0.35, 0.65)), slit=bool(rng.uniform() < 0.5))


MIXED_LOOK_ALIKES = 0.78
"""Share of look-alikes whose nuclei are as mixed as those of usual hyperplasia."""


def draw_duct(canvas: Canvas, duct: Placed, who: Patient, rng: np.random.Generator) -> None:
    """Draw a filled duct."""
    what = filling(duct.kind, who, rng)
    where = frame(duct.shape, 8)
    deep = depth(duct.shape, where)
    holes = (slits if what.slit else punched)(rng, deep, what.holes)
    inside, hole = soft(fine(deep)), soft(fine(holes), 0.9)
    epithelium = inside * (1 - hole)
    nuclei = _nuclei(what, duct.shape, deep, holes, rng)
    hematoxylin = _matched(nuclei, epithelium, what)
    eosin = what.cytoplasm * (1 + np.float32(0.1) * fine(cloud(rng, deep.shape, 5))) * epithelium
    eosin += np.float32(0.06) + np.float32(rng.uniform(0, 0.12)) * hole * fine(
        np.maximum(cloud(rng, deep.shape, 20), 0)
    )
    cover = _with_cleft(inside, deep, eosin, what, rng)
    if what.blur > 0.25:
        hematoxylin = ndimage.gaussian_filter(hematoxylin, what.blur)
    paste(canvas, where, cover, hematoxylin, eosin)


def _nuclei(what: Filling, shape: Blob, deep: Field, holes: Field, rng: np.random.Generator) -> Field:
    """Set down the nuclei of a duct on a piece of its own."""
    size = (deep.shape[0] * UM, deep.shape[1] * UM)
    piece = np.zeros(size, dtype=np.float32)
    even, mixed = 1 - what.mixed, what.mixed
    look = Look(
        diameter=what.nucleus * (1.08 * even + mixed),
        spread=0.05 * even + 0.24 * mixed,
        elongation=1.06 * even + 1.5 * mixed,
        elongation_spread=0.03 * even + 0.3 * mixed,
        wobble=0.015 * even + 0.07 * mixed,
        amount_spread=0.05 * even + 0.22 * mixed,
        clumps=what.chromatin,
    )
    library = stamps(look, rng, 192)
    spacing = what.nucleus * what.crowding * (1.33 * even + 1.08 * mixed) * UM
    where = scattered(rng, size, spacing, 0.06 * even + 0.33 * mixed)
    where = where[(at(deep, where, UM) > 4.0) & (at(holes, where, UM) < -2.4)]
    swirl = cloud(rng, (deep.shape[0], deep.shape[1]), 45) * np.float32(1.5)
    which = library.toward(at(swirl, where, UM).astype(np.float64), rng, 0.35)
    set_down(piece, where, which, library)
    flat = stamps(Look(5.2 * what.nucleus / 7.8, 0.12, 3.2, 0.6, 0.04, 1.0, 0.1), rng, 48)
    set_in_row(piece, shape, frame(shape, 8), Row(1.8, 13.0, flat, standing=False), rng)
    return np.float32(1.5) * (1 - np.exp(-piece / np.float32(1.5)))


def _matched(nuclei: Field, epithelium: Field, what: Filling) -> Field:
    """Return nuclei and cytoplasm, brought to the mean and deviation that the filling asks for."""
    whole = epithelium > 0.5
    if not whole.any():
        return nuclei * epithelium
    values = nuclei[whole]
    gain = what.deviation / max(float(values.std()), 0.05)
    shifted = (nuclei - values.mean()) * np.float32(gain) + np.float32(what.mean)
    matched: Field = np.maximum(shifted, np.float32(0.02)) * epithelium
    return matched


def _with_cleft(inside: Field, deep: Field, eosin: Field, what: Filling, rng: np.random.Generator) -> Field:
    """Return what the duct hides: itself and the cleft where it shrank from the stroma."""
    if what.cleft <= 0:
        return inside
    part = np.clip(cloud(rng, (deep.shape[0], deep.shape[1]), 60) + np.float32(what.cleft - 0.6), 0, 1.2)
    cleft = soft(fine(deep + np.float32(5) * part))
    return np.maximum(inside, cleft)
