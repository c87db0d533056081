"""Polygons to masks, label maps and runs of pixels."""

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from shapely.geometry import Polygon

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map, pixel_runs, polygon_to_mask
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
    whole = polygon_to_mask(outline, SLIDE, scale)
    np.testing.assert_array_equal(polygon_to_mask(outline, box_of(*crop), scale), whole[rows, columns])


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
    mask = polygon_to_mask(outline, SLIDE, scale)
    row, column = np.indices(mask.shape)
    centers = shapely.points(SLIDE.x + (column + 0.5) * scale, SLIDE.y + (row + 0.5) * scale)
    # on the boundary either answer is right
    decided = np.asarray(shapely.distance(outline.boundary, centers)) > 1e-9
    inside = np.asarray(shapely.contains(outline, centers))
    np.testing.assert_array_equal(mask[decided], inside[decided])


@given(st.integers(-200, 200), st.integers(-200, 200), DYADIC)
def test_neighbors_share_no_pixel_and_leave_none_between(top: int, bottom: int, scale: float) -> None:
    # a shared border, which often crosses pixel centers
    border = [(top / 4, -80.0), (bottom / 4, 80.0)]
    halves = [Polygon([(-200, -80), *border, (-200, 80)]), Polygon([*border, (200, 80), (200, -80)])]
    total = sum(
        (polygon_to_mask(half, SLIDE, scale).astype(int) for half in halves),
        np.zeros(SLIDE.shape(scale), int),
    )
    np.testing.assert_array_equal(total, 1)


def test_a_slanted_edge_through_a_center_is_the_same_in_every_box() -> None:
    # its edges pass through pixel centers but for a rounding error
    outline = Polygon([(-8, 7), (4, 2), (7, -6)])
    whole = polygon_to_mask(outline, SLIDE, 1)
    np.testing.assert_array_equal(polygon_to_mask(outline, Box(-5, -48, 64, 64), 1), whole[16:80, 59:123])


def test_area_is_unbiased_for_a_small_disc() -> None:
    disc = shapely.Point(0.3, 0.2).buffer(35, quad_segs=64)
    assert abs(polygon_to_mask(disc, SLIDE, 1).sum() / disc.area - 1) < 0.01


def test_the_last_layer_covers_the_others() -> None:
    def square(side: float, label: str) -> Regions:
        return Regions.of([Region(Polygon([(0, 0), (side, 0), (side, side), (0, side)]), label)])

    labels = label_map([(square(4, "a"), 1), (square(2, "b"), 255)], Box(0, 0, 4, 4), 1)
    expected: NDArray[np.uint8] = np.ones((4, 4), np.uint8)
    expected[:2, :2] = 255
    np.testing.assert_array_equal(labels, expected)


def test_a_distant_polygon_gives_an_empty_mask() -> None:
    far = Polygon([(1000, 1000), (1010, 1000), (1000, 1010)])
    assert not polygon_to_mask(far, SLIDE, 1).any()
    assert not label_map([], SLIDE, 1).any()


@given(st.lists(outlines(), max_size=4), DYADIC)
def test_runs_of_many_polygons_equal_their_masks(polygons: list[Outline], scale: float) -> None:
    runs = pixel_runs(polygons, SLIDE, scale)
    masks = np.zeros((len(polygons), *SLIDE.shape(scale)), np.uint8)
    for polygon, (row, first, last) in zip(runs.polygon.tolist(), runs, strict=True):
        masks[polygon, row, first:last] += 1
    for mask, outline in zip(masks, polygons, strict=True):
        np.testing.assert_array_equal(mask, polygon_to_mask(outline, SLIDE, scale))
    assert runs.pixel_counts().tolist() == masks.sum((1, 2)).tolist()


@given(st.lists(outlines(), max_size=3), arrays(np.uint8, (64, 64)), st.integers(-9, 9), st.integers(-9, 9))
def test_sums_count_the_pixels_inside_and_none_beyond_the_image(
    polygons: list[Outline], values: NDArray[np.uint8], rows: int, columns: int
) -> None:
    runs = pixel_runs(polygons, SLIDE, 2.0).translate(rows, columns)
    padded = np.pad(values, 9)
    shown = padded[9 + rows : 9 + rows + 64, 9 + columns : 9 + columns + 64]
    expected = [float(shown[polygon_to_mask(outline, SLIDE, 2.0)].sum()) for outline in polygons]
    assert runs.sums(values).tolist() == expected


def test_sums_are_right_across_strips() -> None:
    values = np.arange(1300 * 3, dtype=np.uint32).reshape(1300, 3).astype(np.uint8)
    runs = pixel_runs([shapely.box(0, 0, 2, 1300), shapely.box(1, 500, 3, 530)], Box(0, 0, 3, 1300), 1.0)
    assert runs.sums(values).tolist() == [values[:, :2].sum(), values[500:530, 1:].sum()]
