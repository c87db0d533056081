"""Masks to polygons and back."""

import time

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.regions import Outline
from histoscout.geometry.vectorize import CONTOUR_STEP, contour_polygons, mask_to_polygons
from histoscout.tissue.mask import join_corner_contacts
from tests.strategies import masks, outlines

Mask = NDArray[np.bool_]


def box_of_mask(mask: Mask, scale: float = 1.0) -> Box:
    return Box(-7.5, 21.25, mask.shape[1] * scale, mask.shape[0] * scale)


@given(masks(), st.sampled_from([0.25, 1.0, 3.0, 16.064]))
def test_polygons_draw_the_mask_again(mask: Mask, scale: float) -> None:
    box = box_of_mask(mask, scale)
    total = sum(
        (polygon_to_mask(outline, box, scale).astype(int) for outline in mask_to_polygons(mask, box, scale)),
        np.zeros(mask.shape, int),
    )
    np.testing.assert_array_equal(total, mask)


@given(masks())
def test_each_piece_has_one_valid_polygon_of_its_area(mask: Mask) -> None:
    pieces, count = ndimage.label(mask)
    polygons = mask_to_polygons(mask, box_of_mask(mask), 1.0)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    assert [outline.area for outline in polygons] == areas.tolist()
    assert all(outline.is_valid for outline in polygons)


@given(masks())
def test_polygons_have_no_superfluous_points(mask: Mask) -> None:
    for outline in mask_to_polygons(mask, box_of_mask(mask), 1.0):
        for ring in (outline.exterior, *outline.interiors):
            steps = np.diff(shapely.get_coordinates(ring), axis=0)
            turns = steps * np.roll(steps, 1, axis=0)
            # each step is at right angles to the one before
            assert not turns.any()


@given(masks(), st.integers(-100, 100), st.integers(-100, 100))
def test_translating_the_box_translates_the_polygons(mask: Mask, dx: int, dy: int) -> None:
    box = box_of_mask(mask)
    moved = mask_to_polygons(mask, box.translate(dx, dy), 1.0)
    assert moved == [
        shapely.affinity.translate(outline, dx, dy) for outline in mask_to_polygons(mask, box, 1.0)
    ]


@given(outlines())
def test_polygon_to_mask_to_polygon_keeps_the_area_within_a_pixel(outline: Outline) -> None:
    box, scale = Box(-96, -96, 192, 192), 0.5
    again = shapely.union_all(mask_to_polygons(polygon_to_mask(outline, box, scale), box, scale))
    rim = outline.length * scale * 2 + 4 * scale * scale
    assert shapely.symmetric_difference(again, outline).area <= rim


def test_pieces_that_touch_at_a_corner_stay_separate() -> None:
    assert len(mask_to_polygons(np.eye(3, dtype=bool), Box(0, 0, 3, 3), 1)) == 3


def test_a_ring_that_closes_at_a_corner_has_a_hole() -> None:
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)
    (outline,) = mask_to_polygons(mask, Box(0, 0, 3, 3), 1)
    assert outline.is_valid
    assert len(outline.interiors) == 1


@pytest.mark.parametrize("mask", [np.zeros((4, 5), bool), np.zeros((0, 3), bool)])
def test_an_empty_mask_has_no_polygons(mask: Mask) -> None:
    assert mask_to_polygons(mask, Box(0, 0, 5, 4), 1) == []


def test_a_strided_view_is_accepted() -> None:
    mask = np.zeros((10, 10), bool)
    mask[::4, ::4] = True
    assert len(mask_to_polygons(mask[::2, ::2], Box(0, 0, 5, 5), 1)) == 9


def test_a_thousand_blobs_take_about_a_second() -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((2048, 2048)), 8)
    mask = noise > noise.std()
    before = time.process_time()
    polygons = mask_to_polygons(mask, Box(0, 0, 2048, 2048), 1)
    assert len(polygons) > 1000
    # 0.2 s on an idle machine; a search in pure Python takes minutes
    assert time.process_time() - before < 3


# ---------------------------------------------------------------- contours


@given(masks(), st.integers(0, 2**32 - 1))
def test_a_contour_is_around_the_centers_of_the_mask_and_of_nothing_else(mask: Mask, seed: int) -> None:
    mask = join_corner_contacts(mask)
    random = np.random.default_rng(seed)
    levels = np.full((mask.shape[0] + 2, mask.shape[1] + 2), np.nan, np.float32)
    levels[1:-1, 1:-1] = np.where(
        mask, random.integers(100, 256, mask.shape), random.integers(0, 100, mask.shape)
    )
    contours = contour_polygons(mask, levels, 99.5)
    assert len(contours) == ndimage.label(mask)[1]
    box = Box(0, 0, mask.shape[1], mask.shape[0])
    drawn = [polygon_to_mask(contour, box, 1.0).astype(int) for contour in contours if contour.is_valid]
    np.testing.assert_array_equal(sum(drawn, np.zeros(mask.shape, int)), mask)
    points = np.concatenate([np.zeros((0, 2)), *(shapely.get_coordinates(each) for each in contours)])
    np.testing.assert_array_equal(points / CONTOUR_STEP, np.round(points / CONTOUR_STEP))


def test_a_contour_is_where_the_level_is_the_threshold() -> None:
    rows, columns = np.mgrid[:42, :42] - 0.5
    # a cone, whose level at a distance of 12 pixels is 100
    levels = (220 - 10 * np.hypot(columns - 20, rows - 20)).astype(np.float32)
    (contour,) = contour_polygons(levels[1:-1, 1:-1] >= 100, levels, 100)
    distances = np.hypot(*(shapely.get_coordinates(contour) - 20).T)
    assert abs(distances - 12).max() < 0.05
    assert contour.area == pytest.approx(np.pi * 12**2, rel=0.005)


def test_where_levels_are_unknown_a_contour_follows_the_pixels() -> None:
    mask = np.ones((3, 4), bool)
    (contour,) = contour_polygons(mask, np.full((5, 6), np.nan, np.float32), 1)
    assert contour.convex_hull.bounds == (0, 0, 4, 3)
