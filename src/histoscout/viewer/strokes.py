"""What a brush, an eraser or a cut makes of an outline: exact, always valid, holes kept."""

import math
from collections.abc import Sequence

import shapely
from shapely.geometry import LineString, Point

from histoscout.errors import ReviewError
from histoscout.geometry.regions import Outline, valid_outline

MAX_POINTS = 20_000
"""Points of a stroke."""

ROUNDNESS = 8
"""Segments of a quarter circle at the end of a brush stroke."""

Points = Sequence[tuple[float, float]]


def brush_outline(points: Points, radius: float) -> Outline:
    """The area that a round brush covers.

    Args:
        points: Where its center went, x and y in level-0 px; one point is a dab.
        radius: Its radius in level-0 px.

    Returns:
        The area.

    Raises:
        ReviewError: The stroke is empty, too long or covers nothing.
    """
    _check(points, radius)
    path = Point(points[0]) if len(points) == 1 else LineString(points)
    return _with_area(path.buffer(radius, quad_segs=ROUNDNESS))


def add_stroke(outline: Outline | None, points: Points, radius: float) -> Outline:
    """An outline with what a brush adds.

    Args:
        outline: The outline; None to begin one.
        points: The stroke.
        radius: Radius of the brush.

    Returns:
        The union, simplified by a twentieth of the radius.
    """
    stroke = brush_outline(points, radius)
    whole = stroke if outline is None else shapely.union(outline, stroke)
    return _with_area(whole.simplify(radius / 20, preserve_topology=True))


def erase_stroke(outline: Outline, points: Points, radius: float) -> Outline | None:
    """An outline without what an eraser takes.

    Args:
        outline: The outline.
        points: The stroke.
        radius: Radius of the eraser.

    Returns:
        The difference; None if nothing is left.
    """
    return valid_outline(shapely.difference(outline, brush_outline(points, radius)))


def split_outline(outline: Outline, points: Points) -> tuple[Outline, ...]:
    """The parts of an outline on the two sides of a cut.

    Args:
        outline: The outline.
        points: The cut, a line that crosses the outline.

    Returns:
        The parts, two at least.

    Raises:
        ReviewError: The line does not cut it apart.
    """
    _check(points, 1.0)
    if len(points) < 2:
        raise ReviewError("cut", "a cut is a line", "Draw it across the region")
    edges = shapely.union(LineString(points), outline.boundary)
    pieces = [
        piece
        for piece in shapely.get_parts(shapely.polygonize(shapely.get_parts(edges)))
        if outline.contains(piece.representative_point()) and piece.area > 0
    ]
    before = len(shapely.get_parts(outline))
    if len(pieces) <= before:
        raise ReviewError("cut", "the line does not cut the region apart", "Draw it right across the region")
    return tuple(pieces)


def merge_outlines(outlines: Sequence[Outline]) -> Outline:
    """The union of several outlines.

    Args:
        outlines: The outlines.
    """
    return _with_area(shapely.union_all(list(outlines)))


def _with_area(geometry: shapely.Geometry) -> Outline:
    outline = valid_outline(geometry)
    if outline is None:
        raise ReviewError("stroke", "it covers no area", "Draw a larger one")
    return outline


def _check(points: Points, radius: float) -> None:
    if not 0 < len(points) <= MAX_POINTS or not 0 < radius < 1e6:
        raise ReviewError("stroke", "it is empty, too long or too wide", "Draw a shorter one")
    if not all(math.isfinite(number) and abs(number) < 1e9 for point in points for number in point):
        raise ReviewError("stroke", "a coordinate is not on any slide", "Draw it again")
