import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.synthetic.canvas import cellular_noise, contour_streaks, dyes_to_rgb, grain, smooth_noise
from histoscout.synthetic.patient import make_patient, random_stream

SHAPES = st.tuples(st.integers(1, 300), st.integers(1, 300))


@given(SHAPES, st.floats(3, 400), st.integers(0, 99))
def test_smooth_noise_has_any_shape(shape: tuple[int, int], scale: float, seed: int) -> None:
    field = smooth_noise(random_stream(seed), shape, scale)
    assert field.shape == shape
    assert field.dtype == np.float32
    assert np.isfinite(field).all()


def test_smooth_noise_is_smooth_and_has_deviation_one() -> None:
    for scale in (8, 20, 40):
        field = smooth_noise(random_stream(4), (1000, 1000), scale)
        assert field.std() == pytest.approx(1, abs=0.15)
        assert np.diff(field, axis=0).std() < 2.5 / scale


@given(SHAPES)
def test_grain_has_any_shape_and_deviation_one(shape: tuple[int, int]) -> None:
    assert grain(random_stream(1), shape, 0.7).shape == shape
    assert grain(random_stream(1), (512, 512), 0.7).std() == pytest.approx(1, abs=1e-3)


def test_streaks_follow_the_contour_lines() -> None:
    height = np.repeat(np.linspace(0, 50, 200, dtype=np.float32)[:, None], 30, axis=1)
    streaks = contour_streaks(random_stream(1), height, 5.0)
    assert (streaks == streaks[:, :1]).all()
    assert streaks.std() > 0.05


def test_cellular_noise_has_walls_and_cells_of_the_given_spacing() -> None:
    field = cellular_noise(random_stream(1), (400, 400), 50.0)
    assert field.min() < 1
    assert 15 < field.max() < 60
    assert np.hypot(*np.gradient(field)).max() < 1.6


def test_more_dye_is_darker_and_no_dye_is_white() -> None:
    patient = make_patient(1)
    amount = np.linspace(0, 3, 50, dtype=np.float32)[None]
    nothing = np.zeros_like(amount)
    for pixels in (dyes_to_rgb(amount, nothing, patient), dyes_to_rgb(nothing, amount, patient)):
        assert (np.diff(pixels.astype(int), axis=1) <= 0).all()
        np.testing.assert_allclose(pixels[0, 0], patient.white, atol=2)
    # hematoxylin is bluer than eosin
    blue = dyes_to_rgb(nothing + 1, nothing, patient)[0, 0]
    pink = dyes_to_rgb(nothing, nothing + 1, patient)[0, 0]
    assert int(blue[0]) < int(pink[0])
