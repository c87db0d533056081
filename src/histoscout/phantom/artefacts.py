"""What goes wrong between the tissue and the scan: folds, blurred patches and marks of a pen."""

import uuid

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import LineString

from histoscout.geometry.box import Box
from histoscout.geometry.raster import mask_of
from histoscout.geometry.regions import Outline, Region, Regions, polygonal
from histoscout.phantom.blob import blob, outline
from histoscout.phantom.canvas import Canvas
from histoscout.phantom.noise import Field, Shape
from histoscout.phantom.patient import MPP

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


def spoil(canvas: Canvas, artefacts: Regions) -> None:
    """Draw folds (tissue lying double) and patches out of focus into the amounts of dye."""
    for one in artefacts.labelled("fold"):
        rows, columns, cover = _cover(one, canvas.shape, 3.0)
        for field in (canvas.haematoxylin, canvas.eosin):
            field[rows, columns] *= 1 + np.float32(0.9) * cover
    for one in artefacts.labelled("blur"):
        rows, columns, cover = _cover(one, canvas.shape, 12.0)
        for field in (canvas.haematoxylin, canvas.eosin):
            sharp = field[rows, columns]
            field[rows, columns] = sharp + cover * (ndimage.gaussian_filter(sharp, 4.5, truncate=2.5) - sharp)


def write_on(pixels: NDArray[np.uint8], artefacts: Regions) -> None:
    """Draw the marks of the pen over the finished picture, in place. They let some light through."""
    for one in artefacts.labelled("pen"):
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
