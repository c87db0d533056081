"""Places near one another agree on the class, and nothing else of a heatmap changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.detection import pipeline
from histoscout.detection.heatmap import Heatmap
from histoscout.detection.pipeline import smooth_classes
from histoscout.geometry.box import Box

Levels = NDArray[np.uint8]


def heatmap(values: Levels, mpp: float = 2.0) -> Heatmap:
    _, rows, columns = values.shape
    labels = ("UDH", "ADH", "DCIS")[: len(values)]
    return Heatmap(
        box=Box(0, 0, columns * 4, rows * 4),
        mpp=mpp,
        slide_mpp=0.5,
        slide_name="slide",
        labels=labels,
        values=values.copy(),
        windows=1,
    )


def decided(values: Levels, sigma_um: float, mpp: float = 2.0) -> Levels:
    made = heatmap(values, mpp)
    smooth_classes(made, sigma_um)
    return made.values


def probable(seed: int, classes: int, shape: tuple[int, int]) -> Levels:
    """Maps whose classes add up to 255 at most, as those of a softmax do, with empty places."""
    random = np.random.default_rng(seed)
    parts = random.dirichlet(np.ones(classes + 1), shape).transpose(2, 0, 1)[1:]
    parts *= ndimage.gaussian_filter(random.random(shape), 3) > 0.48
    return np.floor(parts * 255).astype(np.uint8)


maps = st.builds(
    probable, st.integers(0, 99), st.integers(2, 3), st.tuples(st.integers(1, 90), st.integers(1, 90))
)


@settings(max_examples=60, deadline=None)
@given(maps, st.floats(0.5, 400))
def test_that_there_is_a_lesion_stays_as_it_was_said(values: Levels, sigma_um: float) -> None:
    found = decided(values, sigma_um)
    before, after = (one.sum(0, dtype=np.int64) for one in (values, found))
    assert np.abs(before - after).max() <= len(values) / 2
    assert (found[:, before == 0] == 0).all()


@settings(max_examples=30, deadline=None)
@given(maps, st.sampled_from([0.0]) | st.floats(1, 400))
def test_one_class_or_no_neighborhood_changes_nothing(values: Levels, sigma_um: float) -> None:
    assert (decided(values[:1], sigma_um) == values[:1]).all()
    assert (decided(values, 0.0) == values).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.floats(2, 30))
def test_it_is_the_share_of_each_class_in_a_gaussian_neighborhood(seed: int, sigma: float) -> None:
    values = probable(seed, 2, (120, 150))
    exact = np.stack([ndimage.gaussian_filter(one.astype(float), sigma, mode="constant") for one in values])
    wanted = values.sum(0) * exact / np.maximum(exact.sum(0), 1e-9)
    assert np.abs(decided(values, sigma * 2.0).astype(float) - wanted).max() <= 3  # of 255


def test_strips_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    values = probable(0, 3, (301, 97))
    whole = decided(values, 45.0)
    for strip in (7, 64, 100):
        monkeypatch.setattr(pipeline, "STRIP", strip)
        assert np.abs(decided(values, 45.0).astype(int) - whole).max() <= 1


def test_a_lesion_with_a_corner_of_doubt_is_of_one_class() -> None:
    values = np.zeros((2, 60, 60), np.uint8)
    values[0, 10:50, 10:50] = 200
    values[0, 10:22, 10:22], values[1, 10:22, 10:22] = 60, 140
    found = decided(values, 50.0)
    inside = found[:, 10:50, 10:50]
    assert (values[0] < values[1]).any()
    assert (inside[0] > inside[1]).all()


def test_what_lies_far_apart_does_not_mix() -> None:
    values = np.zeros((2, 40, 400), np.uint8)
    values[0, 10:30, 20:60] = 200
    values[1, 10:30, 340:380] = 200
    assert np.abs(decided(values, 50.0).astype(int) - values).max() <= 1
