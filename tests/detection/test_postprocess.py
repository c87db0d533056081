"""Heatmap to regions: what is outlined is what was found, wherever it lies."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from histoscout.detection.heatmap import Heatmap
from histoscout.detection.postprocess import find_regions
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.vectorize import mask_to_polygons
from histoscout.recipe_sections import DetectionConfig

EXACT = DetectionConfig(min_area_um2=0, max_hole_um2=0, simplify_um=0)


def heatmap(levels: NDArray[np.uint8], mpp: float = 2.0, slide_mpp: float = 0.5) -> Heatmap:
    scale = mpp / slide_mpp
    box = Box(0, 0, levels.shape[1] * scale, levels.shape[0] * scale)
    return Heatmap(
        box=box,
        mpp=mpp,
        slide_mpp=slide_mpp,
        slide_name="slide",
        labels=("UDH",),
        values=levels[None],
        windows=1,
    )


def disc(side: int, x: float, y: float, radius: float, hole: float = 0) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:side, :side] + 0.5
    distance = np.hypot(columns - x, rows - y)
    return np.where((distance < radius) & (distance >= hole), 200, 10).astype(np.uint8)


@given(arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_regions_are_valid_apart_and_cover_what_was_found(found: NDArray[np.bool_]) -> None:
    shown = heatmap(np.where(found, 255, 0).astype(np.uint8))
    regions = find_regions(shown, "UDH", 0.5, EXACT)
    assert all(region.outline.is_valid and region.outline.area > 0 for region in regions)
    covered = sum(
        (polygon_to_mask(region.outline, shown.box, shown.scale).astype(int) for region in regions),
        np.zeros(found.shape, int),
    )
    assert covered.max(initial=0) <= 1
    # corners where two pixels touch are cut or joined so that QuPath takes the outline: nothing else differs
    assert abs(int(covered.sum()) - int(found.sum())) <= 2 * _corners(found)


def _corners(found: NDArray[np.bool_]) -> int:
    a, b, c, d = found[:-1, :-1], found[1:, 1:], found[:-1, 1:], found[1:, :-1]
    return int(((a & b & ~c & ~d) | (c & d & ~a & ~b)).sum()) * 2 + 4 * int((a & b & ~c & ~d).any())


def test_a_disc_has_its_area_score_and_hole() -> None:
    regions = find_regions(heatmap(disc(100, 50, 50, 30, hole=10)), "UDH", 0.5, EXACT)
    assert len(regions) == 1
    region = regions[0]
    assert region.label == "UDH"
    assert region.score == pytest.approx(200 / 255, abs=0.01)
    assert len(region.outline.interiors) == 1  # type: ignore[union-attr]
    assert region.area_mm2(0.5) == pytest.approx(np.pi * (60**2 - 20**2) * 1e-6, rel=0.01)


def test_outlines_have_a_third_of_the_corners_of_cells_and_their_area() -> None:
    rows, columns = np.mgrid[:300, :300] + 0.5
    waves = 12 * np.sin(np.arctan2(rows - 150, columns - 150) * 9)
    levels = np.clip(180 - 6 * (np.hypot(columns - 150, rows - 150) + waves - 90), 0, 255).astype(np.uint8)
    shown = heatmap(levels)
    (region,) = find_regions(shown, "UDH", 0.5, DetectionConfig())
    (cells,) = mask_to_polygons(levels >= 128, shown.box, shown.scale)
    assert region.outline.area == pytest.approx(cells.area, rel=0.005)
    assert shapely.get_num_coordinates(region.outline) < 0.4 * shapely.get_num_coordinates(
        cells.simplify(2.0)
    )
    # nowhere further than three quarters of a cell from the contour
    (contour,) = find_regions(shown, "UDH", 0.5, EXACT)
    assert shapely.hausdorff_distance(region.outline, contour.outline) <= 0.75 * shown.scale


def test_small_holes_are_filled_and_specks_dropped() -> None:
    levels = np.maximum(disc(100, 50, 50, 30, hole=3), disc(100, 90, 90, 2))
    choices = DetectionConfig(min_area_um2=200, max_hole_um2=500, simplify_um=0)
    (region,) = find_regions(heatmap(levels), "UDH", 0.5, choices)
    assert not region.outline.interiors  # type: ignore[union-attr]


def test_simplifying_keeps_the_shape() -> None:
    exact = find_regions(heatmap(disc(200, 100, 100, 70)), "UDH", 0.5, EXACT)[0].outline
    (simple,) = find_regions(heatmap(disc(200, 100, 100, 70)), "UDH", 0.5, DetectionConfig(simplify_um=3.0))
    assert len(shapely.get_coordinates(simple.outline)) < 0.5 * len(shapely.get_coordinates(exact))
    assert simple.outline.symmetric_difference(exact).area < 0.03 * exact.area


@given(st.integers(0, 40), st.integers(0, 40))
def test_moving_what_is_found_moves_its_region(x: int, y: int) -> None:
    still = find_regions(heatmap(disc(120, 30, 30, 20)), "UDH", 0.5, EXACT)[0].outline
    moved = find_regions(heatmap(disc(120, 30 + x, 30 + y, 20)), "UDH", 0.5, EXACT)[0].outline
    assert moved.equals(shapely.affinity.translate(still, 4.0 * x, 4.0 * y))


def test_ids_are_stable_and_tell_models_apart() -> None:
    shown = heatmap(disc(100, 50, 50, 30))
    first, again = (find_regions(shown, "UDH", 0.5, EXACT, "abc")[0].id for _ in range(2))
    assert first == again != find_regions(shown, "UDH", 0.5, EXACT, "def")[0].id


def test_nothing_found_gives_nothing() -> None:
    assert len(find_regions(heatmap(np.zeros((50, 60), np.uint8)), "UDH", 0.3, DetectionConfig())) == 0
