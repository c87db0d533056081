"""A small picture of one region, cut from its slide, with all outlines around it and a scale bar."""

from dataclasses import dataclass

import shapely
from PIL import Image, ImageDraw, ImageFont

from histoscout.annotations.colours import colour_of
from histoscout.detection.overlay import round_length
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Outline, Region, Regions
from histoscout.slides.slide import Slide

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
    for region in outlined.found.touching(box):
        _outline(canvas, region, box, ((*HALO, 200), 6.0), (colour_of(region.label), 4.0))
    for region in outlined.drawn.touching(box):
        _outline(canvas, region, box, ((*HALO, 200), 3.4), (INK, 1.6))
    return large.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)


def _outline(canvas: ImageDraw.ImageDraw, region: Region, box: Box, rim: Stroke, line: Stroke) -> None:
    scale = SIDE_PX * SMOOTH / box.width
    for colour, width in (rim, line):
        for ring in shapely.get_rings(shapely.get_parts(region.outline)):
            points = (shapely.get_coordinates(ring) - (box.x, box.y)) * scale
            flat = [(float(x), float(y)) for x, y in points]
            canvas.line(flat, fill=colour, width=round(width * SMOOTH), joint="curve")


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
