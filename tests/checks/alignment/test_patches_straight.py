"""Rectangles are told from outlines along something round, however they lie."""

import math

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely.affinity import rotate

from histoscout.checks.alignment.patches import RECTANGLES, straightness
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask

FRAME = Box(0, 0, 128, 128)


def painted(shape: shapely.Polygon) -> NDArray[np.uint8]:
    return polygon_to_mask(shape, FRAME, 1.0).astype(np.uint8)


@pytest.mark.parametrize("angle", [0, 10, 30, 45])
@pytest.mark.parametrize("size", [(20, 30), (60, 40), (90, 90)])
def test_rectangles_are_straight(angle: float, size: tuple[int, int]) -> None:
    rectangle = rotate(shapely.box(20, 20, 20 + size[0], 20 + size[1]), angle)
    assert straightness([painted(rectangle)]) > 0.8


@pytest.mark.parametrize("radius", [8, 20, 45])
def test_round_outlines_are_not(radius: float) -> None:
    angles = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    wavy = radius * (1 + 0.15 * np.sin(5 * angles))
    ring = shapely.Polygon(np.column_stack([64 + wavy * np.cos(angles), 64 + 0.7 * wavy * np.sin(angles)]))
    assert straightness([painted(ring)]) < RECTANGLES


def test_the_border_of_the_mask_is_no_edge() -> None:
    cut = painted(shapely.Point(0, 64).buffer(50))
    assert straightness([cut]) < RECTANGLES
    assert straightness([np.ones((64, 64), np.uint8)]) == 0
    assert straightness([]) == 0
