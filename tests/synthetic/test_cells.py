import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.synthetic.cells import NucleusStyle, draw_stamps, jittered_lattice, place_nuclei
from histoscout.synthetic.patient import MPP, random_stream


@given(
    st.lists(st.tuples(st.floats(-30, 90), st.floats(-30, 90)), min_size=1, max_size=8), st.integers(0, 99)
)
def test_nuclei_over_the_edge_are_cut_off_as_a_larger_field_shows(
    points: list[tuple[float, float]], seed: int
) -> None:
    stamps = draw_stamps(NucleusStyle(diameter=8), random_stream(1), 8)
    chosen = stamps.choose_random(len(points), random_stream(seed))
    small, large = np.zeros((60, 60), np.float32), np.zeros((160, 160), np.float32)
    place_nuclei(small, np.asarray(points), stamps, chosen=chosen)
    place_nuclei(large, np.asarray(points) + 50, stamps, chosen=chosen)
    np.testing.assert_allclose(small, large[50:110, 50:110], atol=1e-5)


@given(st.floats(0, 0.45), st.integers(0, 99))
def test_jitter_does_not_change_the_density(jitter: float, seed: int) -> None:
    points = jittered_lattice(random_stream(seed), (400, 400), 16.0, jitter=jitter)
    assert len(points) == pytest.approx(400 * 400 / (16**2 * np.sqrt(0.75)), rel=0.08)


def test_jitter_makes_distances_uneven() -> None:
    def deviation_of_nearest(jitter: float) -> float:
        points = jittered_lattice(random_stream(3), (400, 400), 16.0, jitter=jitter)
        offsets = points[:, None, :] - points[None, :, :]
        distances = np.hypot(*offsets.transpose(2, 0, 1)) + np.eye(len(points)) * 99
        return float(distances.min(axis=1).std())

    assert deviation_of_nearest(0.05) < 1.5 < deviation_of_nearest(0.35)


def test_stamps_have_the_area_of_their_style() -> None:
    style = NucleusStyle(diameter=8.0, spread=0, elongation=1.0, elongation_spread=0, clumps=0)
    area = (draw_stamps(style, random_stream(1), 16).images > 0.4).sum(axis=(1, 2)) * MPP**2
    np.testing.assert_allclose(area, np.pi * 4**2, rtol=0.15)


def test_oriented_stamps_point_in_the_given_direction() -> None:
    stamps = draw_stamps(NucleusStyle(diameter=8.0, elongation=4.0, wobble=0), random_stream(1), 64)
    for angle in (0.2, 1.0, 2.0, 3.0):
        chosen = stamps.choose_oriented(np.array([angle]), random_stream(2), deviation=0.0)
        image = stamps.images[chosen[0]]
        # the principal axis of the pixels
        y, x = np.argwhere(image > 0.3).T - np.asarray([[image.shape[0] // 2], [image.shape[1] // 2]])
        measured = 0.5 * np.arctan2(2 * (x * y).mean(), (x * x).mean() - (y * y).mean())
        assert abs(np.mod(measured - angle + np.pi / 2, np.pi) - np.pi / 2) < 0.12
