"""The layout of a synthetic slide: where the tissue is, and where its structures are placed."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from histoscout.synthetic.canvas import Blob, Field, Shape, random_blob, resize_field, smooth_noise
from histoscout.synthetic.patient import Patient

StructureKind = Literal["UDH", "ADH", "unclear", "Normal", "Lobule", "Lymphocytes", "Vessel"]

COARSE = 8
"""Resolution of the layout, um/px."""


@dataclass(frozen=True)
class Structure:
    """A structure at its place.

    Attributes:
        kind: What it is.
        shape: Its exact outline.
    """

    kind: StructureKind
    shape: Blob


@dataclass(frozen=True, kw_only=True)
class SlideLayout:
    """Where everything is on a slide.

    Attributes:
        size: Height and width of the slide, um.
        tissue: Above 0 on tissue, at 8 um/px.
        clearance: Distance to the nearest structure in um, at 8 um/px; 0 inside one.
        structures: The placed structures, which do not touch.
    """

    size: Shape
    tissue: Field
    clearance: Field
    structures: tuple[Structure, ...]


@dataclass(frozen=True, kw_only=True)
class SizeRange:
    """How large the structures of a kind are.

    Attributes:
        median: Median radius, um.
        deviation: Relative deviation of the radius.
        least: Smallest radius, um.
        most: Largest radius, um.
        bumps: Relative deviation of the outline from a circle.
        gap: Least distance to other structures, um.
    """

    median: float
    deviation: float
    least: float
    most: float
    bumps: float
    gap: float


_DUCT = SizeRange(median=138, deviation=0.24, least=78, most=220, bumps=0.085, gap=14)

# UDH and its look-alikes have the same sizes, so that size does not tell them apart.
SIZE_RANGES: dict[StructureKind, SizeRange] = {
    "UDH": _DUCT,
    "ADH": _DUCT,
    "unclear": SizeRange(median=130, deviation=0.24, least=78, most=220, bumps=0.085, gap=14),
    "Normal": SizeRange(median=75, deviation=0.40, least=30, most=170, bumps=0.13, gap=12),
    "Lobule": SizeRange(median=190, deviation=0.25, least=100, most=300, bumps=0.14, gap=14),
    "Lymphocytes": SizeRange(median=105, deviation=0.35, least=50, most=200, bumps=0.16, gap=8),
    "Vessel": SizeRange(median=30, deviation=0.5, least=10, most=90, bumps=0.13, gap=8),
}


def plan_layout(patient: Patient, size: Shape, rng: np.random.Generator) -> SlideLayout:
    """Lay out a slide: fragments of tissue, and structures on them that do not touch.

    Args:
        patient: The patient; their mix and density decide which structures there are.
        size: Height and width of the slide, um.
        rng: Random generator; advanced by the call.

    Returns:
        The layout. A structure for which there is no room is left out.
    """
    tissue = _draw_tissue(patient, size, rng)
    to_rim = ndimage.distance_transform_edt(np.pad(tissue > 0, 1))[1:-1, 1:-1].astype(np.float32) * COARSE
    clearance = np.full(tissue.shape, 1e4, dtype=np.float32)
    structures: list[Structure] = []
    for kind, radius in _draw_structures(patient, size, rng):
        shape = _place(kind, radius, np.minimum(to_rim, clearance), rng=rng)
        if shape is not None:
            structures.append(Structure(kind, shape))
            np.minimum(clearance, _distance(shape, clearance.shape), out=clearance)
    return SlideLayout(size=size, tissue=tissue, clearance=clearance, structures=tuple(structures))


def upsample_to_um(field: Field, size: Shape) -> Field:
    """Return a field of the layout at 1 um/px, cropped to `size` (height and width, um).

    Args:
        field: A field of values.
        size: Height and width in um.
    """
    whole = resize_field(field, (field.shape[0] * COARSE, field.shape[1] * COARSE))
    return whole[: size[0], : size[1]]


def _draw_tissue(patient: Patient, size: Shape, rng: np.random.Generator) -> Field:
    """Return a field that is above 0 on the patient's share of the slide, away from its edges."""
    shape = (-(-size[0] // COARSE), -(-size[1] // COARSE))
    score = (
        smooth_noise(rng, shape, 800 / COARSE)
        + 0.35 * smooth_noise(rng, shape, 220 / COARSE)
        + 0.12 * smooth_noise(rng, shape, 60 / COARSE)
    )
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    score -= np.float32(3.0) * np.maximum(abs(y), abs(x)) ** 4
    above: Field = score - np.float32(np.quantile(score, 1 - patient.tissue_share))
    return above


def _draw_structures(
    patient: Patient, size: Shape, rng: np.random.Generator
) -> list[tuple[StructureKind, float]]:
    """Return kind and radius (um) of the structures to place, the hardest to place first."""
    area = size[0] * size[1] / 1e6
    rates: dict[StructureKind, float] = {
        "UDH": patient.density.udh,
        "ADH": patient.density.adh,
        "unclear": patient.density.unclear,
        "Normal": patient.density.normal,
        "Lobule": patient.density.lobules,
        "Lymphocytes": patient.density.lymphocytes,
        "Vessel": patient.density.vessels,
    }
    structures: list[tuple[StructureKind, float]] = []
    for kind, rate in rates.items():
        sizes = SIZE_RANGES[kind]
        # a patient with UDH or look-alikes has at least one on every slide
        at_least = 1 if kind in ("UDH", "ADH") and rate > 0 else 0
        count = max(at_least, int(rate * area + rng.uniform(0, 1)))
        radii = np.clip(sizes.median * np.exp(rng.normal(0, sizes.deviation, count)), sizes.least, sizes.most)
        structures += [(kind, float(radius)) for radius in radii]
    priority = {"Lobule": 1.4, "Vessel": 0.5}
    return sorted(structures, key=lambda structure: -structure[1] * priority.get(structure[0], 1.0))


def _place(kind: StructureKind, radius: float, free: Field, *, rng: np.random.Generator) -> Blob | None:
    """Place a structure where it fits, smaller if need be; None if it fits nowhere."""
    sizes = SIZE_RANGES[kind]
    while radius >= sizes.least:
        shape = random_blob(rng, 0.0, 0.0, radius=radius, bumps=sizes.bumps)
        places = np.argwhere(free > shape.reach + sizes.gap)
        if len(places):
            y, x = (places[rng.integers(len(places))] + rng.uniform(0, 1, 2)) * COARSE
            return Blob(float(y), float(x), shape.radii)
        radius *= 0.9
    return None


def _distance(shape: Blob, size: tuple[int, ...]) -> Field:
    """Return the distance, um, from a shape to each point of the layout (0 inside)."""
    y = (np.arange(size[0]) + 0.5)[:, None] * COARSE - shape.y
    x = (np.arange(size[1]) + 0.5)[None, :] * COARSE - shape.x
    turn = np.mod(np.arctan2(y, x), 2 * np.pi) / (2 * np.pi)
    radius = shape.radii[np.minimum((turn * len(shape.radii)).astype(np.intp), len(shape.radii) - 1)]
    # three quarters of a cell more, so that no shape falls between the points and no corner is overlooked
    outside = np.hypot(y, x) > radius + 0.75 * COARSE
    distance: Field = (ndimage.distance_transform_edt(outside) * COARSE).astype(np.float32)
    return distance
