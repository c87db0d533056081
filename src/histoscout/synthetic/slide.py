"""Draw one synthetic H&E slide with its annotations from two numbers.

A slide comes with the exact outlines of its structures (`true_regions`) and with the looser ones that a pathologist
would draw by hand (`annotated_regions`).
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import LineString

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.regions import Outline, Region, Regions, valid_outline
from histoscout.synthetic.canvas import (
    Blob,
    Field,
    Shape,
    StainCanvas,
    add_noise,
    blob_polygon,
    dyes_to_rgb,
    random_blob,
)
from histoscout.synthetic.layout import SlideLayout, Structure, StructureKind, plan_layout
from histoscout.synthetic.lesions import draw_duct
from histoscout.synthetic.normal_tissue import (
    draw_lobule,
    draw_lymphocytes,
    draw_normal,
    draw_stroma,
    draw_vessel,
)
from histoscout.synthetic.patient import MPP, Patient, make_patient, random_stream

ARTIFACT_CHANCES = {"fold": 0.45, "blur": 0.45, "pen": 0.3}
"""Share of slides that have at least one such artifact."""

INK_COLORS = ((60, 75, 150), (40, 120, 75), (55, 55, 65))
"""Colors of the pens, as light that they let through (of 255)."""


def plan_artifacts(size: Shape, rng: np.random.Generator) -> Regions:
    """Choose the artifacts of a slide.

    Args:
        size: Height and width of the slide, um.
        rng: Random generator; advanced by the call.

    Returns:
        Regions in level-0 px with the labels "fold", "blur" and "pen".
    """
    slide = shapely.box(0, 0, size[1] / MPP, size[0] / MPP)
    regions: list[Region] = []
    for label, chance in ARTIFACT_CHANCES.items():
        happens = rng.uniform() < chance
        count = int(rng.integers(1, 3))
        for _ in range(count if happens else 0):
            outline = valid_outline(shapely.intersection(_artifact_outline(label, size, rng), slide))
            region_id = str(uuid.UUID(bytes=rng.bytes(16), version=4))
            if outline is not None:
                regions.append(Region(outline, label, id=region_id))
    return Regions.of(regions)


def draw_folds_and_blur(canvas: StainCanvas, artifacts: Regions) -> None:
    """Draw folds (double tissue) and patches out of focus into the amounts of dye, in place.

    Args:
        canvas: The canvas.
        artifacts: Outlines of the artifacts.
    """
    for region in artifacts.with_labels("fold"):
        rows, columns, cover = _soft_cover(region, canvas.shape, 3.0)
        for field in (canvas.hematoxylin, canvas.eosin):
            field[rows, columns] *= 1 + np.float32(0.9) * cover
    for region in artifacts.with_labels("blur"):
        rows, columns, cover = _soft_cover(region, canvas.shape, 12.0)
        for field in (canvas.hematoxylin, canvas.eosin):
            sharp = field[rows, columns]
            field[rows, columns] = sharp + cover * (ndimage.gaussian_filter(sharp, 4.5, truncate=2.5) - sharp)


def draw_pen_marks(pixels: NDArray[np.uint8], artifacts: Regions) -> None:
    """Draw pen marks over the finished image (H, W, 3), in place. They let some light through.

    Args:
        pixels: Image (H, W, 3) uint8 or mask (H, W).
        artifacts: Outlines of the artifacts.
    """
    for region in artifacts.with_labels("pen"):
        rows, columns, cover = _soft_cover(region, (pixels.shape[0], pixels.shape[1]), 3.0)
        # the color follows from the region's id
        ink = np.asarray(INK_COLORS[int(region.id[0], 16) % len(INK_COLORS)], dtype=np.float32) / 255
        light = 1 - cover[..., None] * (1 - ink) * np.float32(0.85)
        pixels[rows, columns] = (pixels[rows, columns] * light).astype(np.uint8)


def _artifact_outline(label: str, size: Shape, rng: np.random.Generator) -> Outline:
    """Return the outline of an artifact in level-0 px: an oval for a blur, else a bent stroke."""
    y, x = (float(rng.uniform(0.15, 0.85)) * side for side in size)
    if label == "blur":
        return blob_polygon(random_blob(rng, y, x, radius=float(rng.uniform(120, 300)), bumps=0.15))
    if label == "fold":
        length = rng.uniform(250, 800)
        width = rng.uniform(14, 34)
    else:
        length = rng.uniform(400, 1500)
        width = rng.uniform(45, 110)
    heading = rng.uniform(0, 2 * np.pi)
    bend = rng.uniform(-1.2, 1.2)
    # an arc of 40 steps, as wide as the stroke
    turn = heading + bend * np.linspace(-0.5, 0.5, 40)
    step = float(length) / 40
    line = np.stack([x + np.cumsum(np.cos(turn)) * step, y + np.cumsum(np.sin(turn)) * step], axis=1) / MPP
    return valid_outline(LineString(line).buffer(float(width) / 2 / MPP, quad_segs=6)) or shapely.Polygon()


def _soft_cover(region: Region, shape: Shape, edge: float) -> tuple[slice, slice, Field]:
    """Return the rows and columns that a region touches, and its soft cover of each pixel."""
    left, top, right, bottom = region.outline.bounds
    rows = slice(max(int(top), 0), min(int(np.ceil(bottom)), shape[0]))
    columns = slice(max(int(left), 0), min(int(np.ceil(right)), shape[1]))
    box = Box(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    inside = polygon_to_mask(region.outline, box, 1.0).astype(np.float32)
    return rows, columns, ndimage.gaussian_filter(inside, edge, truncate=2.0) * inside


DrawFunction = Callable[[StainCanvas, Structure, Patient, np.random.Generator], None]

DRAW_ORDER: dict[StructureKind, DrawFunction] = {
    "Vessel": draw_vessel,
    "Lymphocytes": draw_lymphocytes,
    "Lobule": draw_lobule,
    "Normal": draw_normal,
    "unclear": draw_duct,
    "ADH": draw_duct,
    "UDH": draw_duct,
}
"""How each kind of structure is drawn, in this order: a later one hides an earlier one where they meet."""

ANNOTATED_SHARE: dict[StructureKind, float] = {
    "UDH": 1.0,
    "unclear": 1.0,
    "ADH": 0.85,
    "Normal": 0.5,
    "Lymphocytes": 0.3,
    "Lobule": 0.0,
    "Vessel": 0.0,
}
"""Share of the structures of each kind that are annotated. UDH always is."""

UNSURE_SHARE = 0.18
"""Share of the UDH ducts that the pathologist labels "UDH-unsure"."""


@dataclass(frozen=True, kw_only=True)
class SyntheticSlide:
    """A synthetic slide and its annotations. All outlines are in level-0 px.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        mpp: Resolution, um/px.
        regions: Annotations, outlined and labeled as a pathologist would.
        truth: The exact outline of every structure: "UDH", "ADH", "unclear", "Normal", "Lobule", "Lymphocytes" and
            "Vessel".
        artifacts: Corrupted areas: "pen", "fold" and "blur".
    """

    pixels: NDArray[np.uint8]
    mpp: float
    regions: Regions
    truth: Regions
    artifacts: Regions


def draw_slide(seed: int, patient: int, size: tuple[int, int] = (4096, 4096)) -> SyntheticSlide:
    """Draw a synthetic slide of a numbered patient.

    The same numbers give the same slide, byte for byte, as long as `DIFFICULTY` stays the same.

    Args:
        seed: Number of the slide among those of the patient.
        patient: Number of the patient; see `make_patient`.
        size: Height and width, px at 0.5 um/px.

    Returns:
        The slide.
    """
    return draw_slide_of(make_patient(patient), seed, size)


def draw_slide_of(patient: Patient, seed: int, size: tuple[int, int] = (4096, 4096)) -> SyntheticSlide:
    """Draw a synthetic slide of any patient, for example with other densities of structures.

    Args:
        patient: The patient.
        seed: Number of the slide among those of the patient.
        size: Height and width, px at 0.5 um/px.

    Returns:
        The slide.
    """
    number = patient.number
    size_um = (-(-size[0] // 2), -(-size[1] // 2))
    # every step has a random stream of its own, so that a change of one leaves the others as they are
    layout = plan_layout(patient, size_um, random_stream(2, number, seed))
    canvas = draw_stroma(patient, layout, random_stream(3, number, seed))
    for order, (kind, draw_structure) in enumerate(DRAW_ORDER.items()):
        for index, structure in enumerate(layout.structures):
            if structure.kind == kind:
                draw_structure(canvas, structure, patient, random_stream(4, number, seed, order, index))
    artifacts = plan_artifacts(size_um, random_stream(5, number, seed))
    draw_folds_and_blur(canvas, artifacts)
    add_noise(canvas, random_stream(7, number, seed))
    # from dyes to colors; pens write on the finished slide
    pixels = dyes_to_rgb(canvas.hematoxylin, canvas.eosin, patient)
    draw_pen_marks(pixels, artifacts)
    rng = random_stream(6, number, seed)
    regions = annotated_regions(layout, rng)
    truth = true_regions(layout, rng)
    return SyntheticSlide(
        pixels=pixels[: size[0], : size[1]], mpp=MPP, regions=regions, truth=truth, artifacts=artifacts
    )


def true_regions(layout: SlideLayout, rng: np.random.Generator) -> Regions:
    """Return the exact outline of every structure.

    Args:
        layout: The layout of the slide.
        rng: Random generator of the ids; advanced by the call.

    Returns:
        Regions in level-0 px; the labels are those of `layout.StructureKind`.
    """
    return Regions.of(
        _region(blob_polygon(structure.shape), layout, structure.kind, rng=rng)
        for structure in layout.structures
    )


def annotated_regions(layout: SlideLayout, rng: np.random.Generator) -> Regions:
    """Return annotations as a pathologist would draw them: loose, too large, some missing.

    Every UDH duct is annotated as "UDH" or "UDH-unsure", every unclear one as "UDH-unsure".

    Args:
        layout: The layout of the slide.
        rng: Random generator; advanced by the call.

    Returns:
        Regions in level-0 px.
    """
    regions: list[Region] = []
    for structure in layout.structures:
        # the same draws for every structure, annotated or not
        annotated = rng.uniform() < ANNOTATED_SHARE[structure.kind]
        unsure = rng.uniform() < UNSURE_SHARE
        is_unsure = structure.kind == "unclear" or (structure.kind == "UDH" and unsure)
        label = "UDH-unsure" if is_unsure else structure.kind
        region = _region(_hand_drawn_outline(structure.shape, rng), layout, label, rng=rng)
        if annotated:
            regions.append(region)
    return Regions.of(regions)


def _hand_drawn_outline(shape: Blob, rng: np.random.Generator) -> Outline:
    """Return an outline by hand: mostly 0 to 15 um outside, occasionally a little inside."""
    count = len(shape.radii)
    mean_radius = float(shape.radii.mean())
    order = np.arange(1, 12)
    waves = np.cos(order[:, None] * np.linspace(0, 2 * np.pi, count) + rng.uniform(0, 2 * np.pi, (11, 1)))
    wander = (rng.normal(0, 1.3, (11, 1)) * waves).sum(axis=0)
    offset = np.clip(float(rng.uniform(0.5, 9)) + wander, -3, 15) * min(1.0, mean_radius / 110)
    # few corners, as many as a hand clicks
    corner_count = int(np.clip(mean_radius / 2, 24, 90))
    corners = np.sort(rng.choice(count, size=corner_count, replace=False))
    angle = corners * (2 * np.pi / count)
    radii = (shape.radii + offset)[corners]
    points = np.stack([shape.x + radii * np.cos(angle), shape.y + radii * np.sin(angle)], axis=1) / MPP
    return shapely.Polygon(np.round(points, 1))


def _region(outline: Outline, layout: SlideLayout, label: str, *, rng: np.random.Generator) -> Region:
    """Return a region clipped to the slide, with an id that the same slide always gives."""
    height, width = (side / MPP for side in layout.size)
    clipped = valid_outline(shapely.intersection(outline, shapely.box(0, 0, width, height)))
    assert clipped is not None, "structures are on the slide"
    return Region(clipped, label, id=str(uuid.UUID(bytes=rng.bytes(16), version=4)))
