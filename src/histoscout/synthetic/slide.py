"""Draw one synthetic slide: everything on it follows from two numbers.

What is known of a slide: the exact outlines, and the ones a pathologist would have drawn by hand.

What goes wrong between the tissue and the scan: folds, blurred patches and marks of a pen.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import LineString

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import mask_of
from histoscout.geometry.regions import Outline, Region, Regions, polygonal
from histoscout.synthetic import normal_tissue
from histoscout.synthetic.layout import Kind, Placed, Plan, plan
from histoscout.synthetic.lesions import draw_duct
from histoscout.synthetic.normal_tissue import draw_lobule, draw_lymphocytes, draw_normal, draw_vessel
from histoscout.synthetic.patient import MPP, Patient, patient_of, stream
from histoscout.synthetic.textures import Blob, Canvas, Field, Shape, add_noise, blob, colored, outline

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


CHANCES = {"fold": 0.45, "blur": 0.45, "pen": 0.3}
"""How many slides have at least one such artefact."""

INKS = ((60, 75, 150), (40, 120, 75), (55, 55, 65))
"""Colours of the pens, as light that they let through (of 255)."""


def planned(size: Shape, rng: np.random.Generator) -> Regions:
    """Choose the artefacts of a slide of `size` um; labels "fold", "blur" and "pen"."""
    found: list[Region] = []
    for label, chance in CHANCES.items():
        happens, count = rng.uniform() < chance, int(rng.integers(1, 3))
        for _ in range(count if happens else 0):
            region = _within(_shape(label, size, rng), size, label, rng)
            if region is not None:
                found.append(region)
    return Regions.of(found)


def _shape(label: str, size: Shape, rng: np.random.Generator) -> Outline:
    """Return the outline of an artefact in level-0 pixels."""
    y, x = (float(rng.uniform(0.15, 0.85)) * side for side in size)
    if label == "blur":
        return outline(blob(rng, y, x, float(rng.uniform(120, 300)), 0.15))
    length, width = (
        (rng.uniform(250, 800), rng.uniform(14, 34))
        if label == "fold"
        else (rng.uniform(400, 1500), rng.uniform(45, 110))
    )
    heading, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-1.2, 1.2)
    turn = heading + bend * np.linspace(-0.5, 0.5, 40)
    step = float(length) / 40
    line = np.stack([x + np.cumsum(np.cos(turn)) * step, y + np.cumsum(np.sin(turn)) * step], axis=1) / MPP
    return polygonal(LineString(line).buffer(float(width) / 2 / MPP, quad_segs=6)) or shapely.Polygon()


def _within(drawn: Outline, size: Shape, label: str, rng: np.random.Generator) -> Region | None:
    cut = polygonal(shapely.intersection(drawn, shapely.box(0, 0, size[1] / MPP, size[0] / MPP)))
    name = str(uuid.UUID(bytes=rng.bytes(16), version=4))
    return None if cut is None else Region(cut, label, id=name)


def spoil(canvas: Canvas, artifacts: Regions) -> None:
    """Draw folds (tissue lying double) and patches out of focus into the amounts of dye."""
    for one in artifacts.labeled("fold"):
        rows, columns, cover = _cover(one, canvas.shape, 3.0)
        for field in (canvas.hematoxylin, canvas.eosin):
            field[rows, columns] *= 1 + np.float32(0.9) * cover
    for one in artifacts.labeled("blur"):
        rows, columns, cover = _cover(one, canvas.shape, 12.0)
        for field in (canvas.hematoxylin, canvas.eosin):
            sharp = field[rows, columns]
            field[rows, columns] = sharp + cover * (ndimage.gaussian_filter(sharp, 4.5, truncate=2.5) - sharp)


def write_on(pixels: NDArray[np.uint8], artifacts: Regions) -> None:
    """Draw the marks of the pen over the finished picture, in place. They let some light through."""
    for one in artifacts.labeled("pen"):
        rows, columns, cover = _cover(one, (pixels.shape[0], pixels.shape[1]), 3.0)
        ink = np.asarray(INKS[int(one.id[0], 16) % len(INKS)], dtype=np.float32) / 255
        light = 1 - cover[..., None] * (1 - ink) * np.float32(0.85)
        pixels[rows, columns] = (pixels[rows, columns] * light).astype(np.uint8)


def _cover(one: Region, shape: Shape, edge: float) -> tuple[slice, slice, Field]:
    """Return the rows and columns that a region touches, and softly how much of each pixel it covers."""
    left, top, right, bottom = one.outline.bounds
    rows = slice(max(int(top), 0), min(int(np.ceil(bottom)), shape[0]))
    columns = slice(max(int(left), 0), min(int(np.ceil(right)), shape[1]))
    box = Box(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    inside = mask_of(one.outline, box, 1.0).astype(np.float32)
    return rows, columns, ndimage.gaussian_filter(inside, edge, truncate=2.0) * inside


Draw = Callable[[Canvas, Placed, Patient, np.random.Generator], None]

# In this order: a later one hides an earlier one where they meet.
DRAWN_BY: dict[Kind, Draw] = {
    "Vessel": draw_vessel,
    "Lymphocytes": draw_lymphocytes,
    "Lobule": draw_lobule,
    "Normal": draw_normal,
    "unclear": draw_duct,
    "ADH": draw_duct,
    "UDH": draw_duct,
}


@dataclass(frozen=True)
class PhantomSlide:
    """A synthetic slide and all that is known of it.

    `pixels` uint8 RGB (H, W, 3) at `mpp` um/px. `regions` are outlined and labelled as a pathologist would;
    `truth` holds the exact outline of every structure ("UDH", "ADH", "unclear", "Normal", "Lobule",
    "Lymphocytes", "Vessel"); `artifacts` where it is spoilt ("pen", "fold", "blur"). All outlines in level-0
    px.
    """

    pixels: NDArray[np.uint8]
    mpp: float
    regions: Regions
    truth: Regions
    artifacts: Regions


def draw(seed: int, patient: int, size: tuple[int, int] = (4096, 4096)) -> PhantomSlide:
    """Draw a slide of a patient; `seed` tells the slides of one patient apart; `size` is height, width in px.

    The same numbers give the same slide, byte for byte, as long as `DIFFICULTY` stays the same.
    """
    return draw_patient(patient_of(patient), seed, size)


def draw_patient(who: Patient, seed: int, size: tuple[int, int] = (4096, 4096)) -> PhantomSlide:
    """Draw a slide of somebody who need not be one of the numbered patients: with other counts of structures, say."""
    patient = who.number
    height, width = (-(-side // 2) for side in size)  # a um is two pixels
    layout = plan(who, (height, width), stream(2, patient, seed))
    canvas = normal_tissue.drawn(who, layout, stream(3, patient, seed))
    for order, (kind, draw_one) in enumerate(DRAWN_BY.items()):
        for number, one in enumerate(layout.structures):
            if one.kind == kind:
                draw_one(canvas, one, who, stream(4, patient, seed, order, number))
    spoilt = planned((height, width), stream(5, patient, seed))
    spoil(canvas, spoilt)
    add_noise(canvas, stream(7, patient, seed))
    pixels = colored(canvas.hematoxylin, canvas.eosin, who)
    write_on(pixels, spoilt)
    rng = stream(6, patient, seed)
    return PhantomSlide(pixels[: size[0], : size[1]], MPP, by_hand(layout, rng), truth(layout, rng), spoilt)
