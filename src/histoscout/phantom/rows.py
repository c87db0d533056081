"""Rows of cells along an outline: what lines a tube."""

from dataclasses import dataclass

import numpy as np

from histoscout.phantom.blob import Blob, Frame
from histoscout.phantom.canvas import UM
from histoscout.phantom.noise import Field
from histoscout.phantom.nuclei import Stamps, set_down


@dataclass(frozen=True)
class Row:
    """A row of cells `inset` um inside an outline, `apart` um apart, standing on it or lying along it."""

    inset: float
    apart: float
    cells: Stamps
    standing: bool


def set_in_row(piece: Field, shape: Blob, where: Frame, row: Row, rng: np.random.Generator) -> None:
    """Set down a row of cells on a piece that shows a frame of the slide."""
    radii = shape.radii - row.inset
    count = max(3, int(2 * np.pi * max(float(radii.mean()), 2.0) / row.apart))
    angle = (np.arange(count) + rng.normal(0, 0.16, count)) * 2 * np.pi / count
    index = np.mod((angle / (2 * np.pi) * len(radii)).astype(np.intp), len(radii))
    radius = np.maximum(radii[index] + rng.normal(0, 0.7, count), 0.5)
    y = (shape.y - where.top + radius * np.sin(angle)) * UM
    x = (shape.x - where.left + radius * np.cos(angle)) * UM
    slope = np.gradient(np.concatenate([radii[-1:], radii, radii[:1]]))[1:-1] * len(radii) / (2 * np.pi)
    normal = angle - np.arctan2(slope[index], np.maximum(radii[index], 1.0))
    which = row.cells.toward(normal + (0 if row.standing else np.pi / 2), rng, 0.15)
    set_down(piece, np.stack([y, x], axis=1), which, row.cells)
