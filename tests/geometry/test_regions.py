"""Regions and their collections."""

import pickle

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import LineString, MultiPolygon, Point, Polygon

from histoscout.geometry.box import Box
from histoscout.geometry.regions import Outline, Region, Regions, valid_outline
from tests.strategies import lattice_polygons, outlines, region_lists

SQUARE = Polygon([(0, 0), (10, 0), (10, 10), (0, 10)])


@given(region_lists(), st.integers(-50, 50), st.integers(-50, 50))
def test_intersecting_finds_what_a_linear_search_finds(regions: Regions, x: int, y: int) -> None:
    box = Box(x, y, 30, 20)
    expected = [region for region in regions if region.outline.intersects(shapely.box(*box.bounds))]
    assert list(regions.intersecting(box)) == expected


@given(region_lists())
def test_regions_pickle_without_their_index(regions: Regions) -> None:
    # builds the index, which is not pickled
    regions.intersecting(Box(0, 0, 1, 1))
    assert pickle.loads(pickle.dumps(regions)) == regions  # noqa: S301


@given(outlines(), st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_translate_keeps_area_label_and_id(outline: Outline, dx: int, dy: int) -> None:
    region = Region(outline, "UDH")
    moved = region.translate(dx, dy)
    assert moved.area_mm2(0.5) == pytest.approx(region.area_mm2(0.5), abs=1e-9)
    assert (moved.label, moved.id) == (region.label, region.id)
    assert moved.box.x == pytest.approx(region.box.x + dx)


def test_area_is_in_square_millimetres() -> None:
    assert Region(shapely.box(0, 0, 2000, 1000), "UDH").area_mm2(0.5) == pytest.approx(0.5)


@given(lattice_polygons())
def test_valid_outline_is_valid_or_none(polygon: Polygon) -> None:
    outline = valid_outline(polygon)
    if outline is None:
        assert shapely.make_valid(polygon).area == 0
    else:
        assert outline.is_valid
        assert outline.area == pytest.approx(shapely.make_valid(polygon).area)


def test_a_bow_tie_becomes_two_parts() -> None:
    outline = valid_outline(Polygon([(0, 0), (4, 4), (4, 0), (0, 4)]))
    assert isinstance(outline, MultiPolygon)
    assert outline.area == 8


@pytest.mark.parametrize(
    "flat", [Point(1, 2), LineString([(0, 0), (1, 1)]), Polygon([(0, 0), (1, 1), (2, 2)])]
)
def test_a_geometry_without_area_is_no_outline(flat: shapely.Geometry) -> None:
    assert valid_outline(flat) is None


def test_regions_are_a_sequence() -> None:
    regions = Regions.of(
        [Region(SQUARE, "b", id="1"), Region(SQUARE, "a", id="2"), Region(SQUARE, "b", id="3")]
    )
    assert regions.labels == ["a", "b"]
    assert [region.id for region in regions.with_labels("b")] == ["1", "3"]
    assert [region.id for region in regions[1:]] == ["2", "3"]
    assert regions.relabel(str.upper).labels == ["A", "B"]
    assert not Regions().intersecting(Box(0, 0, 1, 1))
