"""Everything else that has cells: normal ducts, lobules, vessels and lymphocytes."""

from dataclasses import dataclass

import numpy as np

from histoscout.phantom.blob import Blob, blob, depth, frame
from histoscout.phantom.canvas import UM, Canvas, fine, paste, soft
from histoscout.phantom.layout import Placed
from histoscout.phantom.noise import cloud
from histoscout.phantom.nuclei import Look, Stamps, scattered, set_down, stamps
from histoscout.phantom.patient import Patient
from histoscout.phantom.rows import Row, set_in_row


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
    haematoxylin = np.full_like(eosin, 0.06)
    cells = stamps(Look(6.0 * who.nucleus, 0.18, 1.9, 0.7, 0.06, 0.9, 0.15), rng)
    points = scattered(
        rng, (haematoxylin.shape[0], haematoxylin.shape[1]), float(rng.uniform(17, 26)) * UM, 0.4
    )
    set_down(haematoxylin, points, cells.any(len(points), rng), cells)
    paste(canvas, where, pale, haematoxylin, eosin)
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
    haematoxylin = np.full((size[0] * UM, size[1] * UM), 0.12, dtype=np.float32)
    for inset, apart in ((0.52, 7.0), (0.75, 9.5))[: 2 if lines.wall > 15 else 1]:
        set_in_row(
            haematoxylin, shape, where, Row(lines.wall * inset, apart, lines.inner, standing=True), rng
        )
    set_in_row(haematoxylin, shape, where, Row(2.6, 11.0, lines.outer, standing=False), rng)
    haematoxylin *= inside * (1 - lumen)
    eosin = np.float32(lines.eosin) * inside * (1 - lumen)
    eosin += np.float32(0.03) + np.float32(lines.secretion) * lumen * fine(
        np.maximum(cloud(rng, size, 25), 0)
    )
    paste(canvas, where, inside, haematoxylin, eosin)
