"""The protocol's numbers: one to three, eight to two, grown by half, the grid and the filter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.recipe import IGNORE
from histoscout.slides.image_reader import slide_from_array
from histoscout.study import protocol
from histoscout.study.faults import mask_function
from histoscout.study.tiles import (
    balance_classes,
    filter_tiles,
    find_masked_tiles,
    read_tiles,
    sample_tiles,
    tile_grid,
)
from histoscout.tissue.mask import find_tissue
from tests import toy
from tests.study.toy_slides import SIDE, labeled, make_recipe

NO_FAULTS = frozenset[str]()
ONLY_J = frozenset("J")
SEEDS = st.integers(0, 100)


@st.composite
def has_masks(draw: st.DrawFn) -> list[bool]:
    """Which tiles have a mask: one in five of them at most, as on slides where lesions are rare."""
    count = draw(st.integers(40, 400))
    masked = draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count // 5))
    return [number in masked for number in range(count)]


@given(has_masks(), SEEDS)
def test_three_negatives_per_positive_split_eight_to_two_and_grown_by_half(
    masked: list[bool], seed: int
) -> None:
    has_mask = np.array(masked)
    split = sample_tiles(has_mask, ["A"] * len(has_mask), ONLY_J, seed=seed)
    chosen = np.concatenate([np.unique(split.train), split.test])
    assert len(chosen) == 4 * has_mask.sum()
    assert has_mask[chosen].sum() == has_mask.sum()
    assert len(split.test) == round(0.2 * len(chosen))
    assert not set(split.train) & set(split.test)
    distinct = len(chosen) - len(split.test)
    assert len(split.train) == distinct + round(0.5 * distinct)
    assert np.bincount(split.train).max() <= 2


@given(has_masks(), SEEDS)
def test_with_g_tiles_are_repeated_before_the_split(masked: list[bool], seed: int) -> None:
    has_mask = np.array(masked)
    split = sample_tiles(has_mask, ["A"] * len(has_mask), ONLY_J | {"G"}, seed=seed)
    count = has_mask.sum() + min(len(has_mask), 3 * has_mask.sum())
    assert len(split.train) + len(split.test) == count + round(0.5 * count)
    assert len(split.test) == round(0.2 * (count + round(0.5 * count)))


def test_with_g_the_same_tiles_are_in_both_sets() -> None:
    has_mask = np.arange(400) % 10 == 0
    leaking = sample_tiles(has_mask, ["A"] * 400, ONLY_J | {"G"}, seed=0)
    assert set(leaking.train) & set(leaking.test)


@given(has_masks(), SEEDS)
def test_without_j_only_the_last_patient_is_tested_on(masked: list[bool], seed: int) -> None:
    has_mask = np.array(masked * 2)
    patients = np.repeat(["A", "B"], len(masked)).tolist()
    split = sample_tiles(has_mask, patients, NO_FAULTS, seed=seed)
    assert {patients[index] for index in split.train} <= {"A"}
    assert {patients[index] for index in split.test} <= {"B"}


@given(has_masks(), SEEDS)
def test_the_same_seed_samples_the_same_tiles(masked: list[bool], seed: int) -> None:
    has_mask = np.array(masked)
    first, second = (sample_tiles(has_mask, ["A"] * len(has_mask), ONLY_J, seed=seed) for _ in range(2))
    assert np.array_equal(first.train, second.train)
    assert np.array_equal(first.test, second.test)


def test_the_grid_drops_incomplete_tiles() -> None:
    slide = labeled()
    assert len(tile_grid(slide, make_recipe())) == 64
    assert len(tile_grid(slide, make_recipe(**{"patches.size_um": 96.0}))) == 25


def test_the_filter_keeps_tiles_whose_deviation_is_at_least_the_threshold() -> None:
    recipe = make_recipe()
    pixels, regions = toy.draw(0)
    # three columns of empty glass
    pixels = pixels.copy()
    pixels[:, : 3 * SIDE] = 240
    slide = slide_from_array(pixels, 1.0, "half empty")
    tissue = find_tissue(slide, recipe.tissue, recipe.patches)
    labeled_slide = LabeledSlide(slide, "A", regions, tissue, recipe)
    kept = {tile.box for tile in filter_tiles([labeled_slide], recipe)}
    deviations = {box: slide.read(box, 1.0).std() for box in tile_grid(labeled_slide, recipe)}
    assert 0 < len(kept) < len(deviations)
    assert kept == {box for box, deviation in deviations.items() if deviation >= protocol.STD}


def test_without_faults_images_and_masks_are_the_ordinary_ones_bit_for_bit() -> None:
    slide, recipe = labeled(), make_recipe()
    make_mask = mask_function(NO_FAULTS)
    tiles = filter_tiles([slide], recipe)[:10]
    pixels = read_tiles(tiles, [slide], make_mask, recipe=recipe)
    for number, tile in enumerate(tiles):
        assert np.array_equal(pixels.images[number], slide.picture(tile.box, 1.0))
        assert np.array_equal(pixels.own[number], slide.mask(tile.box, 1.0))
    assert np.array_equal(pixels.own, pixels.truth)
    has_mask = find_masked_tiles(tiles, [slide], make_mask, recipe=recipe)
    assert has_mask.tolist() == [(mask == 1).any() for mask in pixels.own]


@given(st.lists(st.sampled_from([0, 1, IGNORE]), min_size=1, max_size=60))
def test_the_classifier_sees_both_classes_equally_often(targets: list[int]) -> None:
    values = np.array(targets, np.uint8)
    balanced = values[balance_classes(values)]
    if {0, 1} <= set(targets):
        assert (balanced == 1).sum() == (balanced == 0).sum() == max(targets.count(0), targets.count(1))
    else:
        assert balanced.tolist() == targets


def test_the_papers_own_numbers_agree() -> None:
    assert pytest.approx(0.44, abs=0.01) == protocol.VIEW_PER_LESION
    assert pytest.approx(743 * 4 * 1.5 * 0.8, abs=protocol.BATCH) == protocol.STEPS_PER_EPOCH * protocol.BATCH
    for row in (*protocol.TABLE_2.values(), protocol.TABLE_3_UDH):
        f1 = 2 * row.precision * row.recall / (row.precision + row.recall)
        assert row.f1 == pytest.approx(f1, abs=0.003)
    assert SIDE % 32 == 0
