"""What lies between the structures: collagen with its fibroblasts, fat, and bare glass.

Vessels, and nests of lymphocytes.

Everything else that has cells: normal ducts, lobules, vessels and lymphocytes.
"""

from dataclasses import dataclass

import numpy as np

from histoscout.synthetic.cells import Look, Row, Stamps, at, scattered, set_down, set_in_row, stamps
from histoscout.synthetic.layout import Placed, Plan, at_um
from histoscout.synthetic.patient import Patient
from histoscout.synthetic.textures import (
    UM,
    Blob,
    Canvas,
    Field,
    blob,
    cloud,
    contours,
    depth,
    enlarged,
    fine,
    foam,
    frame,
    part,
    paste,
    soft,
    under,
)


@dataclass(frozen=True)
class Ground:
    """Fields at 1 um/px: shares of collagen and fat (0 to 1), and the height whose contours are fibres."""

    collagen: Field
    fat: Field
    height: Field


def ground(who: Patient, plan: Plan, rng: np.random.Generator) -> Ground:
    """Divide a slide into glass, fat and collagen; fibres run along the rims of structures."""
    size = plan.size
    around = at_um(plan.around, size)
    tissue = at_um(plan.tissue, size) + np.float32(0.03) * cloud(rng, size, 14)
    tissue = np.clip(tissue * np.float32(25) + np.float32(0.5), 0, 1)
    score = cloud(rng, size, 420) + np.float32(0.35) * cloud(rng, size, 110)
    score -= np.float32(4) * np.exp(-around / np.float32(30))
    limit = np.quantile(score[::8, ::8][tissue[::8, ::8] > 0.5], 1 - who.fat) if who.fat else np.inf
    fat = tissue * np.clip((score - np.float32(limit)) * np.float32(14), 0, 1)
    height = cloud(rng, size, 330) * np.float32(170) + cloud(rng, size, 90) * np.float32(26)
    height += cloud(rng, size, 30) * np.float32(3.0)
    near = np.exp(-around / np.float32(28))
    height = height * (1 - near) + np.float32(1.2) * around * near
    return Ground(tissue - fat, fat, height)


def drawn(who: Patient, plan: Plan, rng: np.random.Generator) -> Canvas:
    """Draw a slide without its structures."""
    size = plan.size
    land = ground(who, plan, rng)
    streaks = contours(rng, land.height, 5.0 * who.fibre)
    bundles = contours(rng, land.height + cloud(rng, size, 45) * np.float32(6), 26.0 * who.fibre)
    loose = np.clip(cloud(rng, size, 260) * np.float32(0.3) + np.float32(0.45), 0, 1)
    eosin = np.float32(0.42) + np.float32(0.5) * (streaks - np.float32(0.5)) + np.float32(0.32) * (1 - loose)
    eosin += np.float32(0.08) * cloud(rng, size, 9)
    cracks = np.clip((bundles + np.float32(0.28) * loose - np.float32(0.83)) * np.float32(16), 0, 1)
    eosin *= 1 - np.float32(0.93) * cracks
    eosin = np.maximum(eosin, np.float32(0.03)) * land.collagen
    hematoxylin = land.collagen * (np.float32(0.05) + np.float32(0.05) * streaks) * (1 - cracks)
    _add_fat(eosin, hematoxylin, land.fat, rng)
    eosin += np.float32(0.06) + np.float32(0.012) * cloud(rng, size, 700)
    canvas = Canvas(fine(hematoxylin), fine(eosin))
    _add_cells(who, canvas, land, rng)
    return canvas


def _add_fat(eosin: Field, hematoxylin: Field, fat: Field, rng: np.random.Generator) -> None:
    """Draw fat cells: large, empty, with thin pink walls."""
    if not fat.any():
        return
    half = (-(-eosin.shape[0] // 2), -(-eosin.shape[1] // 2))
    wall = enlarged(
        2 * foam(rng, half, 27.0) + np.float32(0.3) * cloud(rng, half, 5), (half[0] * 2, half[1] * 2)
    )
    wall = wall[: eosin.shape[0], : eosin.shape[1]]
    line = np.exp(-((wall / np.float32(1.25)) ** 2)) * fat
    eosin += np.float32(0.5) * line
    hematoxylin += np.float32(0.06) * line


def _add_cells(who: Patient, canvas: Canvas, land: Ground, rng: np.random.Generator) -> None:
    """Set down fibroblasts along the fibres, cells at the walls of fat, and stray lymphocytes."""
    long = stamps(Look(5.6 * who.nucleus, 0.16, 4.2, 1.1, 0.06, 0.85, 0.15, 0.15, 0.12, 0.0), rng, 192)
    for spacing, keep in ((24.0, 0.55), (52.0, 1.0)):
        where = scattered(rng, canvas.shape, spacing * UM, 0.4)
        where = where[rng.uniform(0, keep, len(where)) < at(land.collagen, where, UM) * keep]
        if spacing < 40:
            where = where[rng.uniform(0, 1, len(where)) < 0.5]
        index = np.clip((where / UM).astype(np.intp), 1, np.asarray(land.height.shape) - 2)
        row, column = index[:, 0], index[:, 1]
        down = land.height[row + 1, column] - land.height[row - 1, column]
        right = land.height[row, column + 1] - land.height[row, column - 1]
        set_down(
            canvas.hematoxylin,
            where,
            long.toward(np.arctan2(right, -down).astype(np.float64), rng, 0.15),
            long,
        )
    small = stamps(Look(6.0 * who.nucleus, 0.08, 1.08, 0.05, 0.03, 1.15, 0.08, 0.1, 0.15, 0.0), rng, 48)
    where = scattered(rng, canvas.shape, 75.0 * UM, 0.45)
    where = where[rng.uniform(0, 1, len(where)) < at(land.collagen, where, UM)]
    set_down(canvas.hematoxylin, where, small.any(len(where), rng), small)


def draw_vessel(canvas: Canvas, vessel: Placed, who: Patient, rng: np.random.Generator) -> None:
    """Draw a vessel: a thin wall, flat cells, empty or with some blood in it."""
    shape = vessel.shape
    where = frame(shape, 6)
    deep = depth(shape, where)
    size = (deep.shape[0], deep.shape[1])
    inside, lumen = soft(fine(deep)), soft(fine(deep - np.float32(2.2)), 0.8)
    hematoxylin = np.full((size[0] * UM, size[1] * UM), 0.08, dtype=np.float32)
    flat = stamps(Look(4.6 * who.nucleus, 0.12, 3.6, 0.6, 0.04, 0.95, 0.1), rng, 96)
    set_in_row(hematoxylin, shape, where, Row(1.6, 22.0, flat, standing=False), rng)
    blood = float(rng.uniform(-1.0, 1.0))
    red = fine(np.clip(cloud(rng, size, 18) + np.float32(blood), 0, 1)) if blood > 0 else np.float32(0)
    hematoxylin *= inside * (1 - lumen * np.float32(0.85))
    eosin = np.float32(0.6) * inside * (1 - lumen) + np.float32(0.06) + np.float32(1.1) * lumen * red
    paste(canvas, where, inside, hematoxylin, eosin)


def draw_lymphocytes(canvas: Canvas, nest: Placed, who: Patient, rng: np.random.Generator) -> None:
    """Draw a nest of lymphocytes: small, round, dark and close, thinning out at its rim."""
    where = frame(nest.shape, 20)
    deep = depth(nest.shape, where)
    piece = np.zeros((deep.shape[0] * UM, deep.shape[1] * UM), dtype=np.float32)
    small = stamps(Look(5.8 * who.nucleus, 0.08, 1.08, 0.05, 0.03, 0.9, 0.1, 0.08, 0.15, 0.0), rng, 96)
    points = scattered(rng, (piece.shape[0], piece.shape[1]), float(rng.uniform(6.3, 7.6)) * UM, 0.22)
    chance = np.clip(at(deep, points, UM) / np.float32(18) + np.float32(0.6), 0, 1)
    points = points[rng.uniform(0, 1, len(points)) < chance]
    set_down(piece, points, small.any(len(points), rng), small)
    below = under(canvas, where)
    if below is None:
        return
    cover = part(soft(fine(deep), 8), canvas, where)
    below.eosin[...] *= 1 - np.float32(0.4) * cover
    below.hematoxylin[...] *= 1 - cover
    below.hematoxylin[...] += part(np.minimum(piece, np.float32(1.5)), canvas, where)


@dataclass(frozen=True)
class Lining:
    """The two layers that line a tube: thickness (um), amounts of eosin in wall and lumen, nuclei of each
    layer.
    """

    wall: float
    eosin: float
    secretion: float
    inner: Stamps
    outer: Stamps


def lining(wall: float, who: Patient, rng: np.random.Generator) -> Lining:
    """Make the lining of a duct or of all acini of a lobule."""
    inner = Look(6.6 * who.nucleus, 0.1, 1.4, 0.12, 0.03, 0.85, 0.15)
    outer = Look(5.4 * who.nucleus, 0.12, 2.6, 0.4, 0.04, 0.95, 0.1)
    eosin, secretion = float(rng.uniform(0.45, 0.7)), float(rng.uniform(0, 0.25))
    return Lining(wall, eosin, secretion, stamps(inner, rng), stamps(outer, rng))


def draw_normal(canvas: Canvas, duct: Placed, who: Patient, rng: np.random.Generator) -> None:
    """Draw a normal duct: an open lumen, inner cells standing on the wall, flat outer cells round them."""
    _lined(canvas, duct.shape, lining(float(rng.uniform(13, 19)), who, rng), rng)


def draw_lobule(canvas: Canvas, lobule: Placed, who: Patient, rng: np.random.Generator) -> None:
    """Draw a lobule: many small acini in pale, loose stroma."""
    where = frame(lobule.shape, 6)
    deep = depth(lobule.shape, where)
    pale = soft(fine(deep), 6)
    shape = (deep.shape[0], deep.shape[1])
    eosin = fine(
        np.maximum(
            np.float32(0.3)
            + np.float32(0.1) * cloud(rng, shape, 6)
            + np.float32(0.07) * cloud(rng, shape, 25),
            0.06,
        )
    )
    hematoxylin = np.full_like(eosin, 0.06)
    cells = stamps(Look(6.0 * who.nucleus, 0.18, 1.9, 0.7, 0.06, 0.9, 0.15), rng)
    points = scattered(
        rng, (hematoxylin.shape[0], hematoxylin.shape[1]), float(rng.uniform(17, 26)) * UM, 0.4
    )
    set_down(hematoxylin, points, cells.any(len(points), rng), cells)
    paste(canvas, where, pale, hematoxylin, eosin)
    lines = lining(float(rng.uniform(10, 13)), who, rng)
    for acinus in _acini(lobule.shape, rng):
        _lined(canvas, acinus, lines, rng)


def _acini(lobule: Blob, rng: np.random.Generator) -> list[Blob]:
    size = float(rng.uniform(15, 24))
    side = 2 * lobule.reach
    points = scattered(rng, (int(side), int(side)), size * float(rng.uniform(2.35, 3.0)), 0.1)
    found = []
    for y, x in points:
        down, right = y - side / 2, x - side / 2
        index = int(np.mod(np.arctan2(down, right), 2 * np.pi) / (2 * np.pi) * len(lobule.radii)) % len(
            lobule.radii
        )
        radius = size * float(np.exp(rng.normal(0, 0.18)))
        if np.hypot(down, right) + radius < lobule.radii[index] - 3:
            found.append(blob(rng, lobule.y + down, lobule.x + right, radius, 0.07))
    return found


def _lined(canvas: Canvas, shape: Blob, lines: Lining, rng: np.random.Generator) -> None:
    """Draw a tube lined by two layers of cells."""
    where = frame(shape, 6)
    deep = depth(shape, where)
    size = (deep.shape[0], deep.shape[1])
    thick = lines.wall * (1 + np.float32(0.22) * cloud(rng, size, 22))
    inside, lumen = soft(fine(deep)), soft(fine(deep - thick), 1.0)
    hematoxylin = np.full((size[0] * UM, size[1] * UM), 0.12, dtype=np.float32)
    for inset, apart in ((0.52, 7.0), (0.75, 9.5))[: 2 if lines.wall > 15 else 1]:
        set_in_row(hematoxylin, shape, where, Row(lines.wall * inset, apart, lines.inner, standing=True), rng)
    set_in_row(hematoxylin, shape, where, Row(2.6, 11.0, lines.outer, standing=False), rng)
    hematoxylin *= inside * (1 - lumen)
    eosin = np.float32(lines.eosin) * inside * (1 - lumen)
    eosin += np.float32(0.03) + np.float32(lines.secretion) * lumen * fine(
        np.maximum(cloud(rng, size, 25), 0)
    )
    paste(canvas, where, inside, hematoxylin, eosin)
