"""Rings that cross: what they enclose, and when they cross too often."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon, box

from histoscout.geometry.validity import even_odd, is_tangled

points = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=3, max_size=9)
PLACES = (
    np.mgrid[:30, :30][::-1] + np.array([0.3717, 0.4139])[:, None, None]
)  # on no edge between whole numbers


def crossed_oddly(ring: NDArray[np.float64]) -> NDArray[np.bool_]:
    """At which places an odd number of edges lie to the left."""
    x, y = PLACES
    inside = np.zeros(x.shape, bool)
    for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if y1 != y2:
            inside ^= ((y1 > y) != (y2 > y)) & (x > x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside


@given(st.lists(points, max_size=4))
def test_a_place_is_inside_if_an_odd_number_of_rings_enclose_it(drawn: list[list[tuple[int, int]]]) -> None:
    rings = [np.array(ring, np.float64) for ring in drawn]
    odd = np.zeros(PLACES[0].shape, bool)
    for ring in rings:
        odd ^= crossed_oddly(ring)
    outline = even_odd(rings)
    assert np.array_equal(shapely.contains_xy(outline or Polygon(), *PLACES), odd)
    assert outline is None or outline.is_valid


def test_a_closed_ring_is_as_good_as_an_open_one() -> None:
    ring = np.array([[0, 0], [4, 4], [4, 0], [0, 4]], np.float64)
    assert even_odd([ring]) == even_odd([np.vstack([ring, ring[:1]])])


def test_it_agrees_with_make_valid() -> None:
    ring = np.random.default_rng(0).uniform(0, 1000, (40, 2))
    ours, theirs = even_odd([ring]), shapely.make_valid(Polygon(ring))
    assert ours is not None
    assert ours.symmetric_difference(theirs).area < 1e-6 * theirs.area


@pytest.mark.parametrize("rings", [[], [[[0, 0], [1, 1], [2, 2]]], [[[5, 5]] * 4]])
def test_rings_that_enclose_nothing_are_none(rings: list[list[list[float]]]) -> None:
    assert even_odd([np.array(ring, np.float64) for ring in rings]) is None


def test_what_hands_and_programs_draw_is_not_tangled() -> None:
    turns = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    shaking = np.random.default_rng(0).normal(0, 0.02, (len(turns), 2))
    assert not is_tangled(Polygon(100 * np.stack([np.cos(turns), np.sin(turns)], axis=1) + shaking))
    assert not is_tangled(Polygon(np.random.default_rng(0).uniform(0, 100, (20, 2))))
    assert not is_tangled(MultiPolygon([box(i, i, i + 2, i + 2) for i in range(1000)]))
    assert not is_tangled(Polygon())


@pytest.mark.parametrize("count", [150, 1000, 10_000])
def test_a_scribble_all_over_is_tangled(count: int) -> None:
    assert is_tangled(Polygon(np.random.default_rng(0).uniform(0, 1e4, (count, 2))))


def test_many_parts_across_each_other_are_tangled() -> None:
    strips = [
        shapely.affinity.rotate(box(0, 0, 1000, 1), angle, origin=(500, 0))
        for angle in np.arange(0, 180, 0.5)
    ]
    assert is_tangled(MultiPolygon(strips))


def test_long_lines_side_by_side_are_given_up_on_early() -> None:
    """They cross nowhere, yet each would have to be compared with all."""
    steps = np.arange(10_000)
    zigzag = np.stack([steps + 1e6 * (steps % 2), steps + 1e6 * (steps % 2)], axis=1).astype(np.float64)
    zigzag[:, 1] += steps
    assert is_tangled(Polygon(zigzag))
