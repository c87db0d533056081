"""Corrections undo mistakes: the annotations are what they were."""

from dataclasses import replace

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.affinity import affine_transform

from histoscout.checks.alignment.corrections import ReferenceFrame, known_mistakes, mirror_by_tile
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions

FRAME = ReferenceFrame(Box(0, 0, 1000, 800), 100.0, (130.0, 70.0), 0.35)
MADE = {
    "a tile down": (1, 0, 0, 1, 0, 100),
    "a tile up": (1, 0, 0, 1, 0, -100),
    "a tile right": (1, 0, 0, 1, 100, 0),
    "a tile left": (1, 0, 0, 1, -100, 0),
    "mirrored top to bottom": (1, 0, 0, -1, 0, 800),
    "mirrored left to right": (-1, 0, 0, 1, 1000, 0),
    "turned upside down": (-1, 0, 0, -1, 1000, 800),
    "rows and columns swapped": (0, 1, 1, 0, 0, 0),
    "2 times too large": (2, 0, 0, 2, 0, 0),
    "4 times too large": (4, 0, 0, 4, 0, 0),
    "2 times too small": (0.5, 0, 0, 0.5, 0, 0),
    "4 times too small": (0.25, 0, 0, 0.25, 0, 0),
    "in um": (0.35, 0, 0, 0.35, 0, 0),
    "offset by the scanned part": (1, 0, 0, 1, 130, 70),
    "offset by the scanned part twice": (1, 0, 0, 1, -130, -70),
}
BY_TILE = {
    "of the tile above, mirrored": ((1.0, -1.0), 1),
    "mirrored within each tile, top to bottom": ((1.0, -1.0), 0),
    "mirrored within each tile, left to right": ((-1.0, 1.0), 0),
}

circles = st.lists(
    st.tuples(st.floats(100, 900), st.floats(100, 700), st.floats(5, 80)), min_size=1, max_size=4
).map(
    lambda drawn: Regions.of(
        Region(shapely.Point(x, y).buffer(radius), f"class {place}")
        for place, (x, y, radius) in enumerate(drawn)
    )
)


def same(one: shapely.Geometry, two: shapely.Geometry) -> bool:
    return bool(shapely.area(shapely.symmetric_difference(one, two)) < 1e-2 * shapely.area(one))


def test_every_mistake_is_tested_here() -> None:
    assert {mistake.name for mistake in known_mistakes(FRAME)} == MADE.keys() | BY_TILE.keys()


@pytest.mark.parametrize("name", MADE)
@given(regions=circles)
def test_what_was_done_is_undone(name: str, regions: Regions) -> None:
    mistake = {one.name: one for one in known_mistakes(FRAME)}[name]
    wrong = Regions.of(replace(one, outline=affine_transform(one.outline, MADE[name])) for one in regions)
    corrected = mistake.correct(wrong)
    for before, after in zip(regions, corrected, strict=True):
        assert same(before.outline, after.outline)
        assert (before.label, before.id) == (after.label, after.id)


@pytest.mark.parametrize("name", BY_TILE)
@given(regions=circles)
def test_what_was_done_tile_by_tile_is_undone(name: str, regions: Regions) -> None:
    mistake = {one.name: one for one in known_mistakes(FRAME)}[name]
    mirror, rows = BY_TILE[name]
    corrected = mistake.correct(mirror_by_tile(regions, FRAME.tile, mirror, rows))
    assert corrected.labels == regions.labels
    for label in regions.labels:
        before = shapely.union_all([one.outline for one in regions.with_labels(label)])
        after = shapely.union_all([one.outline for one in corrected.with_labels(label)])
        assert same(before, after)


@given(regions=circles)
def test_mirroring_by_tile_keeps_the_area(regions: Regions) -> None:
    mirrored = mirror_by_tile(regions, 100.0, (1.0, -1.0), 1)
    before = sum(one.outline.area for one in regions)
    assert sum(one.outline.area for one in mirrored) == pytest.approx(before, rel=1e-2)


def test_the_study_fault_is_what_it_was() -> None:
    """A square at x 600-700, y 1100-1200 got the tile below, rows 336-435 of 512 (tiles of 512 px)."""
    square = Regions.of([Region(shapely.box(600, 1100, 700, 1200), "UDH")])
    (wrong,) = mirror_by_tile(square, 512.0, (1.0, -1.0), 1)
    assert wrong.outline.bounds == pytest.approx((600, 1536 + 336, 700, 1536 + 436), abs=0.2)


def test_without_a_scanned_part_its_mistakes_are_not_tried() -> None:
    named = {one.name for one in known_mistakes(replace(FRAME, corner=(0.0, 0.0)))}
    assert not [name for name in named if "scanned" in name]


@pytest.mark.parametrize(
    ("mpp", "named"), [(0.35, True), (0.2527, True), (0.25, False), (0.5, False), (1.0, False)]
)
def test_annotations_in_um_have_a_name_unless_another_scaling_is_the_same(mpp: float, named: bool) -> None:
    mistakes = {mistake.name: mistake for mistake in known_mistakes(replace(FRAME, mpp=mpp))}
    assert ("in um" in mistakes) is named
    assert any("in um instead of px" in mistake.message for mistake in mistakes.values()) is (mpp != 1.0)
