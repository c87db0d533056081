import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from histoscout.cohort.splits import BLOCK_UM, choose_tuning_blocks
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions

SIDES, MPPS = st.integers(200, 60_000), st.sampled_from([0.25, 0.5, 1.0])


@given(SIDES, SIDES, MPPS, st.floats(0.05, 0.9), st.integers(0, 5))
def test_blocks_lie_in_the_slide_apart_from_one_another_and_leave_some(
    width: int, height: int, mpp: float, share: float, seed: int
) -> None:
    slide = Box(10, 20, width, height)
    blocks = choose_tuning_blocks(slide, mpp, seed, share)
    assert blocks
    assert all(slide.expand(1e-6).contains(block) for block in blocks)
    overlaps = [one.intersection(other) for i, one in enumerate(blocks) for other in blocks[:i]]
    assert all(overlap is None or overlap.area < 1e-3 for overlap in overlaps)
    assert sum(block.area for block in blocks) < slide.area * 0.95
    assert blocks == choose_tuning_blocks(slide, mpp, seed, share)


@given(SIDES, SIDES, MPPS)
def test_blocks_are_a_millimetre_wide_unless_the_slide_is_too_small(
    width: int, height: int, mpp: float
) -> None:
    slide = Box(0, 0, width, height)
    for block in choose_tuning_blocks(slide, mpp, 0, 0.2):
        for side, whole in ((block.width, width), (block.height, height)):
            assert side * mpp >= min(BLOCK_UM, whole * mpp / 2) - 1e-6


def test_the_share_is_that_of_the_slides_area() -> None:
    slide = Box(0, 0, 40_000, 40_000)  # a hundred blocks at 0.25 um/px
    assert sum(block.area for block in choose_tuning_blocks(slide, 0.25, 0, 0.2)) == pytest.approx(
        0.2 * slide.area
    )


def test_another_seed_gives_other_blocks() -> None:
    slide = Box(0, 0, 40_000, 40_000)
    assert choose_tuning_blocks(slide, 0.25, 0, 0.2) != choose_tuning_blocks(slide, 0.25, 1, 0.2)


@given(st.integers(0, 20))
def test_both_sides_get_blocks_with_regions(seed: int) -> None:
    slide = Box(0, 0, 40_000, 40_000)
    regions = Regions.of(Region(shapely.box(x, 100, x + 10, 110), "UDH") for x in (100, 20_100, 36_100))
    blocks = choose_tuning_blocks(slide, 0.25, seed, 0.2, holding=regions)
    held = [region for region in regions if any(block.contains(region.box) for block in blocks)]
    assert 0 < len(held) < len(regions)
