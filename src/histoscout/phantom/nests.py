"""Vessels, and nests of lymphocytes."""

import numpy as np

from histoscout.phantom.blob import depth, frame
from histoscout.phantom.canvas import UM, Canvas, fine, part, paste, soft, under
from histoscout.phantom.layout import Placed
from histoscout.phantom.noise import cloud
from histoscout.phantom.nuclei import Look, at, scattered, set_down, stamps
from histoscout.phantom.patient import Patient
from histoscout.phantom.rows import Row, set_in_row


def draw_vessel(canvas: Canvas, vessel: Placed, who: Patient, rng: np.random.Generator) -> None:
    """Draw a vessel: a thin wall, flat cells, empty or with some blood in it."""
    shape = vessel.shape
    where = frame(shape, 6)
    deep = depth(shape, where)
    size = (deep.shape[0], deep.shape[1])
    inside, lumen = soft(fine(deep)), soft(fine(deep - np.float32(2.2)), 0.8)
    haematoxylin = np.full((size[0] * UM, size[1] * UM), 0.08, dtype=np.float32)
    flat = stamps(Look(4.6 * who.nucleus, 0.12, 3.6, 0.6, 0.04, 0.95, 0.1), rng, 96)
    set_in_row(haematoxylin, shape, where, Row(1.6, 22.0, flat, standing=False), rng)
    blood = float(rng.uniform(-1.0, 1.0))
    red = fine(np.clip(cloud(rng, size, 18) + np.float32(blood), 0, 1)) if blood > 0 else np.float32(0)
    haematoxylin *= inside * (1 - lumen * np.float32(0.85))
    eosin = np.float32(0.6) * inside * (1 - lumen) + np.float32(0.06) + np.float32(1.1) * lumen * red
    paste(canvas, where, inside, haematoxylin, eosin)


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
    below.haematoxylin[...] *= 1 - cover
    below.haematoxylin[...] += part(np.minimum(piece, np.float32(1.5)), canvas, where)
