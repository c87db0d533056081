"""Predictions for whole images: patches that cover them, and the mean over patches."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from histoscout.evaluation.images.inference import patch_starts, predict_images
from histoscout.progress import NoProgress
from histoscout.recipe import Recipe
from tests.detection.redness import Redness, redness


@given(st.floats(1, 5000), st.floats(10, 500))
def test_patches_cover_an_image_and_stay_on_it(length: float, side: float) -> None:
    starts = patch_starts(length, side)
    assert starts[0] <= 1e-6
    assert starts[-1] + side >= length - 1e-6
    assert all(later - earlier <= side + 1e-6 for earlier, later in pairwise(starts))
    if length > side:
        assert starts[0] == 0
        assert starts[-1] + side <= length + 1e-6
    else:
        assert starts == [pytest.approx((length - side) / 2)]


RECIPE = Recipe.from_dict({"patches": {"mpp": 1.0, "size_um": 32.0}, "detection": {"batch_size": 3}})


def _images(folder: Path, pixels: list[NDArray[np.uint8]]) -> list[tuple[Path, float | None]]:
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")
    return [(folder / f"{number}.png", 1.0) for number in range(len(pixels))]


@pytest.mark.parametrize("answers", ["pixels", "tile"])
def test_predictions_are_averaged_over_the_image(tmp_path: Path, answers: str) -> None:
    random = np.random.default_rng(0)
    shapes = [(64, 96), (32, 32), (128, 32), (20, 12)]
    pixels = [random.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
    engine = Redness(("UDH", "N"), "tile" if answers == "tile" else "pixels")
    predictions = predict_images(engine, _images(tmp_path, pixels), RECIPE, NoProgress())
    assert engine.windows == 6 + 1 + 4 + 1
    whole = [float(redness(image).mean()) for image in pixels]
    if answers == "pixels":
        assert predictions.means[:, 0] == pytest.approx(
            whole, abs=1e-6
        )  # white beyond the edges does not count
    else:
        assert predictions.means[:3, 0] == pytest.approx(whole[:3], abs=1e-6)
    assert predictions.means.sum(1) == pytest.approx(np.ones(4), abs=1e-5)


def test_an_image_that_cannot_be_read_is_skipped(tmp_path: Path) -> None:
    images = _images(tmp_path, [np.zeros((40, 40, 3), np.uint8)] * 9)
    images[4] = (tmp_path / "nowhere.png", 1.0)
    (tmp_path / "7.png").write_text("no image")
    predictions = predict_images(Redness(), images, RECIPE, NoProgress())
    assert set(predictions.failed) == {4, 7}
    assert [number for number, weight in enumerate(predictions.weight) if not weight] == [4, 7]
