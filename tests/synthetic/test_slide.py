from functools import cache

import numpy as np
import pytest
import shapely

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import mask_of
from histoscout.synthetic.patient import MIXES, MPP
from histoscout.synthetic.slide import PhantomSlide, draw

SIDE = 1200
BOTH, LOOK_ALIKES = MIXES.index("both"), MIXES.index("look-alikes")


@cache
def drawn(seed: int, patient: int) -> PhantomSlide:
    return draw(seed, patient, (SIDE, SIDE))


def test_same_numbers_same_slide() -> None:
    one, two = draw(3, 5, (700, 900)), draw(3, 5, (700, 900))
    assert one.pixels.tobytes() == two.pixels.tobytes()
    assert (one.regions, one.truth, one.artifacts) == (two.regions, two.truth, two.artifacts)


@pytest.mark.parametrize(("seed", "patient"), [(4, 5), (3, 6)])
def test_other_numbers_other_slide(seed: int, patient: int) -> None:
    one, two = draw(3, 5, (700, 900)), draw(seed, patient, (700, 900))
    assert (one.pixels != two.pixels).mean() > 0.3
    assert one.truth != two.truth


@pytest.mark.parametrize("size", [(512, 512), (701, 1033)])
def test_any_size(size: tuple[int, int]) -> None:
    slide = draw(0, 1, size)
    assert slide.pixels.shape == (*size, 3)
    assert slide.pixels.dtype == np.uint8
    assert slide.mpp == MPP


def test_outlines_lie_on_the_slide_and_are_valid() -> None:
    whole = shapely.box(0, 0, SIDE, SIDE)
    slide = drawn(0, BOTH)
    for region in (*slide.regions, *slide.truth, *slide.artifacts):
        assert region.outline.is_valid
        assert whole.covers(region.outline)


def test_ducts_are_darker_and_bluer_than_what_is_round_them() -> None:
    slide = drawn(0, BOTH)
    box = Box(0, 0, SIDE, SIDE)
    masks = [mask_of(region.outline, box, 1.0) for region in slide.truth]
    anywhere = np.any(masks, axis=0)
    for region, mask in zip(slide.truth, masks, strict=True):
        if region.label in ("UDH", "ADH", "unclear"):
            inside, outside = slide.pixels[mask].mean(axis=0), slide.pixels[~anywhere].mean(axis=0)
            assert inside[0] < outside[0] - 15


def test_the_mix_of_a_patient_shows() -> None:
    assert not drawn(0, LOOK_ALIKES).truth.labeled("UDH")
    assert drawn(0, LOOK_ALIKES).truth.labeled("ADH")
    assert drawn(0, BOTH).truth.labeled("UDH")
    assert drawn(0, BOTH).truth.labeled("ADH")
