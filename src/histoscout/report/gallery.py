"""Small pictures cut from slides: one lesion or finding each, with everything drawn and found around it."""

import io
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import matplotlib
import numpy as np
import shapely
from PIL import Image, ImageDraw, ImageFont

from histoscout.annotations.colours import colour_of
from histoscout.detection.overlay import round_length
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Outline, Region, Regions
from histoscout.slides.slide import Slide

SIDE_PX = 400
LEAST_FIELD_UM = 300.0
DIAMETERS = 2.5
"""How many times the longer side of what is shown the field is wide."""

SMOOTH = 3  # lines are drawn so many times larger and brought down, so that they are smooth
INK, HALO = (17, 17, 17), (255, 255, 255)

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Outlined:
    """What is to be seen on a slide: `drawn` by a pathologist (thin, dark), `found` by the model (thick, in colour)."""

    drawn: Regions
    found: Regions


def balanced(
    things: Sequence[Thing], patient_of: Callable[[Thing], Hashable], most: int
) -> tuple[Thing, ...]:
    """The first things, at most so many, but no second one of a patient before each patient had a first.

    Things come in order of interest and stay in it.
    """
    seen: Counter[Hashable] = Counter()
    ranked = []
    for place, thing in enumerate(things):
        patient = patient_of(thing)
        ranked.append((seen[patient], place))
        seen[patient] += 1
    return tuple(things[place] for place in sorted(place for _, place in sorted(ranked)[:most]))


def shuffled(things: Iterable[Thing], seed: int) -> list[Thing]:
    """The things in an order that depends on the seed alone."""
    listed = list(things)
    return [listed[place] for place in np.random.default_rng(seed).permutation(len(listed))]


def crop(slide: Slide, focus: Outline, outlined: Outlined) -> bytes:
    """The surroundings of an outline (level-0 px) as a JPEG: 2.5 times as wide as it is, at least 300 um.

    With all outlines that are to be seen there and a scale bar. Beyond the slide's edge it is white.
    """
    left, top, right, bottom = focus.bounds
    side = max(DIAMETERS * max(right - left, bottom - top), LEAST_FIELD_UM / slide.mpp)
    box = Box.around((left + right) / 2, (top + bottom) / 2, side, side)
    mpp = max(slide.mpp, side * slide.mpp / SIDE_PX)
    image = Image.fromarray(slide.read(box, mpp)).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    lines = Image.new("RGBA", (SIDE_PX * SMOOTH, SIDE_PX * SMOOTH), (*HALO, 0))
    scale = SIDE_PX * SMOOTH / side
    canvas = ImageDraw.Draw(lines)
    for region in outlined.found.touching(box):
        _outline(canvas, region, box, scale, ((*HALO, 200), 6), (colour_of(region.label), 4))
    for region in outlined.drawn.touching(box):
        _outline(canvas, region, box, scale, ((*HALO, 200), 3.4), (INK, 1.6))
    small = lines.resize(image.size, Image.Resampling.BOX)
    image.paste(small, mask=small.getchannel("A"))
    _scale_bar(image, side * slide.mpp)
    return jpeg(image)


Stroke = tuple[tuple[int, ...], float]  # colour, width in px of the crop


def _outline(
    canvas: ImageDraw.ImageDraw, region: Region, box: Box, scale: float, halo: Stroke, line: Stroke
) -> None:
    for colour, width in (halo, line):
        for ring in shapely.get_rings(shapely.get_parts(region.outline)):
            points = (shapely.get_coordinates(ring) - (box.x, box.y)) * scale
            flat = [(float(x), float(y)) for x, y in points]
            canvas.line(flat, fill=colour, width=round(width * SMOOTH), joint="curve")


def _scale_bar(image: Image.Image, field_um: float) -> None:
    """A bar of a round length, about a quarter of the field, at the lower left."""
    um = round_length(field_um / 4)
    long = um / field_um * image.width
    text = f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} \u00b5m"
    canvas = ImageDraw.Draw(image)
    left, bottom = 14, image.height - 14
    canvas.rectangle((left - 2, bottom - 9, left + long + 2, bottom + 2), fill=HALO)
    canvas.rectangle((left, bottom - 7, left + long, bottom), fill=INK)
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), 27)
    canvas.text((left, bottom - 44), text, fill=INK, font=font, stroke_width=3, stroke_fill=HALO)


def jpeg(image: Image.Image, quality: int = 82) -> bytes:
    """The picture as a JPEG file."""
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=quality, optimize=True)
    return file.getvalue()
