"""Pictures: a slide with annotations and detections, and crops of single regions with a scale bar."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely
from PIL import Image, ImageDraw, ImageFont
from shapely.ops import substring

from histoscout.annotations.qupath_properties import class_color
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Outline, Region, Regions
from histoscout.io.files import atomic_write
from histoscout.io.notes import visible
from histoscout.slides.slide import Slide

ANNOTATION_COLOR = (0, 0, 0)
"""Color of annotations; detections have the color of their class."""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class OutlineStyle:
    """How outlines of one kind are drawn in every picture.

    Attributes:
        name: What the legend calls them.
        color: Their color, which stands out from stained tissue.
        dashed: Whether the line is dashed.
        weight: Width of the line, relative to that of an annotation.
    """

    name: str
    color: Color
    dashed: bool = False
    weight: float = 2.5


FOUND = OutlineStyle("found", (0, 100, 50))
FALSE_POSITIVE = OutlineStyle("false positive", (205, 65, 0))
NOT_COUNTED = OutlineStyle("not counted", (95, 95, 95))
MISSED = OutlineStyle("missed", (170, 0, 35), dashed=True)
ANNOTATED = OutlineStyle("annotation", (17, 17, 17), weight=1.0)
OTHER_CLASS = OutlineStyle("other class", (20, 45, 140), weight=1.0)
STYLES = (FOUND, FALSE_POSITIVE, NOT_COUNTED, MISSED, ANNOTATED, OTHER_CLASS)
"""The one code of colors and dashes for what an evaluation found, in the order of the legend."""

DASH_PX, GAP_PX = 9.0, 6.0
"""Lengths of a dash and of the gap behind it, in px of the picture."""

Styled = Sequence[tuple[Region, OutlineStyle]]


def draw_overlay(
    slide: Slide, regions: Regions, truth: Regions | None, path: Path, longest: int = 1600
) -> None:
    """Draw a slide with its regions and save it as PNG.

    Args:
        slide: The slide.
        regions: Detections.
        truth: Annotations; None if there are none to show.
        path: The file, which is replaced if it exists.
        longest: Longer side in px.
    """
    image = render_overlay(slide, regions, truth, longest)
    with atomic_write(path) as temporary:
        image.save(temporary, format="PNG", optimize=False)


def render_overlay(
    slide: Slide,
    regions: Regions,
    truth: Regions | None,
    longest: int = 1600,
    letters: int = 60,
    legend: str = "detection",
) -> Image.Image:
    """Draw a slide with outlines, legend and scale bar.

    Args:
        slide: The slide.
        regions: Regions in the color of their class.
        truth: Annotations, drawn black and thinner; None if there are none to show.
        longest: Longer side in px.
        letters: Lines of text that fit along the shorter side.
        legend: What `regions` are called in the legend.

    Returns:
        An RGB image.
    """
    pixels, mpp = slide.overview(longest)
    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    scale = slide.mpp / mpp
    for region in regions:
        _draw_outline(canvas, region, scale, class_color(region.label), 3)
    for region in truth or ():
        _draw_outline(canvas, region, scale, ANNOTATION_COLOR, 1)
    lines = [(f"{legend}: {label or 'no class'}", class_color(label)) for label in regions.labels]
    if truth is not None:
        lines.append((f"annotation: {', '.join(truth.labels) or 'none'}", ANNOTATION_COLOR))
    _write(canvas, lines, max(11, min(image.size) // letters))
    _draw_scale_bar(canvas, image.size, mpp, letters)
    return image


def render_styled(slide: Slide, styled: Styled, longest: int = 1600, letters: int = 60) -> Image.Image:
    """Draw a slide with outlines in the code of colors and dashes, legend and scale bar.

    Args:
        slide: The slide.
        styled: Outlines and their styles; thin ones are drawn last. Those of other classes carry their names.
        longest: Longer side in px.
        letters: Lines of text that fit along the shorter side.

    Returns:
        An RGB image.
    """
    pixels, mpp = slide.overview(longest)
    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    scale = slide.mpp / mpp
    height = max(11, min(image.size) // letters)
    for region, style in sorted(styled, key=lambda one: -one[1].weight):
        for points in _strokes(region, (0.0, 0.0), scale, style.dashed):
            canvas.line(points, fill=style.color, width=max(1, round(1.2 * style.weight)))
    used = [style for style in STYLES if any(style is other for _, other in styled)]
    legend = [(style.name, style.color) for style in used]
    labels = _Labels(canvas, image.size, ImageFont.load_default(height))
    # the legend is a plate over the picture
    labels.taken.append((0.0, 0.0, 14.0 * height, 1.5 * height * (len(legend) + 1)))
    for region, style in styled:
        if style is OTHER_CLASS:
            labels.write(region.label, region.box.x * scale, region.box.y * scale - 1.2 * height, style.color)
    _write(canvas, legend, height)
    _draw_scale_bar(canvas, image.size, mpp, letters)
    return image


def _strokes(
    region: Region, corner: tuple[float, float], scale: float, dashed: bool, long: float = 1.0
) -> Iterator[list[tuple[float, float]]]:
    """The lines of a region's rings in px of a picture; dashes are `long` times as long as usual."""
    for ring in shapely.get_rings(shapely.get_parts(region.outline)):
        points = (shapely.get_coordinates(ring) - corner) * scale
        if not dashed:
            yield [(float(x), float(y)) for x, y in points]
            continue
        line = shapely.LineString(points)
        for start in np.arange(0.0, line.length, (DASH_PX + GAP_PX) * long):
            dash = substring(line, float(start), float(min(start + DASH_PX * long, line.length)))
            yield [(float(x), float(y)) for x, y in shapely.get_coordinates(dash)]


@dataclass(frozen=True)
class _Labels:
    """Names of regions on a picture, inside it and not over each other: one without room is left out."""

    canvas: ImageDraw.ImageDraw
    size: tuple[int, int]
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def write(self, name: str, left: float, top: float, color: Color) -> None:
        """Write a name at a place, or as near as fits into the picture."""
        text = visible(name, one_line=True)
        _, _, width, height = self.canvas.textbbox((0, 0), text, font=self.font, stroke_width=2)
        left = max(2.0, min(left, self.size[0] - width - 2.0))
        top = max(2.0, min(top, self.size[1] - height - 2.0))
        right, bottom = left + width, top + height
        if any(left < x1 and x0 < right and top < y1 and y0 < bottom for x0, y0, x1, y1 in self.taken):
            return
        self.taken.append((left, top, right, bottom))
        self.canvas.text(
            (left, top), text, fill=color, font=self.font, stroke_width=2, stroke_fill=(255, 255, 255)
        )


def _draw_outline(
    canvas: ImageDraw.ImageDraw, region: Region, scale: float, color: Color, width: int
) -> None:
    """Draw a region's rings at `scale` image px for each level-0 px."""
    for ring in shapely.get_rings(shapely.get_parts(region.outline)):
        points = np.round(shapely.get_coordinates(ring) * scale).astype(int)
        canvas.line([(int(x), int(y)) for x, y in points], fill=color, width=width)


def _write(canvas: ImageDraw.ImageDraw, lines: Iterable[tuple[str, Color]], height: int) -> None:
    """Write the legend on a white plate at the upper left, each text after a line in its color."""
    font = ImageFont.load_default(height)
    for row, (name, color) in enumerate(lines):
        # a font has no line breaks to measure
        text = visible(name, one_line=True)
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
    """Draw a scale bar of a round length, about a fifth of the image's width, at the lower left."""
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
    """The largest of 1, 2, 5, 10, 20, 50 ... up to a length.

    Args:
        um: The length in um.

    Returns:
        A round length in um.
    """
    power = 10.0 ** np.floor(np.log10(um))
    return float(max(step * power for step in (1, 2, 5) if step * power <= um * (1 + 1e-9)))


SIDE_PX = 400
"""Side of a crop in px."""

MIN_FIELD_UM = 300.0
"""Side of the smallest crop: less shows cells, and no lesion."""

FIELD_DIAMETERS = 2.5
"""Side of a crop, in longer sides of the region it shows."""

SUPERSAMPLING = 3
"""Lines are drawn this many times larger and reduced, so that they are smooth."""

FONT_PX = 27
INK = (17, 17, 17)
HALO = (255, 255, 255)

# color, width in px of the image
Stroke = tuple[tuple[int, ...], float]


@dataclass(frozen=True)
class OutlinesToDraw:
    """The outlines of a slide that a crop shows.

    Attributes:
        annotations: Drawn thin and dark.
        detections: Drawn thick, in the color of their class.
        styled: Further outlines in the code of colors and dashes.
    """

    annotations: Regions
    detections: Regions
    styled: tuple[tuple[Region, OutlineStyle], ...] = ()


def render_crop(
    slide: Slide, focus: Outline, outlined: OutlinesToDraw, font: ImageFont.FreeTypeFont | None = None
) -> Image.Image:
    """Crop the surroundings of an outline, 2.5 times as wide as it is and at least 300 um, with all outlines there.

    Args:
        slide: The slide; beyond its edge the crop is white.
        focus: The outline in level-0 px.
        outlined: The outlines of the slide.
        font: A font that has the micro sign; without it, the scale bar says "um".

    Returns:
        An RGB image, 400 px square.
    """
    left, top, right, bottom = focus.bounds
    side = max(FIELD_DIAMETERS * max(right - left, bottom - top), MIN_FIELD_UM / slide.mpp)
    box = Box.around((left + right) / 2, (top + bottom) / 2, side, side)
    mpp = max(slide.mpp, side * slide.mpp / SIDE_PX)
    image = Image.fromarray(slide.read(box, mpp)).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    lines = _lines(outlined, box)
    image.paste(lines, mask=lines.getchannel("A"))
    _scale_bar(image, side * slide.mpp, font)
    return image


def _lines(outlined: OutlinesToDraw, box: Box) -> Image.Image:
    """All outlines inside a square box on a transparent ground, each with a light rim: RGBA."""
    large = Image.new("RGBA", (SIDE_PX * SUPERSAMPLING, SIDE_PX * SUPERSAMPLING), (*HALO, 0))
    canvas = ImageDraw.Draw(large)
    for region in outlined.detections.intersecting(box):
        _outline(canvas, region, box, ((*HALO, 200), 6.0), (class_color(region.label), 4.0))
    for region in outlined.annotations.intersecting(box):
        _outline(canvas, region, box, ((*HALO, 200), 3.4), (INK, 1.6))
    scale = SIDE_PX * SUPERSAMPLING / box.width
    labels = _Labels(canvas, large.size, ImageFont.load_default(SUPERSAMPLING * FONT_PX * 0.6))
    for region, style in sorted(outlined.styled, key=lambda one: -one[1].weight):
        if region.box.intersection(box) is not None:
            width = 1.6 * style.weight
            # a thin line keeps no rim, which would hide a thick one under it
            rim = width + 1.8 if style.weight > 1 else width
            strokes = ((*HALO, 200), rim), (style.color, width)
            _outline(canvas, region, box, *strokes, dashed=style.dashed)
            if style is OTHER_CLASS:
                left, top = (region.box.x - box.x) * scale, (region.box.y - box.y) * scale - FONT_PX * 2
                labels.write(region.label, left, top, style.color)
    return large.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)


def _outline(
    canvas: ImageDraw.ImageDraw, region: Region, box: Box, rim: Stroke, line: Stroke, *, dashed: bool = False
) -> None:
    """Draw a region's rings with a rim."""
    scale = SIDE_PX * SUPERSAMPLING / box.width
    for color, width in (rim, line):
        for points in _strokes(region, (box.x, box.y), scale, dashed, SUPERSAMPLING):
            canvas.line(points, fill=color, width=round(width * SUPERSAMPLING), joint="curve")


def _scale_bar(image: Image.Image, field_um: float, font: ImageFont.FreeTypeFont | None) -> None:
    """Draw a scale bar of a round length, about a quarter of the field, at the lower left."""
    um = round_length(field_um / 4)
    long = um / field_um * image.width
    unit = "um" if font is None else "\u00b5m"
    text = f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} {unit}"
    canvas = ImageDraw.Draw(image)
    left, bottom = 14, image.height - 14
    canvas.rectangle((left - 2, bottom - 9, left + long + 2, bottom + 2), fill=HALO)
    canvas.rectangle((left, bottom - 7, left + long, bottom), fill=INK)
    place = (left, bottom - 17 - FONT_PX)
    canvas.text(place, text, INK, font or ImageFont.load_default(FONT_PX), stroke_width=3, stroke_fill=HALO)
