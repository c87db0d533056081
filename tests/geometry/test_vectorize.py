import time

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import mask_of
from histoscout.geometry.regions import Outline
from histoscout.geometry.vectorize import trace
from tests.strategies import masks, outlines

Mask = NDArray[np.bool_]


def of_mask(mask: Mask, scale: float = 1.0) -> Box:
    return Box(-7.5, 21.25, mask.shape[1] * scale, mask.shape[0] * scale)


@given(masks(), st.sampled_from([0.25, 1.0, 3.0, 16.064]))
def test_the_mask_of_the_outlines_is_the_mask(mask: Mask, scale: float) -> None:
    box = of_mask(mask, scale)
    painted = sum(
        (mask_of(outline, box, scale).astype(int) for outline in trace(mask, box, scale)),
        np.zeros(mask.shape, int),
    )
    np.testing.assert_array_equal(painted, mask)


@given(masks())
def test_each_piece_of_pixels_has_one_valid_outline_of_its_area(mask: Mask) -> None:
    pieces, count = ndimage.label(mask)
    found = trace(mask, of_mask(mask), 1.0)
    assert [outline.area for outline in found] == np.bincount(pieces.ravel(), minlength=count + 1)[
        1:
    ].tolist()
    assert all(outline.is_valid for outline in found)


@given(masks())
def test_outlines_have_no_needless_points(mask: Mask) -> None:
    for outline in trace(mask, of_mask(mask), 1.0):
        for ring in (outline.exterior, *outline.interiors):
            steps = np.diff(shapely.get_coordinates(ring), axis=0)
            turns = steps * np.roll(steps, 1, axis=0)
            assert not turns.any()  # each step is at right angles to the one before


@given(masks(), st.integers(-100, 100), st.integers(-100, 100))
def test_moving_the_box_moves_the_outlines(mask: Mask, dx: int, dy: int) -> None:
    box = of_mask(mask)
    moved = trace(mask, box.moved(dx, dy), 1.0)
    assert moved == [shapely.affinity.translate(outline, dx, dy) for outline in trace(mask, box, 1.0)]


@given(outlines())
def test_outline_to_mask_to_outline_keeps_the_area_within_a_pixels_rim(outline: Outline) -> None:
    box, scale = Box(-96, -96, 192, 192), 0.5
    again = shapely.union_all(trace(mask_of(outline, box, scale), box, scale))
    rim = outline.length * scale * 2 + 4 * scale * scale
    assert shapely.symmetric_difference(again, outline).area <= rim


def test_pieces_that_touch_at_a_corner_stay_apart() -> None:
    assert len(trace(np.eye(3, dtype=bool), Box(0, 0, 3, 3), 1)) == 3


def test_a_ring_that_closes_at_a_corner_has_a_hole() -> None:
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)
    (outline,) = trace(mask, Box(0, 0, 3, 3), 1)
    assert outline.is_valid
    assert len(outline.interiors) == 1


@pytest.mark.parametrize("mask", [np.zeros((4, 5), bool), np.zeros((0, 3), bool)])
def test_an_empty_mask_has_no_outlines(mask: Mask) -> None:
    assert trace(mask, Box(0, 0, 5, 4), 1) == []


def test_a_view_of_a_larger_mask_is_traced_as_well() -> None:
    mask = np.zeros((10, 10), bool)
    mask[::4, ::4] = True
    assert len(trace(mask[::2, ::2], Box(0, 0, 5, 5), 1)) == 9


def test_a_thousand_blobs_take_about_a_second() -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((2048, 2048)), 8)
    mask = noise > noise.std()
    before = time.process_time()
    found = trace(mask, Box(0, 0, 2048, 2048), 1)
    assert len(found) > 1000
    assert time.process_time() - before < 3  # 0.2 s on a quiet machine; a search in pure Python takes minutes
