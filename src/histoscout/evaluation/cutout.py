"""A small picture of one region, cut from its slide, with outlines and a scale bar."""

from collections.abc import Sequence
from dataclasses import dataclass

import shapely
from PIL import Image, ImageDraw

from histoscout.annotations.colours import colour_of
from histoscout.detection.overlay import DRAWN, Colour, draw_outline, draw_scale_bar
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.slides.slide import Slide

MARGIN = 0.4
"""Of the region's longer side, left around it on each side."""

LEAST_UM = 200.0
"""The side of the smallest picture: less shows cells, and no lesion."""


@dataclass(frozen=True)
class CutOut:
    """A picture (RGB, square), where on the slide it lies (level-0 px), and its um per px."""

    picture: Image.Image
    box: Box
    mpp: float


def cut_out(slide: Slide, regions: Sequence[Region], drawn: Regions, side: int = 384) -> CutOut:
    """Cut regions that belong together from their slide: a square of at most `side` px around all of them.

    The regions in the colour of their class, what was drawn there (`drawn`) in black and thinner. Finer than the
    slide itself it never gets.
    """
    box = _around(regions, slide)
    mpp = max(slide.mpp, box.width * slide.mpp / side)
    picture = Image.fromarray(slide.read(box, mpp))
    canvas = ImageDraw.Draw(picture)
    scale = slide.mpp / mpp
    for region in drawn.touching(box):
        _outline(canvas, region, box, scale, DRAWN, 1)
    for region in regions:
        _outline(canvas, region, box, scale, colour_of(region.label), 2)
    draw_scale_bar(canvas, picture.size, mpp)
    return CutOut(picture, box, mpp)


def _around(regions: Sequence[Region], slide: Slide) -> Box:
    """A square around regions with a margin, never smaller than `LEAST_UM`; it may reach beyond the slide."""
    left, top, right, bottom = shapely.total_bounds([region.outline for region in regions])
    length = max(right - left, bottom - top)
    side = max(length * (1 + 2 * MARGIN), LEAST_UM / slide.mpp)
    return Box.around((left + right) / 2, (top + bottom) / 2, side, side)


def _outline(
    canvas: ImageDraw.ImageDraw, region: Region, box: Box, scale: float, colour: Colour, width: int
) -> None:
    draw_outline(canvas, region.moved(-box.x, -box.y), scale, colour, width)
