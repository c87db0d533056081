"""Scan artifacts of a synthetic slide: tissue folds, patches out of focus and pen marks."""

import uuid

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import LineString

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.regions import Outline, Region, Regions, valid_outline
from histoscout.synthetic.canvas import StainCanvas, blob_polygon, random_blob
from histoscout.synthetic.noise import Field, Shape
from histoscout.synthetic.patient import MPP

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
