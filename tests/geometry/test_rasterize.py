import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import Polygon

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map, mask_of
from histoscout.geometry.regions import Outline, Region, Regions
from tests.strategies import DYADIC, outlines

SLIDE = Box(-64, -64, 128, 128)


@st.composite
def crops(draw: st.DrawFn) -> tuple[float, slice, slice]:
    """A pixel size and a part of the slide's pixel lattice at it."""
    scale = draw(DYADIC)
    side = int(SLIDE.width / scale)
    ends = [sorted(draw(st.tuples(st.integers(0, side), st.integers(0, side)))) for _ in range(2)]
    rows, columns = (
        slice(low, max(low + 1, high)) if low < side else slice(side - 1, side) for low, high in ends
    )
    return scale, rows, columns


def box_of(scale: float, rows: slice, columns: slice) -> Box:
    left, top = SLIDE.x + columns.start * scale, SLIDE.y + rows.start * scale
    return Box(left, top, (columns.stop - columns.start) * scale, (rows.stop - rows.start) * scale)


@given(outlines(), crops())
def test_mask_of_a_box_is_the_crop_of_the_slides_mask(
    outline: Outline, crop: tuple[float, slice, slice]
) -> None:
    scale, rows, columns = crop
    whole = mask_of(outline, SLIDE, scale)
    np.testing.assert_array_equal(mask_of(outline, box_of(*crop), scale), whole[rows, columns])


@given(st.lists(st.tuples(outlines(), st.sampled_from([1, 2, 255])), max_size=4), crops())
def test_labels_of_a_box_are_the_crop_of_the_slides_labels(
    drawn: list[tuple[Outline, int]], crop: tuple[float, slice, slice]
) -> None:
    layers = [(Regions.of([Region(outline, "any")]), value) for outline, value in drawn]
    scale, rows, columns = crop
    whole = label_map(layers, SLIDE, scale)
    np.testing.assert_array_equal(label_map(layers, box_of(*crop), scale), whole[rows, columns])


@given(outlines(), st.sampled_from([2.0, 4.0]))
def test_a_pixel_is_in_the_mask_if_its_center_is_in_the_outline(outline: Outline, scale: float) -> None:
    mask = mask_of(outline, SLIDE, scale)
    row, column = np.indices(mask.shape)
    centers = shapely.points(SLIDE.x + (column + 0.5) * scale, SLIDE.y + (row + 0.5) * scale)
    decided = (
        np.asarray(shapely.distance(outline.boundary, centers)) > 1e-9
    )  # on the line either answer is right
    inside = np.asarray(shapely.contains(outline, centers))
    np.testing.assert_array_equal(mask[decided], inside[decided])


@given(st.integers(-200, 200), st.integers(-200, 200), DYADIC)
def test_neighbors_share_no_pixel_and_leave_none_between(top: int, bottom: int, scale: float) -> None:
    border = [(top / 4, -80.0), (bottom / 4, 80.0)]  # shared, and often through centres
    halves = [Polygon([(-200, -80), *border, (-200, 80)]), Polygon([*border, (200, 80), (200, -80)])]
    total = sum(
        (mask_of(half, SLIDE, scale).astype(int) for half in halves), np.zeros(SLIDE.shape(scale), int)
    )
    np.testing.assert_array_equal(total, 1)


def test_a_slanted_edge_through_a_center_is_drawn_alike_in_every_box() -> None:
    outline = Polygon([(-8, 7), (4, 2), (7, -6)])  # its edges pass through centres, give or take one rounding
    whole = mask_of(outline, SLIDE, 1)
    np.testing.assert_array_equal(mask_of(outline, Box(-5, -48, 64, 64), 1), whole[16:80, 59:123])


def test_area_is_unbiased_for_a_small_disc() -> None:
    disc = shapely.Point(0.3, 0.2).buffer(35, quad_segs=64)
    assert abs(mask_of(disc, SLIDE, 1).sum() / disc.area - 1) < 0.01


def test_the_last_layer_lies_on_top() -> None:
    def square(side: float, label: str) -> Regions:
        return Regions.of([Region(Polygon([(0, 0), (side, 0), (side, side), (0, side)]), label)])

    painted = label_map([(square(4, "a"), 1), (square(2, "b"), 255)], Box(0, 0, 4, 4), 1)
    expected: NDArray[np.uint8] = np.ones((4, 4), np.uint8)
    expected[:2, :2] = 255
    np.testing.assert_array_equal(painted, expected)


def test_nothing_there_gives_an_empty_mask() -> None:
    far = Polygon([(1000, 1000), (1010, 1000), (1000, 1010)])
    assert not mask_of(far, SLIDE, 1).any()
    assert not label_map([], SLIDE, 1).any()
