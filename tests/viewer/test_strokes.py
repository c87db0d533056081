"""Laws of strokes: exact, valid, reversible."""

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from histoscout.errors import ReviewError
from histoscout.viewer.strokes import add_stroke, brush_outline, erase_stroke, merge_outlines, split_outline

SQUARE = shapely.box(0, 0, 200, 200)
NUMBERS = st.floats(-300, 500, allow_nan=False)
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=12)
RADII = st.floats(0.5, 80)


@given(POINTS, RADII)
def test_a_brush_adds_what_it_covers(points: list[tuple[float, float]], radius: float) -> None:
    outline = add_stroke(SQUARE, points, radius)
    whole = SQUARE.union(brush_outline(points, radius))
    assert outline.is_valid
    # simplified by a twentieth of the radius
    assert outline.hausdorff_distance(whole) <= radius / 10 + 1e-6


@given(POINTS, RADII)
def test_an_eraser_takes_what_it_covers(points: list[tuple[float, float]], radius: float) -> None:
    stroke = brush_outline(points, radius)
    left = erase_stroke(SQUARE, points, radius)
    area = 0.0 if left is None else left.area
    assert area == pytest.approx(SQUARE.difference(stroke).area, abs=1e-6)
    assert left is None or left.is_valid


def test_erasing_the_middle_leaves_a_hole() -> None:
    left = erase_stroke(SQUARE, [(100, 100)], 20)
    assert isinstance(left, shapely.Polygon)
    assert len(left.interiors) == 1


@given(st.floats(5, 195), st.floats(5, 195))
def test_parts_of_a_cut_merge_to_the_whole(left: float, right: float) -> None:
    parts = split_outline(SQUARE, [(-10, left), (210, right)])
    assert len(parts) == 2
    assert merge_outlines(parts).area == pytest.approx(SQUARE.area)


@pytest.mark.parametrize("points", [[], [(float("nan"), 0)], [(1e12, 0)]])
def test_impossible_strokes_are_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ReviewError):
        brush_outline(points, 5)


def test_a_line_beside_the_region_is_no_cut() -> None:
    with pytest.raises(ReviewError):
        split_outline(SQUARE, [(-10, -10), (300, -10)])
