import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import mask_of
from histoscout.geometry.regions import Region, Regions
from histoscout.synthetic.patient import stream
from histoscout.synthetic.slide import planned, spoil, write_on
from histoscout.synthetic.textures import Canvas

SIDE = 400
PLACE = shapely.Point(190, 210).buffer(90)


def texture() -> NDArray[np.float32]:
    return stream(1).uniform(0.2, 1.0, (SIDE, SIDE)).astype(np.float32)


@pytest.mark.parametrize("label", ["fold", "blur", "pen"])
def test_an_artifact_changes_what_it_says_and_nothing_else(label: str) -> None:
    regions = Regions.of([Region(PLACE, label)])
    canvas, pixels = Canvas(texture(), texture()), np.full((SIDE, SIDE, 3), 230, np.uint8)
    spoil(canvas, regions)
    write_on(pixels, regions)
    changed = (canvas.hematoxylin != texture()) | (canvas.eosin != texture()) | (pixels != 230).any(axis=2)
    inside = mask_of(PLACE, Box(0, 0, SIDE, SIDE), 1.0)
    assert changed[inside].mean() > 0.9
    assert not changed[~inside].any()


def test_a_fold_is_darker_a_blur_is_smoother_a_pen_is_ink() -> None:
    inside = mask_of(PLACE.buffer(-30), Box(0, 0, SIDE, SIDE), 1.0)
    fold, blur = Canvas(texture(), texture()), Canvas(texture(), texture())
    spoil(fold, Regions.of([Region(PLACE, "fold")]))
    spoil(blur, Regions.of([Region(PLACE, "blur")]))
    assert (fold.hematoxylin[inside] > 1.5 * texture()[inside]).all()
    assert blur.eosin[inside].std() < 0.2 * texture()[inside].std()
    pixels = np.full((SIDE, SIDE, 3), 230, np.uint8)
    write_on(pixels, Regions.of([Region(PLACE, "pen")]))
    assert pixels[inside].min(axis=1).max() < 140


@given(st.integers(0, 10**6), st.tuples(st.integers(256, 3000), st.integers(256, 3000)))
def test_planned_artifacts_lie_on_the_slide(seed: int, size: tuple[int, int]) -> None:
    for region in planned(size, stream(seed)):
        assert region.outline.is_valid
        assert shapely.box(0, 0, 2 * size[1], 2 * size[0]).covers(region.outline)


def test_each_artifact_occurs_and_none_always() -> None:
    labels = [set(planned((2048, 2048), stream(seed)).labels) for seed in range(60)]
    for label in ("fold", "blur", "pen"):
        assert 5 < sum(label in found for found in labels) < 50
