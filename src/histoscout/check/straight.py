"""Whether masks were drawn as rectangles or along what they show, told by their edges alone."""

from collections.abc import Iterable

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.geometry.box import Box
from histoscout.geometry.trace import trace
from histoscout.recipe import BACKGROUND, IGNORE

STEP_PX = 1.5  # a straight edge that does not lie along the pixels is a stair of this height
LONG = 0.6  # of the side of a square as large as the piece: a rectangle's edges are longer, a curve's are not
LEAST_PX = 16.0  # side of the smallest pieces that have a shape


def straightness(masks: Iterable[NDArray[np.uint8]]) -> float:
    """The share of all edges that are long and straight: about .8 for rectangles, .2 for outlines along glands.

    Masks uint8 (H, W): 0 background, 255 ignore, else classes; edges along the border of a mask do not count. 0 if there
    are no edges.
    """
    straight = whole = 0.0
    for mask in masks:
        rows, columns = mask.shape
        frame = Box(0, 0, columns, rows)
        for piece in trace((mask != BACKGROUND) & (mask != IGNORE), frame, 1.0):
            side = float(np.sqrt(piece.area))
            if side >= LEAST_PX:
                lengths = _edges(piece, frame)
                straight += float(lengths[lengths > LONG * side].sum())
                whole += float(lengths.sum())
    return straight / whole if whole else 0.0


def _edges(piece: shapely.Polygon, frame: Box) -> NDArray[np.float64]:
    """The lengths of a piece's outer edges, stairs smoothed, without those along the frame: float64 (N,)."""
    corners = np.array(shapely.LineString(piece.exterior.coords).simplify(STEP_PX).coords)
    starts, ends = corners[:-1], corners[1:]
    limits = np.array([frame.width, frame.height])
    along = ((starts == ends) & ((starts <= 0) | (starts >= limits))).any(1)
    return np.asarray(np.linalg.norm(ends - starts, axis=1)[~along])
