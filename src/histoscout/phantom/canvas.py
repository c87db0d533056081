"""The slide while it is being drawn: two amounts of dye at each pixel."""

from dataclasses import dataclass

import numpy as np

from histoscout.phantom.blob import Frame
from histoscout.phantom.noise import Field, Shape, enlarged, grain
from histoscout.phantom.patient import MPP

UM = round(1 / MPP)
"""Pixels to the um."""


@dataclass(frozen=True)
class Canvas:
    """Amounts of haematoxylin and eosin, (H, W) each at `MPP`; drawn on in place."""

    haematoxylin: Field
    eosin: Field

    @property
    def shape(self) -> Shape:
        """Height and width, px."""
        height, width = self.haematoxylin.shape
        return (height, width)


def fine(field: Field) -> Field:
    """Return a field of 1 um/px at the resolution of the slide."""
    return enlarged(field, (field.shape[0] * UM, field.shape[1] * UM))


def soft(depth: Field, width: float = 0.7) -> Field:
    """Return 1 inside (depth above 0), 0 outside, with an edge about `width` um wide."""
    cover: Field = np.clip(depth / np.float32(2 * width) + np.float32(0.5), 0, 1)
    return cover


def under(canvas: Canvas, where: Frame) -> Canvas | None:
    """Return the part of a canvas under a frame, to be drawn on; None beside the slide."""
    rows, columns, _ = _overlap(canvas, where)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    return Canvas(canvas.haematoxylin[rows, columns], canvas.eosin[rows, columns])


def part(drawn: Field, canvas: Canvas, where: Frame) -> Field:
    """Return the part of a piece, drawn for a frame, that lies on the canvas."""
    _, _, piece = _overlap(canvas, where)
    return drawn[piece]


def paste(canvas: Canvas, where: Frame, cover: Field, haematoxylin: Field, eosin: Field) -> None:
    """Put a drawn piece on the canvas: where `cover` is 1 it hides what was there. What sticks out is cut."""
    below = under(canvas, where)
    if below is None:
        return
    cover = part(cover, canvas, where)
    for whole, drawn in ((below.haematoxylin, haematoxylin), (below.eosin, eosin)):
        whole *= 1 - cover
        whole += part(drawn, canvas, where) * cover


def add_noise(canvas: Canvas, rng: np.random.Generator) -> None:
    """Add the noise of the camera and the grain of tissue, so that no area is perfectly flat."""
    noise = grain(rng, canvas.shape, 0.6)
    canvas.eosin[...] += noise * (np.float32(0.03) + np.float32(0.08) * canvas.eosin)


def _overlap(canvas: Canvas, where: Frame) -> tuple[slice, slice, tuple[slice, slice]]:
    top, left, side = where.top * UM, where.left * UM, where.side * UM
    rows = slice(max(top, 0), min(top + side, canvas.shape[0]))
    columns = slice(max(left, 0), min(left + side, canvas.shape[1]))
    return (
        rows,
        columns,
        (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)),
    )
