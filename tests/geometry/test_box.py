import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.geometry.box import Box

WHOLE = st.integers(-1000, 1000).map(float)
BOXES = st.builds(Box, WHOLE, WHOLE, *[st.integers(1, 500).map(float)] * 2)


def test_shape_counts_rows_before_columns() -> None:
    assert Box(0, 0, 100, 50).shape(2) == (25, 50)


def test_shape_has_at_least_one_pixel() -> None:
    assert Box(0, 0, 1, 1).shape(100) == (1, 1)


def test_around_is_centerd() -> None:
    box = Box.around(10, 20, 4, 6)
    assert box.center == (10, 20)
    assert box.bounds == (8, 17, 12, 23)


def test_boxes_that_touch_share_nothing() -> None:
    assert Box(0, 0, 10, 10).intersection(Box(10, 0, 10, 10)) is None


@given(BOXES, BOXES)
def test_intersection_is_in_both_and_does_not_depend_on_order(one: Box, other: Box) -> None:
    common = one.intersection(other)
    assert common == other.intersection(one)
    if common is None:
        apart = one.right <= other.x or other.right <= one.x or one.bottom <= other.y or other.bottom <= one.y
        assert apart
    else:
        assert one.contains(common)
        assert other.contains(common)
        assert common.area > 0


@given(BOXES, WHOLE, WHOLE)
def test_moving_there_and_back_changes_nothing(box: Box, dx: float, dy: float) -> None:
    assert box.moved(dx, dy).moved(-dx, -dy) == box
    assert box.moved(dx, dy).area == box.area


@given(BOXES, st.integers(1, 100))
def test_a_grown_box_contains_the_box(box: Box, margin: int) -> None:
    assert box.grown(margin).contains(box)
    assert box.grown(margin).grown(-margin) == box


def test_a_box_is_a_value() -> None:
    box = Box(1, 2, 3, 4)
    assert pickle.loads(pickle.dumps(box)) == box  # noqa: S301 workers get boxes this way
    with pytest.raises(AttributeError):
        box.x = 5  # type: ignore[misc]
