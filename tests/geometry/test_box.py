"""Boxes and grids of tiles."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.geometry.box import Box, TileGrid

WHOLE = st.integers(-1000, 1000).map(float)
LENGTHS = st.floats(1, 3000)
BOXES = st.builds(Box, WHOLE, WHOLE, *[st.integers(1, 500).map(float)] * 2)


def test_shape_counts_rows_before_columns() -> None:
    assert Box(0, 0, 100, 50).shape(2) == (25, 50)


def test_shape_has_at_least_one_pixel() -> None:
    assert Box(0, 0, 1, 1).shape(100) == (1, 1)


def test_around_is_centered() -> None:
    box = Box.around(10, 20, 4, 6)
    assert box.center == (10, 20)
    assert box.bounds == (8, 17, 12, 23)


def test_touching_boxes_have_no_intersection() -> None:
    assert Box(0, 0, 10, 10).intersection(Box(10, 0, 10, 10)) is None


@given(BOXES, BOXES)
def test_intersection_is_in_both_boxes_in_either_order(box: Box, other: Box) -> None:
    common = box.intersection(other)
    assert common == other.intersection(box)
    if common is None:
        apart = box.right <= other.x or other.right <= box.x or box.bottom <= other.y or other.bottom <= box.y
        assert apart
    else:
        assert box.contains(common)
        assert other.contains(common)
        assert common.area > 0


@given(BOXES, WHOLE, WHOLE)
def test_translating_back_and_forth_changes_nothing(box: Box, dx: float, dy: float) -> None:
    assert box.translate(dx, dy).translate(-dx, -dy) == box
    assert box.translate(dx, dy).area == box.area


@given(BOXES, st.integers(1, 100))
def test_an_expanded_box_contains_the_box(box: Box, margin: int) -> None:
    assert box.expand(margin).contains(box)
    assert box.expand(margin).expand(-margin) == box


def test_a_box_is_immutable_and_pickles() -> None:
    box = Box(1, 2, 3, 4)
    assert pickle.loads(pickle.dumps(box)) == box  # noqa: S301
    with pytest.raises(AttributeError):
        box.x = 5  # type: ignore[misc]


@st.composite
def grids(draw: st.DrawFn, overflow: str = "keep") -> TileGrid:
    origin = st.floats(-500, 500)
    side = draw(st.floats(150, 900))
    stride = side * draw(st.sampled_from([0.5, 2 / 3, 1.0]))
    box = Box(draw(origin), draw(origin), draw(LENGTHS), draw(LENGTHS))
    return TileGrid(box, side, stride, overflow="keep" if overflow == "keep" else "drop")


@given(grids(), st.floats(0, 1), st.floats(0, 1))
def test_every_point_of_the_box_is_in_a_tile(grid: TileGrid, across: float, down: float) -> None:
    x, y = grid.box.x + across * grid.box.width, grid.box.y + down * grid.box.height
    rounding = 1e-6 * grid.side
    assert any(
        tile.x - rounding <= x <= tile.right + rounding and tile.y - rounding <= y <= tile.bottom + rounding
        for tile in grid
    )


@given(grids())
def test_no_row_or_column_is_superfluous(grid: TileGrid) -> None:
    last = grid[-1]
    assert grid.columns == 1 or last.right - grid.stride < grid.box.right + 1e-6 * grid.side
    assert grid.rows == 1 or last.bottom - grid.stride < grid.box.bottom + 1e-6 * grid.side


@given(grids("drop"))
def test_with_drop_all_tiles_are_in_the_box(grid: TileGrid) -> None:
    assert all(grid.box.expand(1e-6 * grid.side).contains(tile) for tile in grid)


@given(grids())
def test_tiles_are_indexed_like_a_sequence(grid: TileGrid) -> None:
    tiles = list(grid)
    assert len(set(tiles)) == len(tiles) == len(grid) == grid.rows * grid.columns
    assert all(grid[index] == tile for index, tile in enumerate(tiles))
    assert grid[-1] == tiles[-1]
    assert grid[1:3] == tiles[1:3]


def test_tiles_that_fit_exactly_are_not_exceeded() -> None:
    assert len(TileGrid(Box(0, 0, 300, 200), 100, 100)) == 6
    # 0.3 / 0.1 is not quite 3 in floating point
    assert len(TileGrid(Box(0, 0, 0.3, 0.1), 0.1, 0.1)) == 3


@pytest.mark.parametrize(("side", "stride"), [(0, 1), (10, 0), (10, 11), (10, -1)])
def test_impossible_strides_raise(side: float, stride: float) -> None:
    with pytest.raises(ValueError, match="stride"):
        TileGrid(Box(0, 0, 10, 10), side, stride)


def test_an_index_out_of_range_raises() -> None:
    grid = TileGrid(Box(0, 0, 10, 10), 5, 5)
    with pytest.raises(IndexError):
        grid[4]
    with pytest.raises(IndexError):
        grid[-5]
