"""Tissue masks, and the artifacts that hide tissue."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from histoscout.geometry.box import Box
from histoscout.recipe_sections import PatchConfig, TissueConfig
from histoscout.slides.image_reader import slide_from_array
from histoscout.tissue.mask import (
    GLASS,
    Tissue,
    clean_mask,
    close_gaps,
    find_tissue,
    join_corner_contacts,
)
from tests.strategies import masks

SIDE, MPP = 1000, 2.0


def slide_pixels() -> NDArray[np.uint8]:
    """White glass with one square of textured pink tissue, 600 px wide."""
    random = np.random.default_rng(0)
    pixels = np.full((SIDE, SIDE, 3), 244.0)
    texture = gaussian_filter(random.normal(0, 1, (600, 600)), 0.8) * 60
    pixels[200:800, 200:800] = np.array([215, 150, 190]) + texture[..., None]
    clipped: NDArray[np.uint8] = np.clip(pixels, 0, 255).astype(np.uint8)
    return clipped


def tissue_of(pixels: NDArray[np.uint8], patches_mpp: float = 1.0, **config: object) -> Tissue:
    patches = PatchConfig(mpp=patches_mpp, size_um=256.0)
    return find_tissue(slide_from_array(pixels, MPP), TissueConfig.model_validate(config), patches)


def test_the_square_of_tissue_is_found() -> None:
    tissue = tissue_of(slide_pixels())
    assert tissue.area_mm2 == pytest.approx(1.44, rel=0.04)
    inside, outside = tissue.fractions([Box(300, 300, 200, 200), Box(0, 0, 100, 100)])
    assert inside > 0.98
    assert outside < 0.02


def test_an_empty_slide_has_no_tissue_and_a_full_one_is_all_tissue() -> None:
    assert tissue_of(np.full((SIDE, SIDE, 3), 244, np.uint8)).area_mm2 == 0
    full = tissue_of(slide_pixels()[210:790, 210:790])
    assert full.area_mm2 == pytest.approx(580**2 * MPP**2 * 1e-6, rel=0.03)


def test_lumens_are_filled_and_dirt_is_not_tissue() -> None:
    pixels = slide_pixels()
    pixels[400:460, 400:460] = 244
    pixels[50:60, 50:60] = (200, 100, 150)
    tissue = tissue_of(pixels)
    lumen, dirt = tissue.fractions([Box(400, 400, 60, 60), Box(50, 50, 10, 10)])
    assert lumen > 0.95
    assert dirt == 0


def test_pen_marks_are_left_out_and_measured() -> None:
    pixels = slide_pixels()
    pixels[300:340, 250:750] = (20, 40, 170)
    tissue = tissue_of(pixels)
    assert tissue.artifact_mm2["pen"] > 0.05
    assert tissue.fractions([Box(300, 305, 400, 30)])[0] < 0.1
    assert tissue.fractions([Box(300, 500, 400, 100)])[0] > 0.95


def test_focus_is_measured_at_the_resolution_of_the_patches() -> None:
    pixels = slide_pixels()
    random = np.random.default_rng(1)
    # detail that is still visible at a lower resolution
    coarse = gaussian_filter(random.normal(0, 1, (600, 600)), 4) * 600
    pixels[200:800, 200:800] = np.clip(pixels[200:800, 200:800] + coarse[..., None], 0, 250)
    pixels[300:500, 300:700] = gaussian_filter(pixels[300:500, 300:700], (1.2, 1.2, 0))
    blurred_mm2 = 200 * 400 * MPP**2 / 1e6
    near, far = tissue_of(pixels, 1.0), tissue_of(pixels, 8.0)
    assert near.artifact_mm2["out of focus"] == pytest.approx(blurred_mm2, rel=0.35)
    assert far.artifact_mm2["out of focus"] == 0
    assert near.area_mm2 < far.area_mm2
    assert tissue_of(pixels, 1.0, artifacts=False).area_mm2 == pytest.approx(far.area_mm2)


def test_hide_artifacts_shows_glass_and_changes_nothing_else() -> None:
    pixels = slide_pixels()
    pixels[300:340, 250:750] = (20, 40, 170)
    tissue, whole = tissue_of(pixels), Box(0, 0, SIDE, SIDE)
    shown = tissue.hide_artifacts(pixels, whole, 1.0)
    hidden = tissue.artifact_mask_in(whole, 1.0)
    assert hidden[305:335, 260:740].all()
    assert (shown[hidden] == GLASS).all()
    assert np.array_equal(shown[~hidden], pixels[~hidden])
    clean = slide_pixels()
    assert tissue_of(clean).hide_artifacts(clean, whole, 1.0) is clean


def test_tile_std_keeps_tiles_that_vary() -> None:
    tissue = tissue_of(slide_pixels(), method="tile_std")
    assert tissue.fractions([Box(300, 300, 200, 200)])[0] > 0.98
    assert tissue.fractions([Box(0, 900, 100, 100)])[0] < 0.02


def test_mask_in_samples_at_pixel_centers() -> None:
    tissue = tissue_of(slide_pixels())
    mask = tissue.mask_in(Box(0, 0, SIDE, SIDE), 1.0)
    assert mask.shape == (SIDE, SIDE)
    assert mask[500, 500]
    assert not mask[20, 20]
    part = tissue.mask_in(Box(100, 150, 300, 200), 1.0)
    assert np.array_equal(part, mask[150:350, 100:400])


def test_restrict_to_keeps_the_tissue_of_the_boxes() -> None:
    tissue = tissue_of(slide_pixels())
    half = tissue.restrict_to([Box(0, 0, SIDE / 2, SIDE)])
    assert half.area_mm2 == pytest.approx(tissue.area_mm2 / 2, rel=0.02)
    assert not half.mask_in(Box(SIDE / 2 + 4, 0, SIDE / 2 - 4, SIDE), 1.0).any()


@given(masks(), st.integers(0, 3))
def test_closing_never_removes_pixels(mask: NDArray[np.bool_], radius: int) -> None:
    closed = close_gaps(mask, radius)
    assert closed.shape == mask.shape
    assert (closed | ~mask).all()


def test_small_holes_are_filled_and_small_pieces_dropped() -> None:
    mask = np.zeros((12, 12), bool)
    mask[1:8, 1:8] = True
    mask[3:5, 3:5] = False
    mask[10, 10] = True
    cleaned = clean_mask(mask, min_area_px=4, max_hole_px=4)
    assert cleaned[3:5, 3:5].all()
    assert not cleaned[10, 10]
    assert not clean_mask(mask, min_area_px=4, max_hole_px=3)[3:5, 3:5].any()


@given(masks())
def test_no_polygon_of_a_joined_mask_touches_itself(mask: NDArray[np.bool_]) -> None:
    joined = join_corner_contacts(mask)
    corners = joined[:-1, :-1] & joined[1:, 1:] & ~joined[:-1, 1:] & ~joined[1:, :-1]
    others = joined[:-1, 1:] & joined[1:, :-1] & ~joined[:-1, :-1] & ~joined[1:, 1:]
    assert not (corners | others).any()
    assert (joined | ~mask).all()
