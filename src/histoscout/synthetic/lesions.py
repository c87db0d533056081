"""Filled ducts of synthetic slides: UDH, and look-alikes that differ in arrangement alone.

A filled duct has holes: irregular slits near its rim (`slit_holes`), or round ones as if punched out (`round_holes`).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.synthetic.canvas import (
    PX_PER_UM,
    Blob,
    Field,
    StainCanvas,
    depth_inside,
    frame_around,
    paste,
    smooth_noise,
    soft_mask,
    to_pixel_grid,
)
from histoscout.synthetic.cells import (
    CellRow,
    NucleusStyle,
    draw_stamps,
    jittered_lattice,
    place_nuclei,
    place_row,
    sample_field,
)
from histoscout.synthetic.layout import Structure
from histoscout.synthetic.patient import Patient

MIXED_LOOK_ALIKES = 0.78
"""Share of look-alikes whose nuclei are as mixed as those of UDH."""


@dataclass(frozen=True, kw_only=True)
class DuctFilling:
    """What fills a duct.

    `mixed` and `slits` decide the kind of proliferation. All else comes from one distribution for all kinds, and the
    finished duct is brought to its `mean` and `deviation` of hematoxylin and its share of `holes` exactly: color,
    density and the share of holes say nothing about the kind.

    Attributes:
        mixed: 0 for even, round, well-spaced nuclei; 1 for nuclei of all sizes and shapes that overlap.
        slits: Whether the holes are slits; if not, they are round.
        crowding: Factor on the distance between nuclei.
        holes: Share of the duct's area that is holes.
        mean: Mean amount of hematoxylin.
        deviation: Standard deviation of hematoxylin.
        cytoplasm: Amount of eosin.
        nucleus: Diameter of nuclei, um.
        chromatin: Dye in clumps of chromatin.
        blur: Sigma of a blur, px; below 0.25 none.
        cleft: Amount of the cleft between duct and stroma; 0 or less for none.
    """

    mixed: float
    slits: bool
    crowding: float
    holes: float
    mean: float
    deviation: float
    cytoplasm: float
    nucleus: float
    chromatin: float
    blur: float
    cleft: float


def choose_filling(kind: str, patient: Patient, rng: np.random.Generator) -> DuctFilling:
    """Choose what fills a duct.

    Most look-alikes have mixed nuclei around round holes, as higher grades have: nuclei alone do not identify them.

    Args:
        kind: "UDH", "ADH" or "unclear" (something between).
        patient: The patient, who decides the size of nuclei.
        rng: Random generator; advanced by the call.

    Returns:
        The filling.
    """
    # the order of the arguments is the order of the random draws
    udh = DuctFilling(
        mixed=float(rng.uniform(0.75, 1.0)),
        slits=True,
        crowding=float(rng.uniform(0.92, 1.08)),
        holes=float(rng.uniform(0.04, 0.19)),
        mean=float(rng.uniform(0.52, 0.72)),
        deviation=float(rng.uniform(0.28, 0.4)),
        cytoplasm=float(rng.uniform(0.42, 0.72)),
        nucleus=float(rng.uniform(6.7, 9.2)) * patient.nucleus_scale,
        chromatin=float(rng.uniform(0.05, 0.3)),
        blur=float(max(0.0, rng.uniform(-0.7, 1.4))),
        cleft=float(rng.uniform(-0.6, 1.0)),
    )
    if kind == "UDH":
        return udh
    if kind == "ADH":
        even = rng.uniform() > MIXED_LOOK_ALIKES
        return replace(udh, slits=False, mixed=float(rng.uniform(0.0, 0.25)) if even else udh.mixed)
    return replace(udh, mixed=float(rng.uniform(0.35, 0.65)), slits=bool(rng.uniform() < 0.5))


def draw_duct(canvas: StainCanvas, duct: Structure, patient: Patient, rng: np.random.Generator) -> None:
    """Draw a filled duct on the canvas, in place.

    Args:
        canvas: The canvas.
        duct: The duct.
        patient: The patient.
        rng: Random generator.
    """
    filling = choose_filling(duct.kind, patient, rng)
    frame = frame_around(duct.shape, 8)
    depth = depth_inside(duct.shape, frame)
    holes = (slit_holes if filling.slits else round_holes)(rng, depth, filling.holes)
    # opacity at the resolution of the slide
    inside = soft_mask(to_pixel_grid(depth))
    hole = soft_mask(to_pixel_grid(holes), 0.9)
    epithelium = inside * (1 - hole)
    # dyes: nuclei and cytoplasm, with some secretion in the holes
    nuclei = _draw_nuclei(filling, duct.shape, depth, holes=holes, rng=rng)
    hematoxylin = _match_statistics(nuclei, epithelium, filling)
    clouds = to_pixel_grid(smooth_noise(rng, depth.shape, 5))
    eosin = filling.cytoplasm * (1 + np.float32(0.1) * clouds) * epithelium
    secretion = np.float32(rng.uniform(0, 0.12))
    eosin += np.float32(0.06) + secretion * hole * to_pixel_grid(
        np.maximum(smooth_noise(rng, depth.shape, 20), 0)
    )
    cover = _with_cleft(inside, depth, filling, rng=rng)
    if filling.blur > 0.25:
        hematoxylin = ndimage.gaussian_filter(hematoxylin, filling.blur)
    paste(canvas, frame, cover, hematoxylin=hematoxylin, eosin=eosin)


def slit_holes(rng: np.random.Generator, depth: Field, share: float) -> Field:
    """Return slit-like holes (fenestrations), most of them near the rim of the duct.

    The holes follow the contour lines of a random field, so that they are narrow, bent, branched and pointed at their
    ends, and of unequal size.

    Args:
        rng: Random generator; advanced by the call.
        depth: (side, side) signed depth inside the duct at 1 um/px, um.
        share: Share of the duct's area that the holes take up.

    Returns:
        Signed depth inside the holes, um, shaped as `depth`; below 0 outside the holes.
    """
    shape = (depth.shape[0], depth.shape[1])
    deepest = float(depth.max())
    ring = np.abs(depth - np.float32(0.36 * deepest)) / np.float32(deepest)
    # narrow: near the zero contours of a field, divided by its slope
    scale = float(rng.uniform(34, 54))
    field = smooth_noise(rng, shape, scale) + np.float32(0.25) * smooth_noise(rng, shape, 0.42 * scale)
    slope = np.hypot(*np.gradient(field)) * np.float32(scale) + np.float32(0.35)
    # interrupted by another field, and kept to the ring near the rim
    gaps = np.maximum(smooth_noise(rng, shape, 34) + np.float32(0.1), 0)
    score = (
        np.abs(field) / slope
        + np.float32(0.33) * gaps
        + np.float32(1.6) * np.maximum(ring - np.float32(0.17), 0)
    )
    score += np.float32(0.03) * smooth_noise(rng, shape, 6)
    return _roughen(rng, _cut_holes(-score, depth, share))


def round_holes(rng: np.random.Generator, depth: Field, share: float) -> Field:
    """Return round, smooth, evenly spread holes, as if punched out (cribriform pattern).

    Args:
        rng: Random generator; advanced by the call.
        depth: (side, side) signed depth inside the duct at 1 um/px, um.
        share: Share of the duct's area that the holes take up.

    Returns:
        Signed depth inside the holes, um, shaped as `depth`; below 0 outside the holes.
    """
    area = float((depth > 0).sum()) * share
    inner = np.argwhere(depth > 16)
    if area < 60 or not len(inner):
        return np.full_like(depth, -9.0)
    circles = _pack_circles(rng, depth, inner, area=area)
    # slightly oval holes: the score is the depth inside the nearest ellipse
    axis = np.arange(depth.shape[0], dtype=np.float32)
    score = np.full_like(depth, -1e3)
    for y, x, radius in circles:
        turn = rng.uniform(0, np.pi)
        oval = float(np.exp(rng.normal(0, 0.09)))
        down = axis[:, None] - np.float32(y)
        right = axis[None, :] - np.float32(x)
        along = down * np.sin(turn) + right * np.cos(turn)
        across = down * np.cos(turn) - right * np.sin(turn)
        inside = np.float32(radius) - np.hypot(along * np.float32(oval), across / np.float32(oval))
        score = np.maximum(score, inside)
    score += np.float32(0.9) * smooth_noise(rng, (depth.shape[0], depth.shape[1]), 14)
    return _roughen(rng, _cut_holes(score, depth, share))


def _pack_circles(
    rng: np.random.Generator, depth: Field, inner: NDArray[np.intp], *, area: float
) -> list[tuple[float, float, float]]:
    """Return y, x and radius of circles that do not touch and fill `area`, in 600 tries."""
    median = float(np.clip(np.sqrt(area / np.pi / rng.uniform(6, 26)), 7.5, 22))
    circles: list[tuple[float, float, float]] = []
    for _ in range(600):
        y, x = inner[rng.integers(len(inner))]
        radius = median * float(np.exp(rng.normal(0, 0.18)))
        if depth[y, x] < radius + 8 or any(np.hypot(y - b, x - a) < radius + r + 7 for b, a, r in circles):
            continue
        circles.append((float(y), float(x), radius))
        area -= np.pi * radius**2
        if area <= 0:
            break
    return circles


def _cut_holes(score: Field, depth: Field, share: float) -> Field:
    """Cut holes of a share of the duct where the score is highest, but not in its rim of 6 um."""
    allowed = depth > 6.0
    wanted = min(int(share * int((depth > 0).sum())), int(allowed.sum()) - 1)
    if wanted <= 0:
        return np.full_like(depth, -9.0)
    limit = np.partition(score[allowed], -wanted)[-wanted]
    holes = _remove_specks((score > limit) & allowed)
    # smooth the holes, then restore their area
    smooth = ndimage.gaussian_filter(holes.astype(np.float32), 1.8)
    inside = smooth > max(float(np.partition(smooth.ravel(), -wanted)[-wanted]), 0.1)
    distance = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    result: Field = ndimage.gaussian_filter(-distance.astype(np.float32), 0.8)
    return result


def _roughen(rng: np.random.Generator, inside: Field) -> Field:
    """Return holes with the fine unevenness of cells, so that short pieces of rim look alike."""
    rough = np.float32(rng.uniform(0.6, 1.3)) * smooth_noise(rng, (inside.shape[0], inside.shape[1]), 4.5)
    return np.where(inside > -2.5, inside + np.minimum(rough, 2), inside)


def _remove_specks(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the holes that are at least 40 um2, about the area of a cell."""
    parts, count = ndimage.label(inside)
    kept = np.bincount(parts.ravel(), minlength=count + 1) >= 40
    kept[0] = False
    result: NDArray[np.bool_] = kept[parts]
    return result


def _draw_nuclei(
    filling: DuctFilling, shape: Blob, depth: Field, *, holes: Field, rng: np.random.Generator
) -> Field:
    """Return the hematoxylin of a duct's nuclei, at the resolution of the slide."""
    size = (depth.shape[0] * PX_PER_UM, depth.shape[1] * PX_PER_UM)
    field = np.zeros(size, dtype=np.float32)
    even, mixed = 1 - filling.mixed, filling.mixed
    style = NucleusStyle(
        diameter=filling.nucleus * (1.08 * even + mixed),
        spread=0.05 * even + 0.24 * mixed,
        elongation=1.06 * even + 1.5 * mixed,
        elongation_spread=0.03 * even + 0.3 * mixed,
        wobble=0.015 * even + 0.07 * mixed,
        amount_spread=0.05 * even + 0.22 * mixed,
        clumps=filling.chromatin,
    )
    stamps = draw_stamps(style, rng, 192)
    # inside the duct, off the rim and off the holes
    spacing = filling.nucleus * filling.crowding * (1.33 * even + 1.08 * mixed) * PX_PER_UM
    points = jittered_lattice(rng, size, spacing, jitter=0.06 * even + 0.33 * mixed)
    free = (sample_field(depth, points, PX_PER_UM) > 4.0) & (sample_field(holes, points, PX_PER_UM) < -2.4)
    points = points[free]
    # neighbors point the same way: nuclei stream
    swirl = smooth_noise(rng, (depth.shape[0], depth.shape[1]), 45) * np.float32(1.5)
    angle = sample_field(swirl, points, PX_PER_UM).astype(np.float64)
    chosen = stamps.choose_oriented(angle, rng, 0.35)
    place_nuclei(field, points, stamps, chosen=chosen)
    # flat myoepithelial cells along the rim
    flat = NucleusStyle(
        diameter=5.2 * filling.nucleus / 7.8,
        spread=0.12,
        elongation=3.2,
        elongation_spread=0.6,
        wobble=0.04,
        amount=1.0,
        amount_spread=0.1,
    )
    row = CellRow(inset=1.8, spacing=13.0, stamps=draw_stamps(flat, rng, 48), upright=False)
    place_row(field, shape, frame_around(shape, 8), row=row, rng=rng)
    # overlapping nuclei saturate
    return np.float32(1.5) * (1 - np.exp(-field / np.float32(1.5)))


def _match_statistics(nuclei: Field, epithelium: Field, filling: DuctFilling) -> Field:
    """Return nuclei and cytoplasm, brought to the mean and deviation of the filling."""
    whole = epithelium > 0.5
    if not whole.any():
        return nuclei * epithelium
    values = nuclei[whole]
    gain = filling.deviation / max(float(values.std()), 0.05)
    shifted = (nuclei - values.mean()) * np.float32(gain) + np.float32(filling.mean)
    matched: Field = np.maximum(shifted, np.float32(0.02)) * epithelium
    return matched


def _with_cleft(inside: Field, depth: Field, filling: DuctFilling, *, rng: np.random.Generator) -> Field:
    """Return the opacity of a duct: itself and the cleft where it shrank from the stroma."""
    if filling.cleft <= 0:
        return inside
    clouds = smooth_noise(rng, (depth.shape[0], depth.shape[1]), 60)
    width = np.clip(clouds + np.float32(filling.cleft - 0.6), 0, 1.2)
    return np.maximum(inside, soft_mask(to_pixel_grid(depth + np.float32(5) * width)))
