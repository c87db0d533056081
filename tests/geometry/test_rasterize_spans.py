"""Runs of pixels and sums inside them, against the masks of single outlines."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from shapely import box

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import mask_of, spans
from histoscout.geometry.regions import Outline
from tests.strategies import DYADIC, outlines

BOX = Box(-64, -64, 128, 128)


@given(st.lists(outlines(), max_size=4), DYADIC)
def test_runs_of_many_outlines_are_the_masks_of_each(drawn: list[Outline], scale: float) -> None:
    runs = spans(drawn, BOX, scale)
    masks = np.zeros((len(drawn), *BOX.shape(scale)), np.uint8)
    for owner, (row, first, last) in zip(runs.owner.tolist(), runs, strict=True):
        masks[owner, row, first:last] += 1
    for mask, outline in zip(masks, drawn, strict=True):
        np.testing.assert_array_equal(mask, mask_of(outline, BOX, scale))
    assert runs.pixels().tolist() == masks.sum((1, 2)).tolist()


@given(st.lists(outlines(), max_size=3), arrays(np.uint8, (64, 64)), st.integers(-9, 9), st.integers(-9, 9))
def test_sums_are_those_of_the_pixels_inside_and_nothing_beyond_the_edges(
    drawn: list[Outline], values: NDArray[np.uint8], rows: int, columns: int
) -> None:
    runs = spans(drawn, BOX, 2.0).moved(rows, columns)
    padded = np.pad(values, 9)
    shown = padded[9 + rows : 9 + rows + 64, 9 + columns : 9 + columns + 64]
    expected = [float(shown[mask_of(outline, BOX, 2.0)].sum()) for outline in drawn]
    assert runs.sums(values).tolist() == expected


def test_sums_of_tall_maps_are_taken_strip_by_strip() -> None:
    values = np.arange(1300 * 3, dtype=np.uint32).reshape(1300, 3).astype(np.uint8)
    runs = spans([box(0, 0, 2, 1300), box(1, 500, 3, 530)], Box(0, 0, 3, 1300), 1.0)
    assert runs.sums(values).tolist() == [values[:, :2].sum(), values[500:530, 1:].sum()]
