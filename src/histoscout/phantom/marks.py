"""What is known of a slide: the exact outlines, and the ones a pathologist would have drawn by hand."""

import uuid
from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.geometry.regions import Outline, Region, Regions, polygonal
from histoscout.phantom.blob import Blob, outline
from histoscout.phantom.layout import Kind, Plan
from histoscout.phantom.patient import MPP

UNSURE = 0.18
"""Share of the ducts with usual hyperplasia that the pathologist marks as unsure."""

# How many of the structures of a kind are marked at all. Usual hyperplasia always is.
MARKED: dict[Kind, float] = {
    "UDH": 1.0,
    "unclear": 1.0,
    "ADH": 0.85,
    "Normal": 0.5,
    "Lymphocytes": 0.3,
    "Lobule": 0.0,
    "Vessel": 0.0,
}


def truth(plan: Plan, rng: np.random.Generator) -> Regions:
    """Return the exact outline of every structure; labels are those of `layout.Kind`."""
    return Regions.of(_region(outline(one.shape), plan, one.kind, rng) for one in plan.structures)


def by_hand(plan: Plan, rng: np.random.Generator) -> Regions:
    """Return the outlines as a pathologist would draw them: loose, mostly a little too large, some left out.

    Every duct with usual hyperplasia is marked, as "UDH" or "UDH-unsure"; so are the unclear ones, as
    "UDH-unsure".
    """
    drawn: list[Region] = []
    for one in plan.structures:
        marked, unsure = rng.uniform() < MARKED[one.kind], rng.uniform() < UNSURE
        label = "UDH-unsure" if one.kind == "unclear" or (one.kind == "UDH" and unsure) else one.kind
        loose = _region(_loose(one.shape, rng), plan, label, rng)
        if marked:
            drawn.append(loose)
    return Regions.of(drawn)


def _loose(shape: Blob, rng: np.random.Generator) -> Outline:
    """Return an outline by a hand that wanders: 0 to 15 um outside, now and then a little inside."""
    count = len(shape.radii)
    reach = float(shape.radii.mean())
    order = np.arange(1, 12)
    waves = np.cos(order[:, None] * np.linspace(0, 2 * np.pi, count) + rng.uniform(0, 2 * np.pi, (11, 1)))
    wander = (rng.normal(0, 1.3, (11, 1)) * waves).sum(axis=0)
    off = np.clip(float(rng.uniform(0.5, 9)) + wander, -3, 15) * min(1.0, reach / 110)
    corners = np.sort(rng.choice(count, size=int(np.clip(reach / 2, 24, 90)), replace=False))
    return _polygon(replace(shape, radii=shape.radii + off), corners)


def _polygon(shape: Blob, corners: NDArray[np.intp]) -> Outline:
    angle = corners * (2 * np.pi / len(shape.radii))
    radii = shape.radii[corners]
    points = np.stack([shape.x + radii * np.cos(angle), shape.y + radii * np.sin(angle)], axis=1) / MPP
    return shapely.Polygon(np.round(points, 1))


def _region(drawn: Outline, plan: Plan, label: str, rng: np.random.Generator) -> Region:
    """Return a region cut to the slide, with an id that the same slide always gives."""
    height, width = (side / MPP for side in plan.size)
    cut = polygonal(shapely.intersection(drawn, shapely.box(0, 0, width, height)))
    assert cut is not None, "structures lie on the slide"
    return Region(cut, label, id=str(uuid.UUID(bytes=rng.bytes(16), version=4)))
