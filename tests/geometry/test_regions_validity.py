"""Rings that cross: the area that they enclose, and when they cross too often."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon, box

from histoscout.geometry.regions import fill_even_odd, has_too_many_crossings

points = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=3, max_size=9)
# points that are on no edge between whole numbers
SAMPLES = np.mgrid[:30, :30][::-1] + np.array([0.3717, 0.4139])[:, None, None]


def inside_even_odd(ring: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The points with an odd number of edges to their left."""
    x, y = SAMPLES
    inside = np.zeros(x.shape, bool)
    for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if y1 != y2:
            inside ^= ((y1 > y) != (y2 > y)) & (x > x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside


@given(st.lists(points, max_size=4))
def test_a_point_is_inside_if_an_odd_number_of_rings_enclose_it(polygon: list[list[tuple[int, int]]]) -> None:
    rings = [np.array(ring, np.float64) for ring in polygon]
    odd = np.zeros(SAMPLES[0].shape, bool)
    for ring in rings:
        odd ^= inside_even_odd(ring)
    outline = fill_even_odd(rings)
    assert np.array_equal(shapely.contains_xy(outline or Polygon(), *SAMPLES), odd)
    assert outline is None or outline.is_valid


def test_closed_and_open_rings_are_equal() -> None:
    ring = np.array([[0, 0], [4, 4], [4, 0], [0, 4]], np.float64)
    assert fill_even_odd([ring]) == fill_even_odd([np.vstack([ring, ring[:1]])])


def test_it_agrees_with_make_valid() -> None:
    ring = np.random.default_rng(0).uniform(0, 1000, (40, 2))
    filled, expected = fill_even_odd([ring]), shapely.make_valid(Polygon(ring))
    assert filled is not None
    assert filled.symmetric_difference(expected).area < 1e-6 * expected.area


@pytest.mark.parametrize("rings", [[], [[[0, 0], [1, 1], [2, 2]]], [[[5, 5]] * 4]])
def test_rings_that_enclose_nothing_give_none(rings: list[list[list[float]]]) -> None:
    assert fill_even_odd([np.array(ring, np.float64) for ring in rings]) is None


def test_ordinary_polygons_do_not_have_too_many_crossings() -> None:
    turns = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    shaking = np.random.default_rng(0).normal(0, 0.02, (len(turns), 2))
    assert not has_too_many_crossings(
        Polygon(100 * np.stack([np.cos(turns), np.sin(turns)], axis=1) + shaking)
    )
    assert not has_too_many_crossings(Polygon(np.random.default_rng(0).uniform(0, 100, (20, 2))))
    assert not has_too_many_crossings(MultiPolygon([box(i, i, i + 2, i + 2) for i in range(1000)]))
    assert not has_too_many_crossings(Polygon())


@pytest.mark.parametrize("count", [150, 1000, 10_000])
def test_a_scribble_has_too_many_crossings(count: int) -> None:
    assert has_too_many_crossings(Polygon(np.random.default_rng(0).uniform(0, 1e4, (count, 2))))


def test_many_overlapping_parts_have_too_many_crossings() -> None:
    strips = [
        shapely.affinity.rotate(box(0, 0, 1000, 1), angle, origin=(500, 0))
        for angle in np.arange(0, 180, 0.5)
    ]
    assert has_too_many_crossings(MultiPolygon(strips))


def test_long_parallel_lines_are_rejected_early() -> None:
    """They do not cross, but each would have to be compared with all others."""
    steps = np.arange(10_000)
    zigzag = np.stack([steps + 1e6 * (steps % 2), steps + 1e6 * (steps % 2)], axis=1).astype(np.float64)
    zigzag[:, 1] += steps
    assert has_too_many_crossings(Polygon(zigzag))
