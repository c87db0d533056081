"""Glass is known by its evenness beside tissue, however light or dark the window was made."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from histoscout.checks.alignment.patches import find_glass
from histoscout.recipe_sections import AugmentConfig
from histoscout.sampling.augment import vary_colors

SIDE, PER_CELL = 256, 4
Picture = NDArray[np.uint8]


def tissue(seed: int = 0) -> Picture:
    """Uneven as tissue is, pale stroma beside dark nests: greys from 90 to 215 or so."""
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
