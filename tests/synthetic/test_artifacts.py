import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.regions import Region, Regions
from histoscout.synthetic.canvas import StainCanvas
from histoscout.synthetic.patient import random_stream
from histoscout.synthetic.slide import draw_folds_and_blur, draw_pen_marks, plan_artifacts

SIDE = 400
OUTLINE = shapely.Point(190, 210).buffer(90)


def texture() -> NDArray[np.float32]:
    return random_stream(1).uniform(0.2, 1.0, (SIDE, SIDE)).astype(np.float32)


@pytest.mark.parametrize("label", ["fold", "blur", "pen"])
def test_an_artifact_changes_its_region_and_nothing_else(label: str) -> None:
    artifacts = Regions.of([Region(OUTLINE, label)])
    canvas, pixels = StainCanvas(texture(), texture()), np.full((SIDE, SIDE, 3), 230, np.uint8)
    draw_folds_and_blur(canvas, artifacts)
    draw_pen_marks(pixels, artifacts)
    changed = (canvas.hematoxylin != texture()) | (canvas.eosin != texture()) | (pixels != 230).any(axis=2)
    inside = polygon_to_mask(OUTLINE, Box(0, 0, SIDE, SIDE), 1.0)
    assert changed[inside].mean() > 0.9
    assert not changed[~inside].any()


def test_a_fold_is_darker_a_blur_is_smoother_a_pen_is_ink() -> None:
    inside = polygon_to_mask(OUTLINE.buffer(-30), Box(0, 0, SIDE, SIDE), 1.0)
    fold, blur = StainCanvas(texture(), texture()), StainCanvas(texture(), texture())
    draw_folds_and_blur(fold, Regions.of([Region(OUTLINE, "fold")]))
    draw_folds_and_blur(blur, Regions.of([Region(OUTLINE, "blur")]))
    assert (fold.hematoxylin[inside] > 1.5 * texture()[inside]).all()
    assert blur.eosin[inside].std() < 0.2 * texture()[inside].std()
    pixels = np.full((SIDE, SIDE, 3), 230, np.uint8)
    draw_pen_marks(pixels, Regions.of([Region(OUTLINE, "pen")]))
    assert pixels[inside].min(axis=1).max() < 140


@given(st.integers(0, 10**6), st.tuples(st.integers(256, 3000), st.integers(256, 3000)))
def test_planned_artifacts_are_on_the_slide(seed: int, size: tuple[int, int]) -> None:
    for region in plan_artifacts(size, random_stream(seed)):
        assert region.outline.is_valid
        assert shapely.box(0, 0, 2 * size[1], 2 * size[0]).covers(region.outline)


@pytest.mark.parametrize("label", ["fold", "blur", "pen"])
def test_each_artifact_occurs_on_some_slides(label: str) -> None:
    with_label = [label in plan_artifacts((2048, 2048), random_stream(seed)).labels for seed in range(60)]
    assert 5 < sum(with_label) < 50
