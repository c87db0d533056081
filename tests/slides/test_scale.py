"""The scale of a slide: what files and users state, and what of it can be true."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.errors import SlideError
from histoscout.slides.scale import (
    MAX_SIDE_MM,
    MAX_WINDOWS,
    ScaledFile,
    StatedScale,
    check_enlargement,
    check_overview,
    check_window_count,
    combine_mpp,
    given_fault,
    plausible_mpp,
    resolve_scale,
)

SIZE = (1024.0, 768.0)


def file(mpp: float | None, power: float | None = None, size: tuple[float, float] = SIZE) -> ScaledFile:
    return ScaledFile(where="a.svs", stated=StatedScale(mpp), size=size, power=power)


def test_pixels_that_are_square_have_one_scale() -> None:
    assert combine_mpp(0.5, 0.5) == StatedScale(0.5)
    assert combine_mpp(None, None) == StatedScale()
    nearly = combine_mpp(0.50, 0.51)
    assert nearly.mpp == pytest.approx(0.505)
    assert len(nearly.notes) == 1
    assert len(combine_mpp(0.5, None).notes) == 1


@pytest.mark.parametrize("mpp", [1e-9, 1e6])
def test_impossible_pixel_sizes_are_ignored_with_a_note(mpp: float) -> None:
    stated = combine_mpp(mpp, mpp)
    assert stated.mpp is None
    assert len(stated.notes) == 1


def test_resolution_tags_count_only_together() -> None:
    assert plausible_mpp(0.5, 0.5) == (0.5, 0.5)
    assert plausible_mpp(0.5, 352.8) == (None, None)


def test_pixels_that_are_not_square_are_refused_unless_the_user_corrects_them() -> None:
    stated = combine_mpp(0.5, 1.0)
    assert stated.mpp is None
    wide = ScaledFile(where="a.tif", stated=stated, size=SIZE)
    with pytest.raises(SlideError, match=r"0\.5 um wide and 1 um high"):
        resolve_scale(wide, None)
    corrected = resolve_scale(wide, 0.5)
    assert corrected.mpp == 0.5
    assert len(corrected.notes) == 1


@pytest.mark.parametrize(("mpp", "power"), [(25.2, 40.0), (0.01, 20.0), (2.6, 20.0)])
def test_a_scale_that_contradicts_the_objective_is_refused_with_both(mpp: float, power: float) -> None:
    with pytest.raises(SlideError, match=f"{mpp:g} um/px .* {power:g}x"):
        resolve_scale(file(mpp, power), None)
    with pytest.raises(SlideError, match=f"{power:g}x"):
        resolve_scale(file(None, power), mpp)
    # QuPath passes the file's own value on
    with pytest.raises(SlideError, match=f"{power:g}x"):
        resolve_scale(file(mpp, power), mpp, "qupath")
    # if user and file agree, it is the objective that is wrong
    assert resolve_scale(file(mpp, power), mpp).mpp == mpp


@given(st.floats(0.0626, 0.99), st.sampled_from([10.0, 20.0, 40.0]))
def test_scales_near_the_objective_are_believed(mpp: float, power: float) -> None:
    scale = resolve_scale(file(mpp * 40 / power, power), None)
    assert (scale.source, scale.notes) == ("metadata", ())


@given(st.floats(300, 1000))
def test_no_slide_is_wider_than_any_glass(mpp: float) -> None:
    with pytest.raises(SlideError, match=f"{MAX_SIDE_MM:g} mm"):
        resolve_scale(file(mpp), None)


@pytest.mark.parametrize("mpp", [10.0, 20.0, 40.0, 60.0, 63.0, 100.0])
def test_a_magnification_is_no_resolution(mpp: float) -> None:
    assert f"{mpp:g}x" in given_fault(mpp)
    with pytest.raises(SlideError, match=f"{mpp:g}x"):
        resolve_scale(file(0.25), mpp, "given")


def test_a_weak_magnification_is_recognized_by_the_objective() -> None:
    with pytest.raises(SlideError, match="5x"):
        resolve_scale(file(None, 5.0), 5.0)
    assert resolve_scale(file(None), 5.0).mpp == 5.0


@pytest.mark.parametrize("mpp", [0.0, -1.0, float("nan"), float("inf"), 101.0, 0.001])
def test_impossible_values_are_refused(mpp: float) -> None:
    assert given_fault(mpp)
    with pytest.raises(SlideError, match="not possible"):
        resolve_scale(file(None), mpp)


@given(st.floats(0.1, 1.0), st.floats(0.1, 1.0))
def test_the_user_wins_with_a_note(stated: float, mpp: float) -> None:
    scale = resolve_scale(file(stated), mpp)
    if abs(mpp / stated - 1) <= 0.01:
        assert (scale.mpp, scale.source, scale.notes) == (stated, "metadata", ())
    else:
        assert (scale.mpp, scale.source) == (mpp, "cohort")
        assert len(scale.notes) == 1


def test_work_is_bounded_before_it_starts() -> None:
    check_enlargement("a", 2.0, 0.5, "the model")
    with pytest.raises(SlideError, match="enlarged"):
        check_enlargement("a", 2.1, 0.5, "the model")
    check_overview("a", (10_000, 20_000), "tissue.mpp")
    with pytest.raises(SlideError, match=r"tissue\.mpp"):
        check_overview("a", (20_000, 20_000), "tissue.mpp")
    check_window_count("a", MAX_WINDOWS)
    with pytest.raises(SlideError, match="windows"):
        check_window_count("a", MAX_WINDOWS + 1)
