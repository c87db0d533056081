import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.synthetic.patient import patient_of, stream
from histoscout.synthetic.textures import cloud, colored, contours, foam, grain

SHAPES = st.tuples(st.integers(1, 300), st.integers(1, 300))


@given(SHAPES, st.floats(3, 400), st.integers(0, 99))
def test_a_cloud_has_any_shape(shape: tuple[int, int], scale: float, seed: int) -> None:
    field = cloud(stream(seed), shape, scale)
    assert field.shape == shape
    assert field.dtype == np.float32
    assert np.isfinite(field).all()


def test_clouds_are_smooth_and_of_deviation_one() -> None:
    for scale in (8, 20, 40):
        field = cloud(stream(4), (1000, 1000), scale)
        assert field.std() == pytest.approx(1, abs=0.15)
        assert np.diff(field, axis=0).std() < 2.5 / scale


@given(SHAPES)
def test_grain_has_any_shape_and_deviation_one(shape: tuple[int, int]) -> None:
    assert grain(stream(1), shape, 0.7).shape == shape
    assert grain(stream(1), (512, 512), 0.7).std() == pytest.approx(1, abs=1e-3)


def test_contours_follow_the_height() -> None:
    height = np.repeat(np.linspace(0, 50, 200, dtype=np.float32)[:, None], 30, axis=1)
    streaks = contours(stream(1), height, 5.0)
    assert (streaks == streaks[:, :1]).all()
    assert streaks.std() > 0.05


def test_foam_has_walls_and_cells_of_the_size_asked_for() -> None:
    field = foam(stream(1), (400, 400), 50.0)
    assert field.min() < 1
    assert 15 < field.max() < 60
    assert np.hypot(*np.gradient(field)).max() < 1.6


def test_more_dye_is_darker_and_none_is_white() -> None:
    who = patient_of(1)
    amount = np.linspace(0, 3, 50, dtype=np.float32)[None]
    nothing = np.zeros_like(amount)
    for pixels in (colored(amount, nothing, who), colored(nothing, amount, who)):
        assert (np.diff(pixels.astype(int), axis=1) <= 0).all()
        np.testing.assert_allclose(pixels[0, 0], who.white, atol=2)
    blue, pink = colored(nothing + 1, nothing, who)[0, 0], colored(nothing, nothing + 1, who)[0, 0]
    assert int(blue[0]) < int(pink[0])
