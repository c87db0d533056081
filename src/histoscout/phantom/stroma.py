"""What lies between the structures: collagen with its fibroblasts, fat, and bare glass."""

from dataclasses import dataclass

import numpy as np

from histoscout.phantom.canvas import UM, Canvas, fine
from histoscout.phantom.layout import Plan, at_um
from histoscout.phantom.noise import Field, cloud, contours, enlarged, foam
from histoscout.phantom.nuclei import Look, at, scattered, set_down, stamps
from histoscout.phantom.patient import Patient


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
    haematoxylin = land.collagen * (np.float32(0.05) + np.float32(0.05) * streaks) * (1 - cracks)
    _add_fat(eosin, haematoxylin, land.fat, rng)
    eosin += np.float32(0.06) + np.float32(0.012) * cloud(rng, size, 700)
    canvas = Canvas(fine(haematoxylin), fine(eosin))
    _add_cells(who, canvas, land, rng)
    return canvas


def _add_fat(eosin: Field, haematoxylin: Field, fat: Field, rng: np.random.Generator) -> None:
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
    haematoxylin += np.float32(0.06) * line


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
            canvas.haematoxylin,
            where,
            long.toward(np.arctan2(right, -down).astype(np.float64), rng, 0.15),
            long,
        )
    small = stamps(Look(6.0 * who.nucleus, 0.08, 1.08, 0.05, 0.03, 1.15, 0.08, 0.1, 0.15, 0.0), rng, 48)
    where = scattered(rng, canvas.shape, 75.0 * UM, 0.45)
    where = where[rng.uniform(0, 1, len(where)) < at(land.collagen, where, UM)]
    set_down(canvas.haematoxylin, where, small.any(len(where), rng), small)
