"""Windows too narrow for the lesions, or too coarse, are told with choices that fit."""

import re

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from histoscout.detection.self_check import MAX_PATCH_PX, check_field_of_view, fitting_patch
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe

MPP = 0.25


def round_lesions(*diameters_um: float) -> list[tuple[Regions, float]]:
    """One slide at .25 um/px with round UDH regions, and a wide one of another class that does not matter."""
    drawn = [Region(shapely.Point(0, 0).buffer(um / 2 / MPP), "UDH") for um in diameters_um]
    return [(Regions.of([*drawn, Region(shapely.box(0, 0, 1e5, 1e5), "ADH")]), MPP)]


def windows(side_um: float, mpp: float) -> Recipe:
    return Recipe.from_dict({"patches": {"size_um": side_um, "mpp": mpp}})


def test_k_narrow_view_is_heard() -> None:
    """The study's windows: 512 px at .25 um/px, lesions about 290 um wide."""
    verdict = check_field_of_view(round_lesions(250, 280, 290, 300, 340), windows(128, 0.25))
    assert verdict.state == "warning"
    assert "290 um" in verdict.message
    side, mpp = re.findall(r"= ([\d.]+)", verdict.remedy)
    better = windows(float(side), float(mpp))
    assert check_field_of_view(round_lesions(250, 280, 290, 300, 340), better).state == "good"


def test_windows_that_hold_the_lesions_are_good() -> None:
    assert check_field_of_view(round_lesions(250, 280, 290, 300, 340), windows(512, 2)).state == "good"


def test_too_coarse_is_heard_and_mended() -> None:
    lesions = round_lesions(50, 60, 70)
    verdict = check_field_of_view(lesions, windows(1024, 16))
    assert verdict.state == "warning"
    mpp, side = re.findall(r"= ([\d.]+)", verdict.remedy)
    assert check_field_of_view(lesions, windows(float(side), float(mpp))).state == "good"


def test_without_lesions_nothing_can_be_said() -> None:
    assert check_field_of_view(round_lesions(), windows(128, 0.25)).state == "cannot tell"


@given(st.floats(10, 20_000), st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]))
def test_better_windows_hold_what_they_should_and_are_possible(um: float, mpp: float) -> None:
    better_mpp, side = fitting_patch(um, mpp)
    assert side >= um * (1 - 1e-9)
    assert better_mpp >= mpp
    recipe = windows(side, better_mpp)  # a multiple of 32 px, else the recipe would refuse it
    if um / 16 <= MAX_PATCH_PX:
        assert recipe.patch_px <= MAX_PATCH_PX + 32


@pytest.mark.parametrize("diameter", [200.0, 300.0])
def test_sizes_are_in_um_whatever_the_slide(diameter: float) -> None:
    coarse = [(Regions.of([Region(shapely.Point(0, 0).buffer(diameter / 2), "UDH")]), 1.0)]
    one, other = (check_field_of_view(drawn, windows(256, 2)) for drawn in (coarse, round_lesions(diameter)))
    assert one.state == other.state
