"""Normal tissue of synthetic slides: stroma, fat, vessels, lymphocytes, ducts and lobules."""

from dataclasses import dataclass

import numpy as np

from histoscout.synthetic.canvas import (
    PX_PER_UM,
    Blob,
    Field,
    StainCanvas,
    cellular_noise,
    contour_streaks,
    crop_canvas,
    crop_to_canvas,
    depth_inside,
    frame_around,
    paste,
    random_blob,
    resize_field,
    smooth_noise,
    soft_mask,
    to_pixel_grid,
)
from histoscout.synthetic.cells import (
    CellRow,
    NucleusStamps,
    NucleusStyle,
    draw_stamps,
    jittered_lattice,
    place_nuclei,
    place_row,
    sample_field,
)
from histoscout.synthetic.layout import SlideLayout, Structure, upsample_to_um
from histoscout.synthetic.patient import Patient


@dataclass(frozen=True)
class StromaFields:
    """What the stroma is made of, at 1 um/px.

    Attributes:
        collagen: Share of collagen, 0 to 1.
        fat: Share of fat, 0 to 1.
        height: Field whose contour lines are the collagen fibers, um.
    """

    collagen: Field
    fat: Field
    height: Field


@dataclass(frozen=True, kw_only=True)
class Lining:
    """The two layers of cells that line a tube.

    Attributes:
        wall: Thickness, um.
        eosin: Eosin in the wall.
        secretion: Eosin in the lumen.
        inner: Nuclei of the inner (luminal) layer.
        outer: Nuclei of the outer (myoepithelial) layer.
    """

    wall: float
    eosin: float
    secretion: float
    inner: NucleusStamps
    outer: NucleusStamps


def draw_stroma(patient: Patient, layout: SlideLayout, rng: np.random.Generator) -> StainCanvas:
    """Draw a slide without its structures: glass, collagen with fibroblasts, and fat.

    Args:
        patient: The patient; they decide amounts and sizes.
        layout: Where tissue and structures are.
        rng: Random generator; advanced by the call.

    Returns:
        A canvas of the size of the slide.
    """
    size = layout.size
    stroma = _make_stroma_fields(patient, layout, rng)
    # collagen: fine fibers, split into bundles by cracks where it is loose
    streaks = contour_streaks(rng, stroma.height, 5.0 * patient.fiber_scale)
    rough_height = stroma.height + smooth_noise(rng, size, 45) * np.float32(6)
    bundles = contour_streaks(rng, rough_height, 26.0 * patient.fiber_scale)
    loose = np.clip(smooth_noise(rng, size, 260) * np.float32(0.3) + np.float32(0.45), 0, 1)
    eosin = np.float32(0.42) + np.float32(0.5) * (streaks - np.float32(0.5)) + np.float32(0.32) * (1 - loose)
    eosin += np.float32(0.08) * smooth_noise(rng, size, 9)
    cracks = np.clip((bundles + np.float32(0.28) * loose - np.float32(0.83)) * np.float32(16), 0, 1)
    eosin *= 1 - np.float32(0.93) * cracks
    eosin = np.maximum(eosin, np.float32(0.03)) * stroma.collagen
    hematoxylin = stroma.collagen * (np.float32(0.05) + np.float32(0.05) * streaks) * (1 - cracks)
    _add_fat(eosin, hematoxylin, stroma.fat, rng=rng)
    # a faint, uneven background on the glass
    eosin += np.float32(0.06) + np.float32(0.012) * smooth_noise(rng, size, 700)
    canvas = StainCanvas(to_pixel_grid(hematoxylin), to_pixel_grid(eosin))
    _add_stroma_cells(patient, canvas, stroma, rng=rng)
    return canvas


def draw_vessel(canvas: StainCanvas, vessel: Structure, patient: Patient, rng: np.random.Generator) -> None:
    """Draw a vessel in place: a thin wall, flat cells, empty or with some blood in it.

    Args:
        canvas: The canvas.
        vessel: The vessel.
        patient: The patient.
        rng: Random generator.
    """
    shape = vessel.shape
    frame = frame_around(shape, 6)
    depth = depth_inside(shape, frame)
    size = (depth.shape[0], depth.shape[1])
    inside = soft_mask(to_pixel_grid(depth))
    lumen = soft_mask(to_pixel_grid(depth - np.float32(2.2)), 0.8)
    # the wall and its flat cells
    hematoxylin = np.full((size[0] * PX_PER_UM, size[1] * PX_PER_UM), 0.08, dtype=np.float32)
    endothelium = NucleusStyle(
        diameter=4.6 * patient.nucleus_scale,
        spread=0.12,
        elongation=3.6,
        elongation_spread=0.6,
        wobble=0.04,
        amount=0.95,
        amount_spread=0.1,
    )
    row = CellRow(inset=1.6, spacing=22.0, stamps=draw_stamps(endothelium, rng, 96), upright=False)
    place_row(hematoxylin, shape, frame, row=row, rng=rng)
    # half of the vessels hold blood
    blood = float(rng.uniform(-1.0, 1.0))
    red = (
        to_pixel_grid(np.clip(smooth_noise(rng, size, 18) + np.float32(blood), 0, 1))
        if blood > 0
        else np.float32(0)
    )
    hematoxylin *= inside * (1 - lumen * np.float32(0.85))
    eosin = np.float32(0.6) * inside * (1 - lumen) + np.float32(0.06) + np.float32(1.1) * lumen * red
    paste(canvas, frame, inside, hematoxylin=hematoxylin, eosin=eosin)


def draw_lymphocytes(
    canvas: StainCanvas, nest: Structure, patient: Patient, rng: np.random.Generator
) -> None:
    """Draw a nest of lymphocytes in place: small, round, dark and close, sparse at its rim.

    Args:
        canvas: The canvas.
        nest: The nest.
        patient: The patient.
        rng: Random generator.
    """
    frame = frame_around(nest.shape, 20)
    depth = depth_inside(nest.shape, frame)
    field = np.zeros((depth.shape[0] * PX_PER_UM, depth.shape[1] * PX_PER_UM), dtype=np.float32)
    style = NucleusStyle(
        diameter=5.8 * patient.nucleus_scale,
        spread=0.08,
        elongation=1.08,
        elongation_spread=0.05,
        wobble=0.03,
        amount=0.9,
        amount_spread=0.1,
        rim=0.08,
        clumps=0.15,
        nucleolus=0.0,
    )
    stamps = draw_stamps(style, rng, 96)
    spacing = float(rng.uniform(6.3, 7.6)) * PX_PER_UM
    points = jittered_lattice(rng, (field.shape[0], field.shape[1]), spacing, jitter=0.22)
    chance = np.clip(sample_field(depth, points, PX_PER_UM) / np.float32(18) + np.float32(0.6), 0, 1)
    points = points[rng.uniform(0, 1, len(points)) < chance]
    place_nuclei(field, points, stamps, chosen=stamps.choose_random(len(points), rng))
    # the nest lets the stroma shine through, so that it is blended rather than pasted
    below = crop_canvas(canvas, frame)
    if below is None:
        return
    cover = crop_to_canvas(soft_mask(to_pixel_grid(depth), 8), canvas, frame)
    below.eosin[...] *= 1 - np.float32(0.4) * cover
    below.hematoxylin[...] *= 1 - cover
    below.hematoxylin[...] += crop_to_canvas(np.minimum(field, np.float32(1.5)), canvas, frame)


def draw_normal(canvas: StainCanvas, duct: Structure, patient: Patient, rng: np.random.Generator) -> None:
    """Draw a normal duct in place: an open lumen, upright inner cells, flat outer cells.

    Args:
        canvas: The canvas.
        duct: The duct.
        patient: The patient.
        rng: Random generator.
    """
    _draw_tube(canvas, duct.shape, _make_lining(float(rng.uniform(13, 19)), patient, rng), rng=rng)


def draw_lobule(canvas: StainCanvas, lobule: Structure, patient: Patient, rng: np.random.Generator) -> None:
    """Draw a lobule in place: many small acini in pale, loose stroma.

    Args:
        canvas: The canvas.
        lobule: The lobule.
        patient: The patient.
        rng: Random generator.
    """
    frame = frame_around(lobule.shape, 6)
    depth = depth_inside(lobule.shape, frame)
    shape = (depth.shape[0], depth.shape[1])
    # pale stroma with loose cells
    fibers = np.float32(0.3) + np.float32(0.1) * smooth_noise(rng, shape, 6)
    fibers = fibers + np.float32(0.07) * smooth_noise(rng, shape, 25)
    eosin = to_pixel_grid(np.maximum(fibers, 0.06))
    hematoxylin = np.full_like(eosin, 0.06)
    style = NucleusStyle(
        diameter=6.0 * patient.nucleus_scale,
        spread=0.18,
        elongation=1.9,
        elongation_spread=0.7,
        wobble=0.06,
        amount=0.9,
        amount_spread=0.15,
    )
    stamps = draw_stamps(style, rng)
    spacing = float(rng.uniform(17, 26)) * PX_PER_UM
    points = jittered_lattice(rng, (hematoxylin.shape[0], hematoxylin.shape[1]), spacing, jitter=0.4)
    place_nuclei(hematoxylin, points, stamps, chosen=stamps.choose_random(len(points), rng))
    paste(canvas, frame, soft_mask(to_pixel_grid(depth), 6), hematoxylin=hematoxylin, eosin=eosin)
    # the acini, all with one lining
    lining = _make_lining(float(rng.uniform(10, 13)), patient, rng)
    for acinus in _place_acini(lobule.shape, rng):
        _draw_tube(canvas, acinus, lining, rng=rng)


def _make_stroma_fields(patient: Patient, layout: SlideLayout, rng: np.random.Generator) -> StromaFields:
    """Divide a slide into glass, fat and collagen; fibers run along the rims of structures."""
    size = layout.size
    clearance = upsample_to_um(layout.clearance, size)
    tissue = upsample_to_um(layout.tissue, size) + np.float32(0.03) * smooth_noise(rng, size, 14)
    tissue = np.clip(tissue * np.float32(25) + np.float32(0.5), 0, 1)
    # fat: the patient's share of the tissue, away from structures
    score = smooth_noise(rng, size, 420) + np.float32(0.35) * smooth_noise(rng, size, 110)
    score -= np.float32(4) * np.exp(-clearance / np.float32(30))
    limit = (
        np.quantile(score[::8, ::8][tissue[::8, ::8] > 0.5], 1 - patient.fat_share)
        if patient.fat_share
        else np.inf
    )
    fat = tissue * np.clip((score - np.float32(limit)) * np.float32(14), 0, 1)
    # fibers: random far from structures, parallel to their outlines near them
    height = smooth_noise(rng, size, 330) * np.float32(170) + smooth_noise(rng, size, 90) * np.float32(26)
    height += smooth_noise(rng, size, 30) * np.float32(3.0)
    near = np.exp(-clearance / np.float32(28))
    height = height * (1 - near) + np.float32(1.2) * clearance * near
    return StromaFields(tissue - fat, fat, height)


def _add_fat(eosin: Field, hematoxylin: Field, fat: Field, *, rng: np.random.Generator) -> None:
    """Draw fat cells in place: large, empty, with thin pink walls."""
    if not fat.any():
        return
    # at half the resolution, which is enough for cells of this size
    half = (-(-eosin.shape[0] // 2), -(-eosin.shape[1] // 2))
    foam = 2 * cellular_noise(rng, half, 27.0) + np.float32(0.3) * smooth_noise(rng, half, 5)
    to_wall = resize_field(foam, (half[0] * 2, half[1] * 2))[: eosin.shape[0], : eosin.shape[1]]
    wall = np.exp(-((to_wall / np.float32(1.25)) ** 2)) * fat
    eosin += np.float32(0.5) * wall
    hematoxylin += np.float32(0.06) * wall


def _add_stroma_cells(
    patient: Patient, canvas: StainCanvas, stroma: StromaFields, *, rng: np.random.Generator
) -> None:
    """Place fibroblasts along the fibers and stray lymphocytes, in place."""
    fibroblast = NucleusStyle(
        diameter=5.6 * patient.nucleus_scale,
        spread=0.16,
        elongation=4.2,
        elongation_spread=1.1,
        wobble=0.06,
        amount=0.85,
        amount_spread=0.15,
        rim=0.15,
        clumps=0.12,
        nucleolus=0.0,
    )
    stamps = draw_stamps(fibroblast, rng, 192)
    # a dense lattice that is thinned out by collagen, and a wide one
    for spacing, keep in ((24.0, 0.55), (52.0, 1.0)):
        points = jittered_lattice(rng, canvas.shape, spacing * PX_PER_UM, jitter=0.4)
        collagen = sample_field(stroma.collagen, points, PX_PER_UM)
        points = points[rng.uniform(0, keep, len(points)) < collagen * keep]
        if spacing < 40:
            points = points[rng.uniform(0, 1, len(points)) < 0.5]
        # nuclei are parallel to the contour lines of the height
        index = np.clip((points / PX_PER_UM).astype(np.intp), 1, np.asarray(stroma.height.shape) - 2)
        row, column = index[:, 0], index[:, 1]
        down = stroma.height[row + 1, column] - stroma.height[row - 1, column]
        right = stroma.height[row, column + 1] - stroma.height[row, column - 1]
        chosen = stamps.choose_oriented(np.arctan2(right, -down).astype(np.float64), rng, 0.15)
        place_nuclei(canvas.hematoxylin, points, stamps, chosen=chosen)
    lymphocyte = NucleusStyle(
        diameter=6.0 * patient.nucleus_scale,
        spread=0.08,
        elongation=1.08,
        elongation_spread=0.05,
        wobble=0.03,
        amount=1.15,
        amount_spread=0.08,
        rim=0.1,
        clumps=0.15,
        nucleolus=0.0,
    )
    stamps = draw_stamps(lymphocyte, rng, 48)
    points = jittered_lattice(rng, canvas.shape, 75.0 * PX_PER_UM, jitter=0.45)
    collagen = sample_field(stroma.collagen, points, PX_PER_UM)
    points = points[rng.uniform(0, 1, len(points)) < collagen]
    place_nuclei(canvas.hematoxylin, points, stamps, chosen=stamps.choose_random(len(points), rng))


def _make_lining(wall: float, patient: Patient, rng: np.random.Generator) -> Lining:
    """Make the lining of a duct or of all acini of a lobule; `wall` is its thickness, um."""
    inner = NucleusStyle(
        diameter=6.6 * patient.nucleus_scale,
        spread=0.1,
        elongation=1.4,
        elongation_spread=0.12,
        wobble=0.03,
        amount=0.85,
        amount_spread=0.15,
    )
    outer = NucleusStyle(
        diameter=5.4 * patient.nucleus_scale,
        spread=0.12,
        elongation=2.6,
        elongation_spread=0.4,
        wobble=0.04,
        amount=0.95,
        amount_spread=0.1,
    )
    # the order of the arguments is the order of the random draws
    return Lining(
        wall=wall,
        eosin=float(rng.uniform(0.45, 0.7)),
        secretion=float(rng.uniform(0, 0.25)),
        inner=draw_stamps(inner, rng),
        outer=draw_stamps(outer, rng),
    )


def _place_acini(lobule: Blob, rng: np.random.Generator) -> list[Blob]:
    """Return small round shapes on a lattice, those that are wholly inside the lobule."""
    size = float(rng.uniform(15, 24))
    side = 2 * lobule.reach
    spacing = size * float(rng.uniform(2.35, 3.0))
    acini = []
    for y, x in jittered_lattice(rng, (int(side), int(side)), spacing, jitter=0.1):
        down, right = y - side / 2, x - side / 2
        turn = np.mod(np.arctan2(down, right), 2 * np.pi) / (2 * np.pi)
        index = int(turn * len(lobule.radii)) % len(lobule.radii)
        radius = size * float(np.exp(rng.normal(0, 0.18)))
        if np.hypot(down, right) + radius < lobule.radii[index] - 3:
            acini.append(random_blob(rng, lobule.y + down, lobule.x + right, radius=radius, bumps=0.07))
    return acini


def _draw_tube(canvas: StainCanvas, shape: Blob, lining: Lining, *, rng: np.random.Generator) -> None:
    """Draw a tube lined by two layers of cells, in place."""
    frame = frame_around(shape, 6)
    depth = depth_inside(shape, frame)
    size = (depth.shape[0], depth.shape[1])
    thickness = lining.wall * (1 + np.float32(0.22) * smooth_noise(rng, size, 22))
    inside = soft_mask(to_pixel_grid(depth))
    lumen = soft_mask(to_pixel_grid(depth - thickness), 1.0)
    # nuclei: one or two rows of inner cells, one row of outer cells
    hematoxylin = np.full((size[0] * PX_PER_UM, size[1] * PX_PER_UM), 0.12, dtype=np.float32)
    for inset, spacing in ((0.52, 7.0), (0.75, 9.5))[: 2 if lining.wall > 15 else 1]:
        row = CellRow(inset=lining.wall * inset, spacing=spacing, stamps=lining.inner, upright=True)
        place_row(hematoxylin, shape, frame, row=row, rng=rng)
    row = CellRow(inset=2.6, spacing=11.0, stamps=lining.outer, upright=False)
    place_row(hematoxylin, shape, frame, row=row, rng=rng)
    # cytoplasm of the wall, secretion in the lumen
    hematoxylin *= inside * (1 - lumen)
    eosin = np.float32(lining.eosin) * inside * (1 - lumen)
    secretion = to_pixel_grid(np.maximum(smooth_noise(rng, size, 25), 0))
    eosin += np.float32(0.03) + np.float32(lining.secretion) * lumen * secretion
    paste(canvas, frame, inside, hematoxylin=hematoxylin, eosin=eosin)
