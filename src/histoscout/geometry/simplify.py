"""Contours to outlines that a person can edit: few corners, the area of the pixels inside, no contacts."""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon
from shapely.geometry.polygon import orient

from histoscout.geometry.vectorize import CONTOUR_STEP

MIN_TOLERANCE = 0.25
"""Least tolerance of simplified outlines, in pixels; with the correction of the area, they stay within three quarters of
a pixel of the contour."""


def simplify_outlines(
    outlines: Sequence[Polygon], areas: NDArray[np.int64], tolerance: float
) -> list[Polygon]:
    """Simplify contours: fewer corners, a given area, and no two that touch.

    A contour that would touch itself or another one keeps all of its corners.

    Args:
        outlines: Contours that do not touch each other, in pixels.
        areas: The area that each shall have, in pixels.
        tolerance: Tolerance in pixels (Douglas and Peucker 1973); at least `MIN_TOLERANCE`, 0 keeps all corners.

    Returns:
        An outline for each contour, in the same order.
    """
    if not outlines:
        return []
    exact = shapely.simplify(np.array(outlines, dtype=object), 0.0, preserve_topology=True).tolist()
    exact = [new if _is_sound(new) else old for new, old in zip(exact, outlines, strict=True)]
    largest = max(tolerance, MIN_TOLERANCE) if tolerance else 0.0
    simple = shapely.simplify(np.array(exact, dtype=object), largest, preserve_topology=True).tolist()
    sized = [_with_area(new, area) for new, area in zip(simple, areas.tolist(), strict=True)]
    chosen = [new if _is_sound(new) else old for new, old in zip(sized, exact, strict=True)]
    # the few that meet another one keep their contours, which do not touch
    contours: set[int] = set()
    while True:
        first, second = shapely.STRtree(chosen).query(chosen, predicate="intersects")
        meeting = set(first[first != second].tolist()) - contours
        if not meeting:
            return chosen
        chosen = [exact[index] if index in meeting else new for index, new in enumerate(chosen)]
        contours |= meeting


def _with_area(polygon: Polygon, area: float) -> Polygon:
    """A polygon with its edges moved outwards in parallel until it has an area; corners on a curve cut it short."""
    if polygon.is_empty:
        return polygon
    turned = orient(polygon)
    for _ in range(2):
        distance = (area - turned.area) / turned.length
        edge, *holes = (
            _moved_right(shapely.get_coordinates(ring), distance)
            for ring in (turned.exterior, *turned.interiors)
        )
        turned = Polygon(edge, holes)
    return turned


def _moved_right(ring: NDArray[np.float64], distance: float) -> NDArray[np.float64]:
    """The corners (N, 2) of a closed ring whose edges are moved to the right of their direction."""
    # corners that the step before has moved onto each other are one
    corners = ring[:-1][(ring[1:] != ring[:-1]).any(axis=1)]
    if len(corners) < 3:
        return ring
    edges = np.roll(corners, -1, axis=0) - corners
    unit = edges / np.hypot(*edges.T)[:, None]
    right = np.stack([unit[:, 1], -unit[:, 0]], axis=1)
    previous = np.roll(right, 1, axis=0)
    # where two edges meet, both have moved; sharp corners are not moved further than by twice the distance
    mean = right + previous
    way = distance * mean / np.maximum(0.5, 1 + (right * previous).sum(axis=1))[:, None]
    moved: NDArray[np.float64] = corners + np.round(way / CONTOUR_STEP) * CONTOUR_STEP
    return moved


def _is_sound(outline: Polygon) -> bool:
    """Whether an outline is valid and its rings touch neither themselves nor one another."""
    if not outline.is_valid or outline.is_empty:
        return False
    return not outline.interiors or bool(
        shapely.is_simple(shapely.MultiLineString(shapely.get_rings(outline).tolist()))
    )
