"""A small picture of a slide with its outlines, to see at a glance what was found where.

A small picture of one region, cut from its slide, with all outlines around it and a scale bar.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from PIL import Image, ImageDraw, ImageFont

from histoscout.annotations.qupath_properties import class_color
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Outline, Region, Regions
from histoscout.io.files import atomic_write
from histoscout.slides.slide import Slide

DRAWN = (0, 0, 0)
"""Colour of what a pathologist drew; what was found has the colour of its class."""

Color = tuple[int, int, int]


def draw_overlay(
    slide: Slide, regions: Regions, truth: Regions | None, path: Path, longest: int = 1600
) -> None:
    """Save what `overlay` gives as a PNG."""
    image = overlay(slide, regions, truth, longest)
    with atomic_write(path) as temporary:
        image.save(temporary, format="PNG", optimize=False)


def overlay(
    slide: Slide,
    regions: Regions,
    truth: Regions | None,
    longest: int = 1600,
    letters: int = 60,
    said: str = "found",
) -> Image.Image:
    """The slide, at most `longest` px wide or high, with outlines and a scale bar.

    Found regions in the colour of their class, called what is `said` in the legend, drawn ones (`truth`) in black and
    thinner. So many `letters` would stand above one another along the shorter side.
    """
    pixels, mpp = slide.overview(longest)
    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    scale = slide.mpp / mpp
    for region in regions:
        _draw_outline(canvas, region, scale, class_color(region.label), 3)
    for region in truth or ():
        _draw_outline(canvas, region, scale, DRAWN, 1)
    lines = [(f"{said}: {label or 'no class'}", class_color(label)) for label in regions.labels]
    if truth is not None:
        lines.append((f"drawn: {', '.join(truth.labels) or 'nothing'}", DRAWN))
    _write(canvas, lines, max(11, min(image.size) // letters))
    _draw_scale_bar(canvas, image.size, mpp, letters)
    return image


def _draw_outline(
    canvas: ImageDraw.ImageDraw, region: Region, scale: float, color: Color, width: int
) -> None:
    """Draw a region's rings, `scale` picture px per level-0 px, the picture's corner being the slide's."""
    for ring in shapely.get_rings(shapely.get_parts(region.outline)):
        points = np.round(shapely.get_coordinates(ring) * scale).astype(int)
        canvas.line([(int(x), int(y)) for x, y in points], fill=color, width=width)


def _write(canvas: ImageDraw.ImageDraw, lines: Iterable[tuple[str, Color]], height: int) -> None:
    """Words on a white plate at the upper left, each after a line in its colour."""
    font = ImageFont.load_default(height)
    for row, (text, color) in enumerate(lines):
        left, top = height // 2, height // 2 + row * height * 1.5
        start, middle = left + 2.4 * height, top + 0.65 * height
        right = start + canvas.textlength(text, font=font)
        canvas.rectangle((left - 4, top - 4, right + 6, top + height * 1.5), fill=(255, 255, 255))
        line = (left, middle, start - 0.6 * height, middle)
        canvas.line(line, fill=color, width=max(2, height // 6))
        canvas.text((start, top), text, fill=(0, 0, 0), font=font)


def _draw_scale_bar(
    canvas: ImageDraw.ImageDraw, size: tuple[int, int], mpp: float, letters: int = 60
) -> None:
    """A bar of a round length, about a fifth of the picture's width, at the lower left."""
    width, height = size
    um = round_length(width * mpp / 5)
    text = f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} um"
    high = max(11, min(size) // letters)
    left, bottom = high, height - high
    canvas.rectangle((left - 2, bottom - 6, left + um / mpp + 2, bottom + 2), fill=(255, 255, 255))
    canvas.rectangle((left, bottom - 4, left + um / mpp, bottom), fill=(0, 0, 0))
    font = ImageFont.load_default(high)
    place = (left, bottom - 8 - high * 1.3)
    canvas.text(place, text, fill=(0, 0, 0), font=font, stroke_width=2, stroke_fill=(255, 255, 255))


def round_length(um: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50 ... that is no longer than this."""
    power = 10.0 ** np.floor(np.log10(um))
    return float(max(step * power for step in (1, 2, 5) if step * power <= um * (1 + 1e-9)))


SIDE_PX = 400
LEAST_FIELD_UM = 300.0
"""The side of the smallest picture: less shows cells, and no lesion."""

DIAMETERS = 2.5
"""How many times the longer side of what is shown the field is wide."""

SMOOTH = 3  # lines are drawn so many times larger and brought down, so that they are smooth
LETTERS = 27  # px
INK, HALO = (17, 17, 17), (255, 255, 255)

Stroke = tuple[tuple[int, ...], float]  # colour, width in px of the picture


@dataclass(frozen=True)
class Outlined:
    """What is to be seen on a slide: `drawn` by a pathologist (thin, dark), `found` by the model (thick, in colour)."""

    drawn: Regions
    found: Regions


def cut_out(
    slide: Slide, focus: Outline, outlined: Outlined, font: ImageFont.FreeTypeFont | None = None
) -> Image.Image:
    """The surroundings of an outline (level-0 px), 2.5 times as wide as it is, at least 300 um: RGB, 400 px square.

    With all outlines that are to be seen there and a scale bar. Beyond the slide's edge it is white. `font` is one
    that has the sign for micro; without it "um" is written.
    """
    left, top, right, bottom = focus.bounds
    side = max(DIAMETERS * max(right - left, bottom - top), LEAST_FIELD_UM / slide.mpp)
    box = Box.around((left + right) / 2, (top + bottom) / 2, side, side)
    mpp = max(slide.mpp, side * slide.mpp / SIDE_PX)
    image = Image.fromarray(slide.read(box, mpp)).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    lines = _lines(outlined, box)
    image.paste(lines, mask=lines.getchannel("A"))
    _scale_bar(image, side * slide.mpp, font)
    return image


def _lines(outlined: Outlined, box: Box) -> Image.Image:
    """All outlines inside a square box on a clear ground, each with a light rim: RGBA."""
    large = Image.new("RGBA", (SIDE_PX * SMOOTH, SIDE_PX * SMOOTH), (*HALO, 0))
    canvas = ImageDraw.Draw(large)
    for region in outlined.found.intersecting(box):
        _outline(canvas, region, box, ((*HALO, 200), 6.0), (class_color(region.label), 4.0))
    for region in outlined.drawn.intersecting(box):
        _outline(canvas, region, box, ((*HALO, 200), 3.4), (INK, 1.6))
    return large.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)


def _outline(canvas: ImageDraw.ImageDraw, region: Region, box: Box, rim: Stroke, line: Stroke) -> None:
    scale = SIDE_PX * SMOOTH / box.width
    for color, width in (rim, line):
        for ring in shapely.get_rings(shapely.get_parts(region.outline)):
            points = (shapely.get_coordinates(ring) - (box.x, box.y)) * scale
            flat = [(float(x), float(y)) for x, y in points]
            canvas.line(flat, fill=color, width=round(width * SMOOTH), joint="curve")


def _scale_bar(image: Image.Image, field_um: float, font: ImageFont.FreeTypeFont | None) -> None:
    """A bar of a round length, about a quarter of the field, at the lower left."""
    um = round_length(field_um / 4)
    long = um / field_um * image.width
    unit = "um" if font is None else "\u00b5m"
    text = f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} {unit}"
    canvas = ImageDraw.Draw(image)
    left, bottom = 14, image.height - 14
    canvas.rectangle((left - 2, bottom - 9, left + long + 2, bottom + 2), fill=HALO)
    canvas.rectangle((left, bottom - 7, left + long, bottom), fill=INK)
    place = (left, bottom - 17 - LETTERS)
    canvas.text(place, text, INK, font or ImageFont.load_default(LETTERS), stroke_width=3, stroke_fill=HALO)
