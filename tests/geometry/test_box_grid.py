import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.geometry.box import Box, TileGrid

LENGTHS = st.floats(1, 3000)


@st.composite
def grids(draw: st.DrawFn, overflow: str = "keep") -> TileGrid:
    origin = st.floats(-500, 500)
    side = draw(st.floats(150, 900))
    stride = side * draw(st.sampled_from([0.5, 2 / 3, 1.0]))
    box = Box(draw(origin), draw(origin), draw(LENGTHS), draw(LENGTHS))
    return TileGrid(box, side, stride, "keep" if overflow == "keep" else "drop")


@given(grids(), st.floats(0, 1), st.floats(0, 1))
def test_every_point_of_the_box_is_in_a_tile(grid: TileGrid, across: float, down: float) -> None:
    x, y = grid.box.x + across * grid.box.width, grid.box.y + down * grid.box.height
    rounding = 1e-6 * grid.side
    assert any(
        tile.x - rounding <= x <= tile.right + rounding and tile.y - rounding <= y <= tile.bottom + rounding
        for tile in grid
    )


@given(grids())
def test_no_row_or_column_could_be_left_out(grid: TileGrid) -> None:
    last = grid[-1]
    assert grid.columns == 1 or last.right - grid.stride < grid.box.right + 1e-6 * grid.side
    assert grid.rows == 1 or last.bottom - grid.stride < grid.box.bottom + 1e-6 * grid.side


@given(grids("drop"))
def test_without_overflow_all_tiles_are_in_the_box(grid: TileGrid) -> None:
    assert all(grid.box.grown(1e-6 * grid.side).contains(tile) for tile in grid)


@given(grids())
def test_index_and_tile_are_one_to_one(grid: TileGrid) -> None:
    tiles = list(grid)
    assert len(set(tiles)) == len(tiles) == len(grid) == grid.rows * grid.columns
    assert all(grid[index] == tile for index, tile in enumerate(tiles))
    assert grid[-1] == tiles[-1]
    assert grid[1:3] == tiles[1:3]


def test_tiles_that_fit_exactly_need_no_more() -> None:
    assert len(TileGrid(Box(0, 0, 300, 200), 100, 100)) == 6
    assert len(TileGrid(Box(0, 0, 0.3, 0.1), 0.1, 0.1)) == 3  # although 0.3 / 0.1 is not quite 3


@pytest.mark.parametrize(("side", "stride"), [(0, 1), (10, 0), (10, 11), (10, -1)])
def test_gaps_and_nothing_are_refused(side: float, stride: float) -> None:
    with pytest.raises(ValueError, match="0 < stride <= side"):
        TileGrid(Box(0, 0, 10, 10), side, stride)


def test_beyond_the_last_tile_there_is_none() -> None:
    grid = TileGrid(Box(0, 0, 10, 10), 5, 5)
    with pytest.raises(IndexError):
        grid[4]
    with pytest.raises(IndexError):
        grid[-5]
