"""The protocol's figures as laws: 1:3, 8:2, grown by half, the grid and the filter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.recipe import IGNORE
from histoscout.study import protocol
from histoscout.study.faults import masks
from histoscout.study.tiles import balanced, draw_tiles, kept_tiles, read_tiles, tile_grid, with_mask
from tests.study.toy_slides import SIDE, labeled, recipe

J = frozenset("J")


@st.composite
def has_masks(draw: st.DrawFn) -> list[bool]:
    """Which tiles have a mask: one in five of them at most, as on slides where lesions are rare."""
    count = draw(st.integers(40, 400))
    marked = draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count // 5))
    return [number in marked for number in range(count)]


@given(has_masks(), st.integers(0, 100))
def test_one_to_three_eight_to_two_and_grown_by_half(has_mask: list[bool], seed: int) -> None:
    marked = np.array(has_mask)
    drawn = draw_tiles(marked, ["A"] * len(marked), J, seed)
    chosen = np.concatenate([np.unique(drawn.train), drawn.test])
    assert len(chosen) == 4 * marked.sum()
    assert marked[chosen].sum() == marked.sum()
    assert len(drawn.test) == round(0.2 * len(chosen))
    assert not set(drawn.train) & set(drawn.test)
    distinct = len(chosen) - len(drawn.test)
    assert len(drawn.train) == distinct + round(0.5 * distinct)
    assert np.bincount(drawn.train).max() <= 2


@given(has_masks(), st.integers(0, 100))
def test_with_g_tiles_are_repeated_before_the_split(has_mask: list[bool], seed: int) -> None:
    marked = np.array(has_mask)
    drawn = draw_tiles(marked, ["A"] * len(marked), J | {"G"}, seed)
    count = marked.sum() + min(len(marked), 3 * marked.sum())
    assert len(drawn.train) + len(drawn.test) == count + round(0.5 * count)
    assert len(drawn.test) == round(0.2 * (count + round(0.5 * count)))


def test_with_g_the_same_tiles_are_in_both_sets() -> None:
    marked = np.arange(400) % 10 == 0
    leaking = draw_tiles(marked, ["A"] * 400, J | {"G"}, 0)
    assert set(leaking.train) & set(leaking.test)


@given(has_masks(), st.integers(0, 100))
def test_without_j_the_last_patient_alone_is_tested_on(has_mask: list[bool], seed: int) -> None:
    marked = np.array(has_mask * 2)
    patients = np.repeat(["A", "B"], len(has_mask)).tolist()
    drawn = draw_tiles(marked, patients, frozenset(), seed)
    assert {patients[index] for index in drawn.train} <= {"A"}
    assert {patients[index] for index in drawn.test} <= {"B"}


@given(has_masks(), st.integers(0, 100))
def test_the_same_seed_draws_the_same_tiles(has_mask: list[bool], seed: int) -> None:
    marked = np.array(has_mask)
    one, other = (draw_tiles(marked, ["A"] * len(marked), J, seed) for _ in range(2))
    assert np.array_equal(one.train, other.train)
    assert np.array_equal(one.test, other.test)


def test_the_grid_drops_incomplete_tiles() -> None:
    slide = labeled()
    assert len(tile_grid(slide, recipe())) == 64
    assert len(tile_grid(slide, recipe(**{"patches.size_um": 96.0}))) == 25


def test_the_filter_keeps_tiles_whose_deviation_is_at_least_the_threshold() -> None:
    slide, choices = labeled(), recipe()
    kept = {tile.box for tile in kept_tiles([slide], choices)}
    for box in tile_grid(slide, choices):
        spread = slide.slide.read(box, 1.0).std()
        assert (spread >= protocol.STD) == (box in kept)


def test_without_faults_pictures_and_masks_are_the_ordinary_ones_bit_for_bit() -> None:
    slide, choices = labeled(), recipe()
    tiles = kept_tiles([slide], choices)[:10]
    pixels = read_tiles(tiles, [slide], masks(frozenset()), choices)
    for number, tile in enumerate(tiles):
        assert np.array_equal(pixels.pictures[number], slide.picture(tile.box, 1.0))
        assert np.array_equal(pixels.own[number], slide.mask(tile.box, 1.0))
    assert np.array_equal(pixels.own, pixels.truth)
    marked = with_mask(tiles, [slide], masks(frozenset()), choices)
    assert marked.tolist() == [(mask == 1).any() for mask in pixels.own]


@given(st.lists(st.sampled_from([0, 1, IGNORE]), min_size=1, max_size=60))
def test_the_classifier_sees_both_kinds_equally_often(targets: list[int]) -> None:
    values = np.array(targets, np.uint8)
    chosen = values[balanced(values)]
    if {0, 1} <= set(targets):
        assert (chosen == 1).sum() == (chosen == 0).sum() == max(targets.count(0), targets.count(1))


def test_the_papers_own_numbers_agree_with_one_another() -> None:
    assert pytest.approx(0.44, abs=0.01) == protocol.VIEW
    assert pytest.approx(743 * 4 * 1.5 * 0.8, abs=protocol.BATCH) == protocol.STEPS_PER_EPOCH * protocol.BATCH
    for row in (*protocol.TABLE_2.values(), protocol.TABLE_3_UDH):
        assert row.f1 == pytest.approx(
            2 * row.precision * row.recall / (row.precision + row.recall), abs=0.003
        )
    assert SIDE % 32 == 0
