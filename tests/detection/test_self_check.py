"""Detection sees the slide as it is; a reader that varies what it reads is heard."""

import numpy as np
import pytest
from numpy.typing import NDArray

from histoscout.detection import inference
from histoscout.detection.grid import WindowPlan
from histoscout.detection.self_check import check_no_augmentation
from histoscout.geometry.box import Box
from histoscout.slides.image_reader import slide_from_array
from tests import toy

BOXES = [Box(x, y, 128, 128) for x in (0, 128, 300) for y in (0, 64, 256)]


@pytest.mark.parametrize("flips", [1, 2, 4, 8])
def test_what_is_seen_is_what_lies_there_whatever_the_views(flips: int) -> None:
    slide = slide_from_array(toy.draw(0)[0], 1.0, "toy")
    verdict = check_no_augmentation(
        slide, BOXES, WindowPlan(mpp=2.0, side_px=64, stride_px=32, batch=3, views=flips)
    )
    assert verdict.state == "good"


def test_f_flips_at_test_time_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study's flip was active in evaluation as well."""

    def flipped(images: NDArray[np.generic], view: object) -> NDArray[np.generic]:
        return images[:, :, ::-1]

    monkeypatch.setattr(
        inference,
        "apply_view",
        lambda images, view: flipped(images, view) if images.shape[-1] == 3 else images,
    )
    slide = slide_from_array(toy.draw(0)[0], 1.0, "toy")
    assert (
        check_no_augmentation(slide, BOXES, WindowPlan(mpp=2.0, side_px=64, stride_px=32)).state == "failed"
    )


def test_a_slide_without_windows_cannot_be_judged() -> None:
    slide = slide_from_array(toy.draw(0)[0], 1.0, "toy")
    assert (
        check_no_augmentation(slide, [], WindowPlan(mpp=2.0, side_px=64, stride_px=32)).state == "cannot tell"
    )
