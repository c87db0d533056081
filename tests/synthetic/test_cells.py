import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.synthetic.cells import Look, scattered, set_down, stamps
from histoscout.synthetic.patient import MPP, stream


@given(
    st.lists(st.tuples(st.floats(-30, 90), st.floats(-30, 90)), min_size=1, max_size=8), st.integers(0, 99)
)
def test_nuclei_over_the_rim_are_cut_as_a_larger_canvas_would_show(
    where: list[tuple[float, float]], seed: int
) -> None:
    library = stamps(Look(8), stream(1), 8)
    which = library.any(len(where), stream(seed))
    small, large = np.zeros((60, 60), np.float32), np.zeros((160, 160), np.float32)
    set_down(small, np.asarray(where), which, library)
    set_down(large, np.asarray(where) + 50, which, library)
    np.testing.assert_allclose(small, large[50:110, 50:110], atol=1e-5)


@given(st.floats(0, 0.45), st.integers(0, 99))
def test_jitter_does_not_change_the_density(jitter: float, seed: int) -> None:
    points = scattered(stream(seed), (400, 400), 16.0, jitter)
    assert len(points) == pytest.approx(400 * 400 / (16**2 * np.sqrt(0.75)), rel=0.08)


def test_jitter_makes_neighbors_uneven() -> None:
    def nearest(jitter: float) -> float:
        points = scattered(stream(3), (400, 400), 16.0, jitter)
        away = (
            np.hypot(*(points[:, None, :] - points[None, :, :]).transpose(2, 0, 1)) + np.eye(len(points)) * 99
        )
        return float(away.min(axis=1).std())

    assert nearest(0.05) < 1.5 < nearest(0.35)


def test_stamps_are_of_the_size_asked_for() -> None:
    images = stamps(Look(8.0, spread=0, elongation=1.0, elongation_spread=0, clumps=0), stream(1), 16).images
    area = (images > 0.4).sum(axis=(1, 2)) * MPP**2
    np.testing.assert_allclose(area, np.pi * 4**2, rtol=0.15)


def test_stamps_point_where_they_are_turned() -> None:
    library = stamps(Look(8.0, elongation=4.0, wobble=0), stream(1), 64)
    for angle in (0.2, 1.0, 2.0, 3.0):
        image = library.images[library.toward(np.array([angle]), stream(2), stray=0.0)[0]]
        y, x = np.argwhere(image > 0.3).T - np.asarray([[image.shape[0] // 2], [image.shape[1] // 2]])
        found = 0.5 * np.arctan2(2 * (x * y).mean(), (x * x).mean() - (y * y).mean())
        assert abs(np.mod(found - angle + np.pi / 2, np.pi) - np.pi / 2) < 0.12
