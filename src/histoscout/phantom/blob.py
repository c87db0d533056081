"""Rounded, uneven shapes: the outline of a duct, a lobule, a vessel or a follicle."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

from histoscout.phantom.noise import Field
from histoscout.phantom.patient import MPP


@dataclass(frozen=True)
class Blob:
    """A shape round a centre.

    `y`, `x` in um from the top left of the slide; `radii` in um at even angles from 0 to 2 pi.
    """

    y: float
    x: float
    radii: NDArray[np.float64]

    @property
    def reach(self) -> float:
        """The largest radius, um."""
        return float(self.radii.max())


@dataclass(frozen=True)
class Frame:
    """A square piece of a slide, um: a whole number of um at each side, so that it holds whole pixels."""

    top: int
    left: int
    side: int


def blob(rng: np.random.Generator, y: float, x: float, radius: float, bumps: float = 0.1) -> Blob:
    """Return an uneven oval of about `radius` um; `bumps` is how far it is from a circle, relatively."""
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    order = np.arange(2, 9)
    weight = bumps * np.array([1.0, 0.75, 0.5, 0.35, 0.22, 0.16, 0.1]) * rng.normal(0, 1, 7).clip(-1.6, 1.6)
    waves = weight[:, None] * np.cos(order[:, None] * angle + rng.uniform(0, 2 * np.pi, (7, 1)))
    shape = np.exp(waves.sum(axis=0))
    return Blob(y, x, radius * shape / np.sqrt((shape**2).mean()))


def frame(of: Blob, margin: float) -> Frame:
    """Return the square that holds a blob with `margin` um round it."""
    half = int(np.ceil(of.reach + margin))
    return Frame(round(of.y) - half, round(of.x) - half, 2 * half)


def depth(of: Blob, within: Frame) -> Field:
    """Return how deep each point of a frame lies inside a blob, at 1 um/px: um, below 0 outside."""
    axis = np.arange(within.side) + 0.5
    y, x = np.meshgrid(axis + within.top - of.y, axis + within.left - of.x, indexing="ij")
    angle = np.mod(np.arctan2(y, x), 2 * np.pi)
    count = len(of.radii)
    slope = np.gradient(np.concatenate([of.radii[-1:], of.radii, of.radii[:1]]), 2 * np.pi / count)[1:-1]
    square = 1 / np.sqrt(1 + (slope / of.radii) ** 2)
    index = np.minimum((angle / (2 * np.pi) * count).astype(np.intp), count - 1)
    inside: Field = ((of.radii[index] - np.hypot(y, x)) * square[index]).astype(np.float32)
    return inside


def outline(of: Blob, grow: float = 0.0) -> Polygon:
    """Return the exact outline of a blob as a polygon in level-0 pixels, `grow` um larger."""
    angle = np.linspace(0, 2 * np.pi, len(of.radii), endpoint=False)[::4]
    radii = of.radii[::4] + grow
    points = np.stack([of.x + radii * np.cos(angle), of.y + radii * np.sin(angle)], axis=1) / MPP
    return Polygon(np.round(points, 2))
