"""The shapes that slide viewers know by name, as outlines."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

from histoscout.annotations.json_geometry import FARTHEST, Drawn, joined
from histoscout.errors import AnnotationError

Shape = Literal["polygon", "rectangle", "ellipse"]
ELLIPSE_POINTS = 120  # their polygon has .05 % less area than the ellipse


def drawn_shape(shape: Shape, points: NDArray[np.float64], where: str) -> Drawn:
    """The outline of a shape given by its points, float64 (N, 2) in level-0 px.

    A rectangle may be given by two opposite corners or by all four, which may be turned; an ellipse by two corners
    of the rectangle round it. AnnotationError for points where no slide is.
    """
    check_points(points, where)
    if len(points) < 2 or (shape == "polygon" and len(points) < 3):
        return Drawn(None, mended=False, without_area=())
    outline, mended = joined([_polygon(shape, points)], several=False)
    return Drawn(outline, mended, ())


def _polygon(shape: Shape, points: NDArray[np.float64]) -> Polygon:
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    if shape == "rectangle" and len(points) < 4:
        return Polygon([(left, top), (right, top), (right, bottom), (left, bottom)])
    if shape == "ellipse" and len(points) <= 4:
        turns = np.arange(ELLIPSE_POINTS) * (2 * np.pi / ELLIPSE_POINTS)
        radii = np.array([right - left, bottom - top]) / 2
        centre = np.array([left + right, top + bottom]) / 2
        return Polygon(centre + radii * np.stack([np.cos(turns), np.sin(turns)], axis=1))
    return Polygon(points)


def check_points(points: NDArray[np.float64], where: str) -> None:
    """AnnotationError if one of the points, float64 (N, 2) in level-0 px, lies where no slide is, or nowhere."""
    far = np.flatnonzero(~(np.abs(points) <= FARTHEST).all(axis=1))
    if len(far):
        x, y = points[far[0]]
        fault = f"point {far[0] + 1} of an outline is at {x:g}, {y:g}, where no slide is"
        raise AnnotationError(where, fault, "Correct this coordinate, or export the file again")
