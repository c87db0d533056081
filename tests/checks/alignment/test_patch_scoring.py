"""Fit of patches: glass is recognized in any color; rectangles are distinguished from round outlines."""

import math

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from shapely.affinity import rotate

from histoscout.checks.alignment.patch_scoring import find_glass, straightness
from histoscout.checks.alignment.patches import RECTANGLES
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.recipe_sections import AugmentConfig
from histoscout.sampling.augment import vary_colors

SIDE, PER_CELL = 256, 4
Picture = NDArray[np.uint8]
FRAME = Box(0, 0, 128, 128)


def tissue(seed: int = 0) -> Picture:
    """Uneven as tissue is, pale stroma beside dark nests: gray values from 90 to 215 or so."""
    random = np.random.default_rng(seed)
    uneven = gaussian_filter(random.normal(0, 1, (SIDE, SIDE)), 6)
    shown = np.array([190, 150, 185]) + (uneven / uneven.std() * 22)[..., None]
    picture: Picture = np.clip(shown, 0, 255).astype(np.uint8)
    return picture


def half_glass(seed: int = 0) -> Picture:
    picture = tissue(seed)
    picture[:, : SIDE // 2] = np.random.default_rng(seed).integers(238, 246, (SIDE, SIDE // 2, 3))
    return picture


@pytest.mark.parametrize("darker", [1.0, 0.9, 0.75, 0.65])
def test_glass_is_found_however_dark(darker: float) -> None:
    found = find_glass((half_glass() * darker).astype(np.uint8), PER_CELL)
    half = found.shape[1] // 2
    assert found[:, : half - 1].mean() > 0.99
    assert found[:, half + 1 :].mean() < 0.05


@pytest.mark.parametrize("stain", [0.07, 0.2])
def test_glass_is_found_after_strong_jitter(stain: float) -> None:
    choices = AugmentConfig(stain=stain, brightness=0.1)
    right = []
    for number in range(24):
        found = find_glass(vary_colors(half_glass(), choices, np.random.default_rng(number)), PER_CELL)
        half = found.shape[1] // 2
        right.append(found[:, : half - 1].mean() > 0.95 and found[:, half + 1 :].mean() < 0.2)
    assert np.mean(right) >= 0.9


@pytest.mark.parametrize("lighter", [1.0, 1.15, 1.3])
def test_pale_tissue_without_glass_is_tissue(lighter: float) -> None:
    found = [
        find_glass(np.clip(tissue(seed) * lighter, 0, 255).astype(np.uint8), PER_CELL) for seed in range(8)
    ]
    assert np.mean([one.mean() for one in found]) < 0.03


def test_a_white_window_is_glass_and_a_dark_one_is_not() -> None:
    assert find_glass(np.full((SIDE, SIDE, 3), 255, np.uint8), PER_CELL).all()
    for gray in (0, 120):
        assert not find_glass(np.full((SIDE, SIDE, 3), gray, np.uint8), PER_CELL).any()


# ---------------------------------------------------------------- rectangles


def painted(shape: shapely.Polygon) -> NDArray[np.uint8]:
    return polygon_to_mask(shape, FRAME, 1.0).astype(np.uint8)


@pytest.mark.parametrize("angle", [0, 10, 30, 45])
@pytest.mark.parametrize("size", [(20, 30), (60, 40), (90, 90)])
def test_rectangles_are_straight(angle: float, size: tuple[int, int]) -> None:
    rectangle = rotate(shapely.box(20, 20, 20 + size[0], 20 + size[1]), angle)
    assert straightness([painted(rectangle)]) > 0.8


@pytest.mark.parametrize("radius", [8, 20, 45])
def test_round_annotations_are_not(radius: float) -> None:
    angles = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    wavy = radius * (1 + 0.15 * np.sin(5 * angles))
    ring = shapely.Polygon(np.column_stack([64 + wavy * np.cos(angles), 64 + 0.7 * wavy * np.sin(angles)]))
    assert straightness([painted(ring)]) < RECTANGLES


def test_the_border_of_the_mask_is_no_edge() -> None:
    cut = painted(shapely.Point(0, 64).buffer(50))
    assert straightness([cut]) < RECTANGLES
    assert straightness([np.ones((64, 64), np.uint8)]) == 0
    assert straightness([]) == 0
