"""Writing outlines as an image whose values are classes, of any size in bounded memory."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import shapely
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from histoscout.annotations.masks import FACTS, IGNORED, MOST_PIXELS
from histoscout.annotations.write import Canvas
from histoscout.errors import OutputError
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import value_map
from histoscout.geometry.regions import Region, Regions
from histoscout.io.files import replacing
from histoscout.recipe import BACKGROUND, SET_ASIDE, ClassConfig, plain

TILE = 512
UNSEEN = "outside the reviewed areas"
Values = Mapping[str, int]


def write_label_png(regions: Regions, path: Path, canvas: Canvas) -> tuple[str, ...]:
    """Write regions as a PNG of classes: 0 background, 255 ignored, 1, 2, ... by label; notes say which.

    A pixel belongs to the last region that holds its centre; ignored ones lie on top. Where areas are marked as
    reviewed, what lies outside them and in no class is ignored. OutputError for an image of more pixels than a PNG
    should have.
    """
    values = values_of(regions, canvas, path)
    rows, columns = _shape(canvas, 1)
    if rows * columns > MOST_PIXELS:
        fault = f"would be {columns} x {rows} px, too many for a PNG"
        raise OutputError(path, fault, "Write a .tif, or give a coarser --mpp")
    pixels = np.concatenate(list(_strips(regions, values, canvas, 1)))
    text = PngImagePlugin.PngInfo()
    text.add_text(FACTS, _facts(values, canvas))
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", pnginfo=text)
    return _notes(regions, values)


def write_label_tiff(regions: Regions, path: Path, canvas: Canvas) -> tuple[str, ...]:
    """Write regions as a pyramidal TIFF of classes (tiles of 512 px), values as in `write_label_png`.

    Every level is drawn from the outlines, so no value arises that is no class. Memory holds one row of tiles. The
    names of the values stand in the description, the scale in the resolution tags.
    """
    values = values_of(regions, canvas, path)
    halvings = max(0, math.ceil(math.log2(max(_shape(canvas, 1)) / TILE)))
    with replacing(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=_is_big(canvas)) as file:
        for coarser in (2**level for level in range(halvings + 1)):
            per_cm = (1e4 / (canvas.mpp * coarser),) * 2 if canvas.mpp else None
            file.write(
                _tiles(regions, values, canvas, coarser),
                shape=_shape(canvas, coarser),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="minisblack",
                compression="zlib",
                resolution=per_cm,
                resolutionunit="CENTIMETER" if per_cm else None,
                description=_facts(values, canvas) if coarser == 1 else None,
                subfiletype=int(coarser > 1),
                software=False,
                metadata=None,
            )
    return _notes(regions, values)


def values_of(regions: Regions, canvas: Canvas, path: Path) -> dict[str, int]:
    """The value of each label that is drawn, reviewed areas as background; OutputError if there are too many or one is no value."""
    if canvas.values:
        wrong = [f"{label}={value}" for label, value in canvas.values.items() if not 0 < value <= IGNORED]
        if wrong:
            fault = f"cannot hold the values {', '.join(wrong)}"
            raise OutputError(path, fault, "Give values from 1 to 255; 0 is background")
        named = {**{plain(label): value for label, value in canvas.values.items()}, **canvas.values}
        found = {label: named.get(label, named.get(plain(label))) for label in regions.labels}
        return {label: value for label, value in found.items() if value is not None}
    words = {label: ClassConfig().canonical(label) for label in regions.labels}
    others = [label for label, word in words.items() if word not in SET_ASIDE]
    if len(others) >= IGNORED:
        fault = f"cannot hold {len(others)} classes, as it has 254 values for them"
        raise OutputError(path, fault, "Give the values of some of them (--values)")
    return {label: number for number, label in enumerate(others, 1)} | {
        label: IGNORED if word == "ignore" else BACKGROUND
        for label, word in words.items()
        if word in SET_ASIDE
    }


def _shape(canvas: Canvas, coarser: int) -> tuple[int, int]:
    rows, columns = Box(0, 0, canvas.width, canvas.height).shape(canvas.scale)
    return max(1, rows // coarser), max(1, columns // coarser)


def _is_big(canvas: Canvas) -> bool:
    rows, columns = _shape(canvas, 1)
    return rows * columns > 2**31


def _strips(regions: Regions, values: Values, canvas: Canvas, coarser: int) -> Iterator[NDArray[np.uint8]]:
    """The image, `coarser` times smaller, one row of tiles after another: uint8 (up to 512, W)."""
    rows, columns = _shape(canvas, coarser)
    scale = canvas.scale * coarser
    order = _in_order(regions, values, Box(0, 0, columns * scale, rows * scale))
    for top in range(0, rows, TILE):
        strip = Box(0, top * scale, columns * scale, min(TILE, rows - top) * scale)
        yield value_map(order, lambda region: values.get(region.label, IGNORED), strip, scale)


def _in_order(regions: Regions, values: Values, whole: Box) -> Regions:
    """What is drawn, the lowest first: what nobody reviewed, reviewed areas, classes, and what is ignored."""

    def of(*wanted: int) -> Regions:
        return regions.where(lambda region: values.get(region.label) in wanted)

    reviewed, classes, ignored = of(BACKGROUND), of(*range(1, IGNORED)), of(IGNORED)
    unseen = [Region(shapely.box(*whole.bounds), UNSEEN)] if len(reviewed) else []
    return Regions((*unseen, *reviewed, *classes, *ignored))


def _tiles(regions: Regions, values: Values, canvas: Canvas, coarser: int) -> Iterator[NDArray[np.uint8]]:
    """Whole tiles, row by row."""
    for strip in _strips(regions, values, canvas, coarser):
        for left in range(0, strip.shape[1], TILE):
            part = strip[:, left : left + TILE]
            tile = np.zeros((TILE, TILE), np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def _facts(values: Values, canvas: Canvas) -> str:
    labels = {str(value): label for label, value in values.items() if value not in (BACKGROUND, IGNORED)}
    return json.dumps({FACTS: {"labels": labels, "scale": canvas.scale, "mpp": canvas.mpp}})


def _notes(regions: Regions, values: Values) -> tuple[str, ...]:
    listed = ", ".join(f"{value} = {label or 'unclassified'}" for label, value in values.items() if value)
    notes = [f"values: 0 = background{', ' if listed else ''}{listed}"]
    if absent := [label or "unclassified" for label in regions.labels if label not in values]:
        nothing = "" if values else "nothing is drawn, as no outline is of a class that was named; "
        notes.append(f"{nothing}classes without a value, left out: {', '.join(absent)}")
    if BACKGROUND in values.values():
        notes.append(f"outside the reviewed areas what has no class is {IGNORED}, ignored")
    if any(region.score is not None for region in regions):
        notes.append("scores left out, as an image of classes has no place for them")
    return tuple(notes)
