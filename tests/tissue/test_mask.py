"""Where there is tissue, and what hides it."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from histoscout.geometry.box import Box
from histoscout.recipe import PatchConfig
from histoscout.recipe import TissueConfig as Choices
from histoscout.slides.image_reader import in_memory
from histoscout.tissue.mask import GLASS, Tissue, find_tissue

SIDE, MPP = 1000, 2.0


def slide_pixels() -> NDArray[np.uint8]:
    """White glass with one square of textured pink tissue, 600 px wide."""
    random = np.random.default_rng(0)
    pixels = np.full((SIDE, SIDE, 3), 244.0)
    texture = gaussian_filter(random.normal(0, 1, (600, 600)), 0.8) * 60
    pixels[200:800, 200:800] = np.array([215, 150, 190]) + texture[..., None]
    drawn: NDArray[np.uint8] = np.clip(pixels, 0, 255).astype(np.uint8)
    return drawn


def look(pixels: NDArray[np.uint8], windows_mpp: float = 1.0, **choices: object) -> Tissue:
    windows = PatchConfig(mpp=windows_mpp, size_um=256.0)
    return find_tissue(in_memory(pixels, MPP), Choices.model_validate(choices), windows)


def test_the_square_is_found() -> None:
    tissue = look(slide_pixels())
    assert tissue.area_mm2 == pytest.approx(1.44, rel=0.04)
    inside, outside = tissue.shares([Box(300, 300, 200, 200), Box(0, 0, 100, 100)])
    assert inside > 0.98
    assert outside < 0.02


def test_white_glass_has_none_and_a_full_slide_is_all_tissue() -> None:
    assert look(np.full((SIDE, SIDE, 3), 244, np.uint8)).area_mm2 == 0
    full = look(slide_pixels()[210:790, 210:790])
    assert full.area_mm2 == pytest.approx(580**2 * MPP**2 * 1e-6, rel=0.03)


def test_lumens_are_filled_and_dirt_is_not_tissue() -> None:
    pixels = slide_pixels()
    pixels[400:460, 400:460] = 244
    pixels[50:60, 50:60] = (200, 100, 150)
    tissue = look(pixels)
    lumen, dirt = tissue.shares([Box(400, 400, 60, 60), Box(50, 50, 10, 10)])
    assert lumen > 0.95
    assert dirt == 0


def test_pen_is_left_out_and_told() -> None:
    pixels = slide_pixels()
    pixels[300:340, 250:750] = (20, 40, 170)
    tissue = look(pixels)
    assert tissue.artifacts["pen"] > 0.05
    assert tissue.shares([Box(300, 305, 400, 30)])[0] < 0.1
    assert tissue.shares([Box(300, 500, 400, 100)])[0] > 0.95


def test_out_of_focus_is_what_a_network_at_its_resolution_would_miss() -> None:
    pixels = slide_pixels()
    random = np.random.default_rng(1)
    coarse = gaussian_filter(random.normal(0, 1, (600, 600)), 4) * 600  # what is seen from further away
    pixels[200:800, 200:800] = np.clip(pixels[200:800, 200:800] + coarse[..., None], 0, 250)
    pixels[300:500, 300:700] = gaussian_filter(pixels[300:500, 300:700], (1.2, 1.2, 0))
    blurred_mm2 = 200 * 400 * MPP**2 / 1e6
    near, far = look(pixels, 1.0), look(pixels, 8.0)
    assert near.artifacts["out of focus"] == pytest.approx(blurred_mm2, rel=0.35)
    assert far.artifacts["out of focus"] == 0
    assert near.area_mm2 < far.area_mm2
    assert look(pixels, 1.0, artifacts=False).area_mm2 == pytest.approx(far.area_mm2)


def test_what_is_left_out_is_shown_as_glass_and_nothing_else_changes() -> None:
    pixels = slide_pixels()
    pixels[300:340, 250:750] = (20, 40, 170)
    tissue, whole = look(pixels), Box(0, 0, SIDE, SIDE)
    shown = tissue.covered(pixels, whole, 1.0)
    hidden = tissue.left_out_of(whole, 1.0)
    assert hidden[305:335, 260:740].all()
    assert (shown[hidden] == GLASS).all()
    assert np.array_equal(shown[~hidden], pixels[~hidden])
    clean = slide_pixels()
    assert look(clean).covered(clean, whole, 1.0) is clean


def test_the_rule_of_the_study_keeps_tiles_that_vary() -> None:
    tissue = look(slide_pixels(), method="tile_std")
    assert tissue.shares([Box(300, 300, 200, 200)])[0] > 0.98
    assert tissue.shares([Box(0, 900, 100, 100)])[0] < 0.02


def test_the_mask_of_a_box_is_sampled_at_its_pixel_centers() -> None:
    tissue = look(slide_pixels())
    mask = tissue.mask_of(Box(0, 0, SIDE, SIDE), 1.0)
    assert mask.shape == (SIDE, SIDE)
    assert mask[500, 500]
    assert not mask[20, 20]
    part = tissue.mask_of(Box(100, 150, 300, 200), 1.0)
    assert np.array_equal(part, mask[150:350, 100:400])
