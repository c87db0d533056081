"""Where the tissue lies on the slide, and where on the tissue its structures lie."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from histoscout.synthetic.patient import Patient
from histoscout.synthetic.textures import Blob, Field, Shape, blob, cloud, enlarged

Kind = Literal["UDH", "ADH", "unclear", "Normal", "Lobule", "Lymphocytes", "Vessel"]

COARSE = 8
"""The plan is made at this many um/px."""


@dataclass(frozen=True)
class Placed:
    """A structure that has its place: what it is and its exact shape."""

    kind: Kind
    shape: Blob


@dataclass(frozen=True)
class Plan:
    """Where everything lies. `tissue` is above 0 on tissue, `around` the distance in um to the nearest
    structure, both at 8 um/px; `size` is height and width of the slide in um.
    """

    size: Shape
    tissue: Field
    around: Field
    structures: tuple[Placed, ...]


# Radius in um: median, relative deviation, least, most; then the unevenness of the outline and the gap to
# others, um.
SIZES: dict[Kind, tuple[float, float, float, float, float, float]] = {
    "UDH": (138, 0.24, 78, 220, 0.085, 14),
    "ADH": (138, 0.24, 78, 220, 0.085, 14),
    "unclear": (130, 0.24, 78, 220, 0.085, 14),
    "Normal": (75, 0.40, 30, 170, 0.13, 12),
    "Lobule": (190, 0.25, 100, 300, 0.14, 14),
    "Lymphocytes": (105, 0.35, 50, 200, 0.16, 8),
    "Vessel": (30, 0.5, 10, 90, 0.13, 8),
}


def plan(who: Patient, size: Shape, rng: np.random.Generator) -> Plan:
    """Lay out a slide of `size` um: pieces of tissue with irregular rims, structures that do not touch."""
    tissue = _pieces(who, size, rng)
    free = ndimage.distance_transform_edt(np.pad(tissue > 0, 1))[1:-1, 1:-1].astype(np.float32) * COARSE
    around = np.full(tissue.shape, 1e4, dtype=np.float32)
    placed: list[Placed] = []
    for kind, radius in _wanted(who, size, rng):
        shape = _place(kind, radius, np.minimum(free, around), rng)
        if shape is not None:
            placed.append(Placed(kind, shape))
            np.minimum(around, _distance(shape, around.shape), out=around)
    return Plan(size, tissue, around, tuple(placed))


def _pieces(who: Patient, size: Shape, rng: np.random.Generator) -> Field:
    shape = (-(-size[0] // COARSE), -(-size[1] // COARSE))
    score = (
        cloud(rng, shape, 800 / COARSE)
        + 0.35 * cloud(rng, shape, 220 / COARSE)
        + 0.12 * cloud(rng, shape, 60 / COARSE)
    )
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    score -= np.float32(3.0) * np.maximum(abs(y), abs(x)) ** 4
    above: Field = score - np.float32(np.quantile(score, 1 - who.tissue))
    return above


def _wanted(who: Patient, size: Shape, rng: np.random.Generator) -> list[tuple[Kind, float]]:
    """Return the structures that should be there, the ones hardest to place first."""
    area = size[0] * size[1] / 1e6
    rates: dict[Kind, float] = {
        "UDH": who.counts.udh,
        "ADH": who.counts.adh,
        "unclear": who.counts.unclear,
        "Normal": who.counts.normal,
        "Lobule": who.counts.lobules,
        "Lymphocytes": who.counts.lymphocytes,
        "Vessel": who.counts.vessels,
    }
    wanted: list[tuple[Kind, float]] = []
    for kind, rate in rates.items():
        median, deviation, least, most, _, _ = SIZES[kind]
        sure = 1 if kind in ("UDH", "ADH") and rate > 0 else 0
        count = max(sure, int(rate * area + rng.uniform(0, 1)))
        radii = np.clip(median * np.exp(rng.normal(0, deviation, count)), least, most)
        wanted += [(kind, float(radius)) for radius in radii]
    first = {"Lobule": 1.4, "Vessel": 0.5}
    return sorted(wanted, key=lambda one: -one[1] * first.get(one[0], 1.0))


def _place(kind: Kind, radius: float, free: Field, rng: np.random.Generator) -> Blob | None:
    """Find room for a structure, smaller if it must be; None if even its least size does not fit."""
    _, _, least, _, bumps, gap = SIZES[kind]
    while radius >= least:
        shape = blob(rng, 0.0, 0.0, radius, bumps)
        room = np.argwhere(free > shape.reach + gap)
        if len(room):
            y, x = (room[rng.integers(len(room))] + rng.uniform(0, 1, 2)) * COARSE
            return Blob(float(y), float(x), shape.radii)
        radius *= 0.9
    return None


def _distance(shape: Blob, size: tuple[int, ...]) -> Field:
    """Return the distance, um, from a shape to each point of the plan (0 inside)."""
    y = (np.arange(size[0]) + 0.5)[:, None] * COARSE - shape.y
    x = (np.arange(size[1]) + 0.5)[None, :] * COARSE - shape.x
    turn = np.mod(np.arctan2(y, x), 2 * np.pi) / (2 * np.pi)
    radius = shape.radii[np.minimum((turn * len(shape.radii)).astype(np.intp), len(shape.radii) - 1)]
    # three quarters of a cell more, so that no shape falls between the points and no corner is overlooked
    outside = np.hypot(y, x) > radius + 0.75 * COARSE
    away: Field = (ndimage.distance_transform_edt(outside) * COARSE).astype(np.float32)
    return away


def at_um(field: Field, size: Shape) -> Field:
    """Return a field of the plan at 1 um/px."""
    whole = enlarged(field, (field.shape[0] * COARSE, field.shape[1] * COARSE))
    return whole[: size[0], : size[1]]
