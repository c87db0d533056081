"""Nuclei: small stamps drawn once a structure, set down at thousands of places.

Rows of cells along an outline: what lines a tube.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.synthetic.patient import MPP
from histoscout.synthetic.textures import UM, Blob, Field, Frame

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """How the nuclei of a structure look.

    `diameter` in um (geometric mean of the two axes), `spread` its relative deviation; `elongation` is the
    ratio of the axes and `elongation_spread` its deviation; `wobble` the unevenness of the outline; `rim`,
    `clumps` and `nucleolus` the amounts of dye in membrane, chromatin clumps and nucleolus over a body of
    `amount` +- `amount_spread`.
    """

    diameter: float
    spread: float = 0.06
    elongation: float = 1.1
    elongation_spread: float = 0.05
    wobble: float = 0.03
    amount: float = 0.8
    amount_spread: float = 0.08
    rim: float = 0.2
    clumps: float = 0.12
    nucleolus: float = 0.1


@dataclass(frozen=True)
class Stamps:
    """A set of drawn nuclei, (N, S, S), turned evenly from 0 to 180 degrees in the order they stand."""

    images: Field

    def toward(self, angle: Points, rng: np.random.Generator, stray: float = 0.1) -> NDArray[np.intp]:
        """Return for each angle (radians, y down) a stamp that points that way, give or take `stray`."""
        turned = np.mod(angle + rng.normal(0, stray, angle.shape), np.pi)
        return np.minimum((turned / np.pi * len(self.images)).astype(np.intp), len(self.images) - 1)

    def any(self, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Return `count` stamps at random."""
        return rng.integers(0, len(self.images), count)


def stamps(look: Look, rng: np.random.Generator, count: int = 96) -> Stamps:
    """Draw a set of nuclei of one look, with smooth edges and chromatin texture."""
    along, across, scale = _ellipses(look, rng, count)
    radius = np.sqrt(along**2 + across**2)
    if look.wobble > 0:
        radius *= _wobble(look, rng, along, across)
    deep = (1 - radius) * scale
    inside = np.clip(deep * np.float32(0.6) + np.float32(0.5), 0, 1)
    amount = look.rim * np.exp(-((deep / np.float32(1.3)) ** 2))
    amount += (
        look.clumps
        * 3.5
        * ndimage.gaussian_filter(rng.standard_normal(radius.shape, dtype=np.float32), (0, 1.1, 1.1))
    )
    if look.nucleolus > 0:
        y, x = rng.normal(0, 0.25, (2, count, 1, 1)).astype(np.float32)
        amount += look.nucleolus * np.exp(
            -((along - x) ** 2 + (across - y) ** 2) * scale**2 / np.float32(2.2)
        )
    amount += look.amount * np.exp(rng.normal(0, look.amount_spread, (count, 1, 1))).astype(np.float32)
    return Stamps(inside * np.maximum(amount, np.float32(0.05)))


def _ellipses(look: Look, rng: np.random.Generator, count: int) -> tuple[Field, Field, Field]:
    """Return each pixel's place along and across each nucleus, in half axes, and their mean in px."""
    size = look.diameter * np.exp(rng.normal(0, look.spread, count)).clip(0.55, 1.75)
    ratio = np.maximum(1.0, look.elongation + rng.normal(0, look.elongation_spread, count))
    long, short = (size * np.sqrt(ratio) / 2 / MPP, size / np.sqrt(ratio) / 2 / MPP)
    half = int(np.ceil(long.max() * 1.15)) + 2
    axis = np.arange(-half, half + 1)
    off = rng.uniform(-0.5, 0.5, (2, count))
    y, x = (axis[None, :] - off[0][:, None])[:, :, None], (axis[None, :] - off[1][:, None])[:, None, :]
    angle = ((np.arange(count) + 0.5) / count * np.pi)[:, None, None]
    cosine, sine = np.cos(angle), np.sin(angle)
    along = (x * cosine + y * sine) / long[:, None, None]
    across = (y * cosine - x * sine) / short[:, None, None]
    scale = np.sqrt(long * short)[:, None, None]
    return along.astype(np.float32), across.astype(np.float32), scale.astype(np.float32)


def _wobble(look: Look, rng: np.random.Generator, along: Field, across: Field) -> Field:
    """Return how uneven outlines differ from ellipses: waves of two and three round each nucleus."""
    square = np.maximum(along**2 + across**2, np.float32(1e-4))
    two = (along**2 - across**2) / square
    three = along * (along**2 - 3 * across**2) / square**1.5
    size = rng.normal(0, look.wobble, (2, along.shape[0], 1, 1)).astype(np.float32)
    factor: Field = 1 + size[0] * two + np.float32(0.8) * size[1] * three
    return factor


def set_down(canvas: Field, where: Points, which: NDArray[np.intp], library: Stamps) -> None:
    """Add nuclei to a canvas in place, centred `where` (N, 2; y, x in px); what sticks out is cut."""
    images = library.images
    side = images.shape[1]
    corner = np.rint(where).astype(np.intp) - side // 2
    inside = ((corner >= 0) & (corner + side <= np.asarray(canvas.shape))).all(axis=1)
    for (top, left), index in zip(corner[inside].tolist(), which[inside].tolist(), strict=True):
        canvas[top : top + side, left : left + side] += images[index]
    for (top, left), index in zip(corner[~inside].tolist(), which[~inside].tolist(), strict=True):
        rows = slice(max(top, 0), max(min(top + side, canvas.shape[0]), 0))
        columns = slice(max(left, 0), max(min(left + side, canvas.shape[1]), 0))
        if rows.start < rows.stop and columns.start < columns.stop:
            canvas[rows, columns] += images[index][
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]


def scattered(rng: np.random.Generator, shape: tuple[int, int], spacing: float, jitter: float) -> Points:
    """Return points (N, 2; y, x) on a hexagonal lattice turned at random, about `spacing` apart.

    `jitter` is the deviation of each point from its place, in spacings: 0.08 looks even and well spaced,
    above 0.35 points crowd and overlap. The number of points to an area does not depend on the jitter.
    """
    reach = float(np.hypot(*shape)) / 2 + 2 * spacing
    step = np.arange(-reach, reach, spacing)
    rows = np.arange(-reach, reach, spacing * np.sqrt(0.75))
    x = step[None, :] + (np.arange(len(rows)) % 2)[:, None] * spacing / 2
    y = np.repeat(rows[:, None], len(step), axis=1)
    points = np.stack([y.ravel(), x.ravel()], axis=1) + rng.uniform(0, spacing, 2)
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = points @ turn + np.asarray(shape) / 2 + rng.normal(0, jitter * spacing, points.shape)
    kept: Points = points[((points >= 0) & (points < np.asarray(shape))).all(axis=1)]
    return kept


def at(field: NDArray[np.float32], where: Points, step: float = 1.0) -> NDArray[np.float32]:
    """Return the values of a field under some points; the field has one value every `step` pixels."""
    index = np.minimum((where / step).astype(np.intp), np.asarray(field.shape) - 1)
    values: NDArray[np.float32] = field[index[:, 0], index[:, 1]]
    return values


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
