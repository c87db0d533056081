"""Contours to outlines: few corners, the area that is asked for, no contacts."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from histoscout.geometry.simplify import simplify_outlines
from histoscout.geometry.vectorize import contour_polygons
from histoscout.tissue.mask import join_corner_contacts


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.25, 1.0, 3.0]), st.sampled_from([0.6, 1.5]))
def test_outlines_are_valid_and_apart(seed: int, tolerance: float, sigma: float) -> None:
    noise = np.random.default_rng(seed).standard_normal((40, 40)).astype(np.float32)
    levels = 100 + 400 * np.asarray(ndimage.gaussian_filter(noise, sigma))
    mask = join_corner_contacts(levels[1:-1, 1:-1] >= 110)
    areas = np.bincount(ndimage.label(mask)[0].ravel())[1:]
    outlines = simplify_outlines(contour_polygons(mask, levels, 110), areas, tolerance)
    assert len(outlines) == len(areas)
    assert all(outline.is_valid for outline in outlines)
    first, second = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    assert first.tolist() == second.tolist()


@pytest.mark.parametrize("tolerance", [0.0, 0.5])
def test_an_outline_has_the_area_that_is_asked_for(tolerance: float) -> None:
    circle, hole = shapely.Point(50, 50).buffer(30), shapely.Point(50, 50).buffer(9)
    ring = shapely.Polygon(circle.exterior, [hole.exterior])
    (outline,) = simplify_outlines([ring], np.array([2600]), tolerance)
    assert outline.area == pytest.approx(2600, rel=0.002)
    assert len(outline.interiors) == 1
