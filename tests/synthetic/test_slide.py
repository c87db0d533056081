from collections import Counter
from functools import cache

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.synthetic.layout import SlideLayout, plan_layout
from histoscout.synthetic.patient import MIXES, MPP, make_patient, random_stream
from histoscout.synthetic.slide import (
    UNSURE_SHARE,
    SyntheticSlide,
    annotated_regions,
    draw_slide,
    true_regions,
)

SIDE = 1200
BOTH, LOOK_ALIKES = MIXES.index("both"), MIXES.index("look-alikes")
SIZE_UM = (1400, 1100)


@cache
def cached_slide(seed: int, patient: int) -> SyntheticSlide:
    return draw_slide(seed, patient, (SIDE, SIDE))


def layout_of(number: int) -> SlideLayout:
    return plan_layout(make_patient(number), SIZE_UM, random_stream(2, number, 0))


# ---------------------------------------------------------------- slides


def test_the_same_numbers_give_the_same_slide() -> None:
    first, second = draw_slide(3, 5, (700, 900)), draw_slide(3, 5, (700, 900))
    assert first.pixels.tobytes() == second.pixels.tobytes()
    assert (first.regions, first.truth, first.artifacts) == (second.regions, second.truth, second.artifacts)


@pytest.mark.parametrize(("seed", "patient"), [(4, 5), (3, 6)])
def test_other_numbers_give_another_slide(seed: int, patient: int) -> None:
    first, second = draw_slide(3, 5, (700, 900)), draw_slide(seed, patient, (700, 900))
    assert (first.pixels != second.pixels).mean() > 0.3
    assert first.truth != second.truth


@pytest.mark.parametrize("size", [(512, 512), (701, 1033)])
def test_any_size(size: tuple[int, int]) -> None:
    slide = draw_slide(0, 1, size)
    assert slide.pixels.shape == (*size, 3)
    assert slide.pixels.dtype == np.uint8
    assert slide.mpp == MPP


def test_outlines_are_valid_and_on_the_slide() -> None:
    whole = shapely.box(0, 0, SIDE, SIDE)
    slide = cached_slide(0, BOTH)
    assert slide.truth
    for region in (*slide.regions, *slide.truth, *slide.artifacts):
        assert region.outline.is_valid
        assert whole.covers(region.outline)


def test_filled_ducts_are_darker_than_the_stroma() -> None:
    slide = cached_slide(0, BOTH)
    masks = [polygon_to_mask(region.outline, Box(0, 0, SIDE, SIDE), 1.0) for region in slide.truth]
    stroma_red = slide.pixels[~np.any(masks, axis=0)].mean(axis=0)[0]
    ducts = [
        slide.pixels[mask].mean(axis=0)[0]
        for region, mask in zip(slide.truth, masks, strict=True)
        if region.label in ("UDH", "ADH", "unclear")
    ]
    assert ducts
    assert max(ducts) < stroma_red - 15


def test_a_slide_has_the_mix_of_its_patient() -> None:
    assert not cached_slide(0, LOOK_ALIKES).truth.with_labels("UDH")
    assert cached_slide(0, LOOK_ALIKES).truth.with_labels("ADH")
    assert cached_slide(0, BOTH).truth.with_labels("UDH")
    assert cached_slide(0, BOTH).truth.with_labels("ADH")


# ---------------------------------------------------------------- annotations


@given(st.integers(0, 2**31))
def test_every_udh_duct_is_annotated_once_and_no_other_structure_as_udh(number: int) -> None:
    layout = layout_of(number)
    annotated = annotated_regions(layout, random_stream(1)).with_labels("UDH", "UDH-unsure")
    true = true_regions(layout, random_stream(1)).with_labels("UDH", "unclear")
    assert len(annotated) == len(true)
    for region, exact in zip(annotated, true, strict=True):
        shared = region.outline.intersection(exact.outline).area
        assert 0.7 < shared / region.outline.union(exact.outline).area < 1
        assert exact.label == "UDH" or region.label == "UDH-unsure"


@given(st.integers(0, 2**31))
def test_annotations_are_valid_outlines_with_unique_ids(number: int) -> None:
    layout = layout_of(number)
    regions = annotated_regions(layout, random_stream(1))
    assert regions == annotated_regions(layout, random_stream(1))
    assert len({region.id for region in regions}) == len(regions)
    assert set(regions.labels) <= {"UDH", "UDH-unsure", "ADH", "Normal", "Lymphocytes"}
    for region in regions:
        assert region.outline.is_valid
        assert shapely.box(0, 0, SIZE_UM[1] / MPP, SIZE_UM[0] / MPP).covers(region.outline)


def test_shares_of_annotated_and_of_unsure_structures() -> None:
    true, annotated = Counter[str](), Counter[str]()
    for number in range(60):
        layout = layout_of(number)
        true.update(region.label for region in true_regions(layout, random_stream(number)))
        annotated.update(region.label for region in annotated_regions(layout, random_stream(number)))
    unsure = (annotated["UDH-unsure"] - true["unclear"]) / true["UDH"]
    assert abs(unsure - UNSURE_SHARE) < 0.1
    assert 0.7 < annotated["ADH"] / true["ADH"] < 0.95
    assert 0.3 < annotated["Normal"] / true["Normal"] < 0.7
    assert true["ADH"] * 0.2 < true["UDH"] < true["ADH"] * 0.5
