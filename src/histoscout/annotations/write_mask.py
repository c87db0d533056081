"""Write masks: images whose pixel values are classes, of any size in bounded memory."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import shapely
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from histoscout.annotations.masks import MAX_PIXELS, METADATA_KEY
from histoscout.annotations.overlaps import find_hidden, lift_lesions, overlap_notes
from histoscout.annotations.write import MaskCanvas
from histoscout.errors import OutputError
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import value_map
from histoscout.geometry.regions import Region, Regions
from histoscout.io.files import atomic_write
from histoscout.recipe import BACKGROUND, IGNORE, SET_ASIDE
from histoscout.recipe_sections import ClassConfig, plain

TILE = 512
"""Side of a tile in px."""
UNREVIEWED = "outside the reviewed areas"
Values = Mapping[str, int]
"""Label -> pixel value."""


def write_mask_png(regions: Regions, path: Path, canvas: MaskCanvas) -> tuple[str, ...]:
    """Write regions as a PNG of classes: 0 is background, 255 is ignored, labels are 1, 2, ...

    A pixel belongs to the last region that holds its center; unclassified regions are painted first, ignored
    ones last, except for what was outlined inside them. Where areas are marked as reviewed, what is outside
    them and in no class is ignored.

    Args:
        regions: The regions, in level-0 px.
        path: The file to write.
        canvas: Size, resolution and values of the mask.

    Returns:
        Notes: the value of each label, and what was left out.

    Raises:
        OutputError: The image has more pixels than a PNG should have, values are invalid, or it cannot be
            written.
    """
    values = class_values(regions, canvas, path)
    rows, columns = _shape(canvas, 1)
    if rows * columns > MAX_PIXELS:
        fault = f"the image would have {columns} x {rows} px, too many for a PNG"
        raise OutputError(path, fault, "Write a .tif, or give a coarser --mpp")
    regions, notes = _resolve_overlaps(regions, values)
    pixels = np.concatenate(list(_strips(regions, values, canvas=canvas, downsample=1)))
    text = PngImagePlugin.PngInfo()
    text.add_text(METADATA_KEY, _metadata(values, canvas))
    with atomic_write(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", pnginfo=text)
    return (*_notes(regions, values), *notes)


def write_mask_tiff(regions: Regions, path: Path, canvas: MaskCanvas) -> tuple[str, ...]:
    """Write regions as a pyramidal TIFF of classes, with the values of `write_mask_png`.

    Tiles have 512 px. Every level is painted from the polygons, so that no value arises that is not a class.
    Memory holds one row of tiles. The names of the values are in the description, the scale in the resolution
    tags.

    Args:
        regions: The regions, in level-0 px.
        path: The file to write.
        canvas: Size, resolution and values of the mask.

    Returns:
        Notes: the value of each label, and what was left out.

    Raises:
        OutputError: Values are invalid, or the file cannot be written.
    """
    values = class_values(regions, canvas, path)
    rows, columns = _shape(canvas, 1)
    is_big = rows * columns > 2**31
    regions, notes = _resolve_overlaps(regions, values)
    # levels are halved until one tile holds all
    halvings = max(0, math.ceil(math.log2(max(rows, columns) / TILE)))
    with atomic_write(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=is_big) as file:
        for downsample in (2**level for level in range(halvings + 1)):
            px_per_cm = (1e4 / (canvas.mpp * downsample),) * 2 if canvas.mpp else None
            file.write(
                _tiles(regions, values, canvas=canvas, downsample=downsample),
                shape=_shape(canvas, downsample),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="minisblack",
                compression="zlib",
                resolution=px_per_cm,
                resolutionunit="CENTIMETER" if px_per_cm else None,
                description=_metadata(values, canvas) if downsample == 1 else None,
                subfiletype=int(downsample > 1),
                software=False,
                metadata=None,
            )
    return (*_notes(regions, values), *notes)


def _resolve_overlaps(regions: Regions, values: Values) -> tuple[Regions, list[str]]:
    """The regions with lesions cut out of the areas to ignore around them, and notes on hidden ones."""
    lesions = [label for label, value in values.items() if 0 < value < IGNORE and label.strip()]
    ignored = [label for label, value in values.items() if value == IGNORE]
    lifted, inside = lift_lesions(regions, lesions, ignored)
    ordered = _paint_order(lifted, values, Box(0, 0, 1, 1))
    painted = [(region, values[region.label]) for region in ordered if values.get(region.label)]
    return lifted, overlap_notes(inside, find_hidden(painted))


def class_values(regions: Regions, canvas: MaskCanvas, path: Path) -> dict[str, int]:
    """Choose the pixel value of each label that is painted; reviewed areas are background.

    Args:
        regions: The regions.
        canvas: The canvas; its values are used if it has any, and labels without a value are not painted.
        path: The file to write, for errors.

    Returns:
        Label -> value.

    Raises:
        OutputError: There are too many labels, or a value is not in 1 to 255.
    """
    if canvas.values:
        invalid = [f"{label}={value}" for label, value in canvas.values.items() if not 0 < value <= IGNORE]
        if invalid:
            fault = f"a mask cannot hold the values {', '.join(invalid)}"
            raise OutputError(path, fault, "Give values from 1 to 255; 0 is background")
        # an exact name counts before one that differs in case or blanks
        named = {**{plain(label): value for label, value in canvas.values.items()}, **canvas.values}
        chosen = {label: named.get(label, named.get(plain(label))) for label in regions.labels}
        return {label: value for label, value in chosen.items() if value is not None}
    # without given values, labels are numbered in the order of their names
    canonical = {label: ClassConfig().canonical(label) for label in regions.labels}
    classes = [label for label, name in canonical.items() if name not in SET_ASIDE]
    if len(classes) >= IGNORE:
        fault = f"a mask cannot hold {len(classes)} classes, as it has 254 values for them"
        raise OutputError(path, fault, "Give the values of some of them (--values)")
    return {label: number for number, label in enumerate(classes, 1)} | {
        label: IGNORE if name == "ignore" else BACKGROUND
        for label, name in canonical.items()
        if name in SET_ASIDE
    }


def _shape(canvas: MaskCanvas, downsample: int) -> tuple[int, int]:
    """Rows and columns of a level of the mask."""
    rows, columns = Box(0, 0, canvas.width, canvas.height).shape(canvas.scale)
    return max(1, rows // downsample), max(1, columns // downsample)


def _strips(
    regions: Regions, values: Values, *, canvas: MaskCanvas, downsample: int
) -> Iterator[NDArray[np.uint8]]:
    """A level of the mask, one row of tiles after another: (up to 512, W) uint8."""
    rows, columns = _shape(canvas, downsample)
    scale = canvas.scale * downsample
    ordered = _paint_order(regions, values, Box(0, 0, columns * scale, rows * scale))
    # later regions cover earlier ones
    for top in range(0, rows, TILE):
        strip = Box(0, top * scale, columns * scale, min(TILE, rows - top) * scale)
        yield value_map(ordered, lambda region: values.get(region.label, IGNORE), strip, scale)


def _paint_order(regions: Regions, values: Values, whole: Box) -> Regions:
    """Regions, lowest first: unreviewed areas, reviewed areas, unclassified ones, classes, ignored regions."""

    def with_values(*wanted: int) -> Regions:
        return regions.where(lambda region: values.get(region.label) in wanted)

    reviewed = with_values(BACKGROUND)
    painted = with_values(*range(1, IGNORE))
    # what has no class, often the outline around others, covers no class
    classes = (
        *painted.where(lambda region: not region.label.strip()),
        *painted.where(lambda region: bool(region.label.strip())),
    )
    ignored = with_values(IGNORE)
    unreviewed = [Region(shapely.box(*whole.bounds), UNREVIEWED)] if len(reviewed) else []
    return Regions((*unreviewed, *reviewed, *classes, *ignored))


def _tiles(
    regions: Regions, values: Values, *, canvas: MaskCanvas, downsample: int
) -> Iterator[NDArray[np.uint8]]:
    """Whole tiles (512, 512) uint8, row by row."""
    for strip in _strips(regions, values, canvas=canvas, downsample=downsample):
        for left in range(0, strip.shape[1], TILE):
            # tiles at the right and lower edge are filled up with background
            part = strip[:, left : left + TILE]
            tile = np.zeros((TILE, TILE), np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def _metadata(values: Values, canvas: MaskCanvas) -> str:
    """The names of the values and the scale, as JSON."""
    labels = {str(value): label for label, value in values.items() if value not in (BACKGROUND, IGNORE)}
    return json.dumps({METADATA_KEY: {"labels": labels, "scale": canvas.scale, "mpp": canvas.mpp}})


def _notes(regions: Regions, values: Values) -> tuple[str, ...]:
    """What the user has to know of the written mask."""
    legend = ", ".join(f"{value} = {label or 'unclassified'}" for label, value in values.items() if value)
    notes = [f"values: 0 = background{', ' if legend else ''}{legend}"]
    if absent := [label or "unclassified" for label in regions.labels if label not in values]:
        empty = "" if values else "nothing is painted, as no annotation has one of the named classes; "
        notes.append(f"{empty}classes without a value, left out: {', '.join(absent)}")
    if BACKGROUND in values.values():
        notes.append(f"outside the reviewed areas, what has no class is {IGNORE} (ignored)")
    if any(region.score is not None for region in regions):
        notes.append("scores are left out, as a mask has no place for them")
    return tuple(notes)
