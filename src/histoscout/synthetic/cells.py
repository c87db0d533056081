"""Nuclei of synthetic cells: stamps, drawn once per structure and placed thousands of times.

Nuclei are placed at points of a jittered lattice (`jittered_lattice`, `place_nuclei`) or in a row along an outline
(`place_row`), as the cells that line a tube.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.synthetic.canvas import PX_PER_UM, Blob, Field, SquareFrame
from histoscout.synthetic.patient import MPP

Points = NDArray[np.float64]
"""(N, 2) positions, y and x."""


@dataclass(frozen=True, kw_only=True)
class NucleusStyle:
    """How the nuclei of a structure look. Amounts of dye are 1 for a typical nucleus.

    Attributes:
        diameter: Geometric mean of the two axes, um.
        spread: Relative deviation of the diameter.
        elongation: Ratio of the axes.
        elongation_spread: Deviation of `elongation`.
        wobble: Unevenness of the outline, relative to the radius.
        amount: Dye in the body of the nucleus.
        amount_spread: Relative deviation of `amount`.
        rim: Additional dye in the membrane.
        clumps: Additional dye in clumps of chromatin.
        nucleolus: Additional dye in the nucleolus.
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
class NucleusStamps:
    """A set of drawn nuclei.

    Attributes:
        images: (N, S, S) amounts of dye; rotated evenly from 0 to 180 degrees in their order.
    """

    images: Field

    def choose_oriented(
        self, angle: Points, rng: np.random.Generator, deviation: float = 0.1
    ) -> NDArray[np.intp]:
        """Choose a stamp for each direction.

        Args:
            angle: (N,) directions in radians, y down.
            rng: Random generator; advanced by the call.
            deviation: Standard deviation of the nuclei from their directions, radians.

        Returns:
            (N,) indices into `images`.
        """
        turned = np.mod(angle + rng.normal(0, deviation, angle.shape), np.pi)
        return np.minimum((turned / np.pi * len(self.images)).astype(np.intp), len(self.images) - 1)

    def choose_random(self, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Choose `count` stamps at random."""
        return rng.integers(0, len(self.images), count)


def draw_stamps(style: NucleusStyle, rng: np.random.Generator, count: int = 96) -> NucleusStamps:
    """Draw a set of nuclei of one style, with smooth edges and chromatin texture.

    Args:
        style: How the nuclei look.
        rng: Random generator; advanced by the call.
        count: Number of stamps.

    Returns:
        The stamps at `MPP`.
    """
    # shape: an ellipse with an uneven outline, antialiased
    along, across, scale = _ellipse_coordinates(style, rng, count)
    radius = np.sqrt(along**2 + across**2)
    if style.wobble > 0:
        radius *= _outline_wobble(style, rng, along, across=across)
    depth = (1 - radius) * scale
    inside = np.clip(depth * np.float32(0.6) + np.float32(0.5), 0, 1)
    # dye: membrane, chromatin, nucleolus and body
    amount = style.rim * np.exp(-((depth / np.float32(1.3)) ** 2))
    chromatin = rng.standard_normal(radius.shape, dtype=np.float32)
    amount += style.clumps * 3.5 * ndimage.gaussian_filter(chromatin, (0, 1.1, 1.1))
    if style.nucleolus > 0:
        y, x = rng.normal(0, 0.25, (2, count, 1, 1)).astype(np.float32)
        squared = ((along - x) ** 2 + (across - y) ** 2) * scale**2
        amount += style.nucleolus * np.exp(-squared / np.float32(2.2))
    amount += style.amount * np.exp(rng.normal(0, style.amount_spread, (count, 1, 1))).astype(np.float32)
    return NucleusStamps(inside * np.maximum(amount, np.float32(0.05)))


def place_nuclei(field: Field, points: Points, stamps: NucleusStamps, *, chosen: NDArray[np.intp]) -> None:
    """Add nuclei to a field in place; parts outside the field are cut off.

    Args:
        field: (H, W) amounts of hematoxylin.
        points: (N, 2) centers of the nuclei, y and x, px.
        stamps: The nuclei to place.
        chosen: (N,) which stamp is placed at each point.
    """
    images = stamps.images
    side = images.shape[1]
    corner = np.rint(points).astype(np.intp) - side // 2
    # most nuclei are wholly inside, and need no clipping
    inside = ((corner >= 0) & (corner + side <= np.asarray(field.shape))).all(axis=1)
    for (top, left), index in zip(corner[inside].tolist(), chosen[inside].tolist(), strict=True):
        field[top : top + side, left : left + side] += images[index]
    for (top, left), index in zip(corner[~inside].tolist(), chosen[~inside].tolist(), strict=True):
        rows = slice(max(top, 0), max(min(top + side, field.shape[0]), 0))
        columns = slice(max(left, 0), max(min(left + side, field.shape[1]), 0))
        if rows.start < rows.stop and columns.start < columns.stop:
            field[rows, columns] += images[index][
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]


def jittered_lattice(
    rng: np.random.Generator, shape: tuple[int, int], spacing: float, *, jitter: float
) -> Points:
    """Return the points of a hexagonal lattice, rotated at random and jittered.

    Args:
        rng: Random generator; advanced by the call.
        shape: Height and width of the area, px.
        spacing: Distance between neighbors, px.
        jitter: Standard deviation of each point from its place, in spacings: 0.08 looks even and well spaced, above
            0.35 points crowd and overlap. The number of points does not depend on it.

    Returns:
        (N, 2) points inside the area, y and x, px.
    """
    # a lattice large enough for any rotation
    reach = float(np.hypot(*shape)) / 2 + 2 * spacing
    step = np.arange(-reach, reach, spacing)
    rows = np.arange(-reach, reach, spacing * np.sqrt(0.75))
    x = step[None, :] + (np.arange(len(rows)) % 2)[:, None] * spacing / 2
    y = np.repeat(rows[:, None], len(step), axis=1)
    points = np.stack([y.ravel(), x.ravel()], axis=1) + rng.uniform(0, spacing, 2)
    angle = rng.uniform(0, np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = points @ rotation + np.asarray(shape) / 2 + rng.normal(0, jitter * spacing, points.shape)
    kept: Points = points[((points >= 0) & (points < np.asarray(shape))).all(axis=1)]
    return kept


def sample_field(field: NDArray[np.float32], points: Points, step: float = 1.0) -> NDArray[np.float32]:
    """Return the values of a field at some points; the field has one value every `step` pixels.

    Args:
        field: A field of values.
        points: Points (N, 2) in pixels.
        step: Pixels for each value of the field.
    """
    index = np.minimum((points / step).astype(np.intp), np.asarray(field.shape) - 1)
    values: NDArray[np.float32] = field[index[:, 0], index[:, 1]]
    return values


@dataclass(frozen=True, kw_only=True)
class CellRow:
    """A row of cells along an outline.

    Attributes:
        inset: Distance of the row from the outline, inward, um.
        spacing: Distance between the cells, um.
        stamps: The nuclei.
        upright: Whether the nuclei are perpendicular to the outline; if not, they are flat along it.
    """

    inset: float
    spacing: float
    stamps: NucleusStamps
    upright: bool


def place_row(
    field: Field, shape: Blob, frame: SquareFrame, *, row: CellRow, rng: np.random.Generator
) -> None:
    """Place a row of cells inside an outline, in place.

    Args:
        field: Amounts of hematoxylin of the frame, at `MPP`.
        shape: The outline.
        frame: The part of the slide that `field` shows.
        row: The cells and their distances.
        rng: Random generator; advanced by the call.
    """
    # positions at roughly even angles
    radii = shape.radii - row.inset
    count = max(3, int(2 * np.pi * max(float(radii.mean()), 2.0) / row.spacing))
    angle = (np.arange(count) + rng.normal(0, 0.16, count)) * 2 * np.pi / count
    index = np.mod((angle / (2 * np.pi) * len(radii)).astype(np.intp), len(radii))
    radius = np.maximum(radii[index] + rng.normal(0, 0.7, count), 0.5)
    y = (shape.y - frame.top + radius * np.sin(angle)) * PX_PER_UM
    x = (shape.x - frame.left + radius * np.cos(angle)) * PX_PER_UM
    # orientations by the normal of the outline
    slope = np.gradient(np.concatenate([radii[-1:], radii, radii[:1]]))[1:-1] * len(radii) / (2 * np.pi)
    normal = angle - np.arctan2(slope[index], np.maximum(radii[index], 1.0))
    chosen = row.stamps.choose_oriented(normal + (0 if row.upright else np.pi / 2), rng, 0.15)
    place_nuclei(field, np.stack([y, x], axis=1), row.stamps, chosen=chosen)


def _ellipse_coordinates(
    style: NucleusStyle, rng: np.random.Generator, count: int
) -> tuple[Field, Field, Field]:
    """Return each pixel's place along and across a nucleus, in half axes, and their mean, px."""
    size = style.diameter * np.exp(rng.normal(0, style.spread, count)).clip(0.55, 1.75)
    ratio = np.maximum(1.0, style.elongation + rng.normal(0, style.elongation_spread, count))
    long = size * np.sqrt(ratio) / 2 / MPP
    short = size / np.sqrt(ratio) / 2 / MPP
    # a grid of pixels around each center, which is off the middle of its pixel
    half = int(np.ceil(long.max() * 1.15)) + 2
    axis = np.arange(-half, half + 1)
    offset = rng.uniform(-0.5, 0.5, (2, count))
    y = (axis[None, :] - offset[0][:, None])[:, :, None]
    x = (axis[None, :] - offset[1][:, None])[:, None, :]
    # rotate into the axes of the ellipse
    angle = ((np.arange(count) + 0.5) / count * np.pi)[:, None, None]
    cosine, sine = np.cos(angle), np.sin(angle)
    along = (x * cosine + y * sine) / long[:, None, None]
    across = (y * cosine - x * sine) / short[:, None, None]
    scale = np.sqrt(long * short)[:, None, None]
    return along.astype(np.float32), across.astype(np.float32), scale.astype(np.float32)


def _outline_wobble(style: NucleusStyle, rng: np.random.Generator, along: Field, *, across: Field) -> Field:
    """Return a factor on the radius: waves of two and three periods around each nucleus."""
    square = np.maximum(along**2 + across**2, np.float32(1e-4))
    two = (along**2 - across**2) / square
    three = along * (along**2 - 3 * across**2) / square**1.5
    size = rng.normal(0, style.wobble, (2, along.shape[0], 1, 1)).astype(np.float32)
    factor: Field = 1 + size[0] * two + np.float32(0.8) * size[1] * three
    return factor
