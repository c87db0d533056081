"""Each fault does what its description says; without faults everything is the ordinary product."""

import copy

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.geometry.box import Box
from histoscout.network.unet import UNet
from histoscout.study.faults import (
    FAULTS,
    LastBatch,
    add_sigmoid,
    copy_network,
    draw_flips,
    mask_function,
    reset_to_default_init,
    with_repaired_start,
    with_wide_view,
)
from histoscout.study.protocol import MODELS
from histoscout.training.optimizer import make_optimizer
from tests.study.toy_slides import SIDE, labeled, make_recipe

NO_FAULTS = frozenset[str]()


def tile(row: int, column: int) -> Box:
    return Box(column * SIDE, row * SIDE, SIDE, SIDE)


def test_the_letters_are_those_of_the_study() -> None:
    names = (
        "displaced-masks last-polygon-wins stale-validation double-sigmoid foreign-optimizer constant-flip"
    )
    names += " tiles-in-both-sets metrics-on-all stalled-start two-patients narrow-view"
    assert list(FAULTS) == list("ABCDEFGHIJK")
    assert [fault.name for fault in FAULTS.values()] == names.split()
    assert {letter for model in MODELS.values() for letter in model.all_faults} == set(FAULTS)


@pytest.mark.parametrize("letter", FAULTS)
def test_no_recipe_can_name_a_fault(letter: str) -> None:
    assert FAULTS[letter].name not in make_recipe().to_toml()


# ---------------------------------------------------------------- A, B: masks


def test_without_faults_masks_are_the_ordinary_function() -> None:
    assert mask_function(NO_FAULTS) is LabeledSlide.mask


def test_a_square_moves_one_tile_down_and_is_flipped() -> None:
    """A square in the top left corner of the tile in row 2 appears at the bottom left of the tile in row 3."""
    slide = labeled([shapely.box(SIDE, 2 * SIDE, SIDE + 10, 2 * SIDE + 6)])
    make_mask = mask_function(frozenset("A"))
    assert make_mask(slide, tile(2, 1), 1.0).sum() == 0
    moved = make_mask(slide, tile(3, 1), 1.0)
    assert moved[-6:, :10].all()
    assert moved.sum() == 60
    assert make_mask(slide, tile(3, 0), 1.0).sum() == 0


@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 5))
def test_a_displaced_mask_is_the_mask_above_upside_down(row: int, column: int, seed: int) -> None:
    slide = labeled(seed=seed)
    above = slide.mask(tile(row - 1, column), 1.0)
    assert np.array_equal(mask_function(frozenset("A"))(slide, tile(row, column), 1.0), np.flipud(above))


def test_the_last_polygon_wins_and_holes_are_filled() -> None:
    ring = shapely.Polygon(shapely.box(30, 30, 50, 50).exterior, [shapely.box(35, 35, 45, 45).exterior])
    slide = labeled([shapely.box(2, 2, 12, 12), ring])
    mask = mask_function(frozenset("B"))(slide, tile(0, 0), 1.0)
    assert mask[30:50, 30:50].all()
    assert mask.sum() == 400
    assert slide.mask(tile(0, 0), 1.0).sum() == 100 + 400 - 100


def test_a_polygon_that_only_touches_a_tile_does_not_win() -> None:
    slide = labeled([shapely.box(2, 2, 12, 12), shapely.box(SIDE, 0, SIDE + 20, 20)])
    assert mask_function(frozenset("B"))(slide, tile(0, 0), 1.0).sum() == 100


def test_both_faults_of_masks_together() -> None:
    slide = labeled([shapely.box(2, 2, 12, 12), shapely.box(20, 0, 30, 5)])
    mask = mask_function(frozenset("AB"))(slide, tile(1, 0), 1.0)
    assert mask[-5:, 20:30].all()
    assert mask.sum() == 50


# ---------------------------------------------------------------- C to F: training


def test_stale_validation_shows_the_last_training_batch() -> None:
    last_batch = LastBatch()
    training = [(torch.full((4, 2), value), torch.zeros(4)) for value in (1, 2)]
    tests = [(torch.full((count, 2), 9), torch.arange(count)) for count in (4, 3)]
    assert [images[0, 0].item() for images, _ in last_batch.remember(training)] == [1, 2]
    shown = list(last_batch.replace_images(tests))
    assert all((images == 2).all() for images, _ in shown)
    assert [len(targets) for _, targets in shown] == [4, 3]


def test_two_sigmoids_call_everything_positive() -> None:
    network = add_sigmoid(nn.Conv2d(3, 1, 1))
    assert (network(torch.randn(2, 3, 8, 8)).sigmoid() > 0.5).all()
    # float32 rounds a very low output to exactly 0.5
    assert not torch.tensor(-40.0).sigmoid().sigmoid() > 0.5


def test_a_foreign_optimizer_leaves_the_network_as_it_was() -> None:
    network = nn.Conv2d(3, 1, 1)
    before = copy.deepcopy(network.state_dict())
    optimizer = make_optimizer(copy_network(network), make_recipe().training)
    network(torch.ones(1, 3, 4, 4)).sum().backward()
    optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_constant_flip_is_the_same_for_every_tile() -> None:
    constant = {draw_flips(5, number, frozenset("F")) for number in range(64)}
    varied = [draw_flips(5, number, NO_FAULTS) for number in range(400)]
    assert len(constant) == 1
    assert len(set(varied)) == 4
    assert 0.4 < np.mean([vertical for vertical, _ in varied]) < 0.6
    assert varied == [draw_flips(5, number, NO_FAULTS) for number in range(400)]


# ---------------------------------------------------------------- I, K: protocol


def test_the_default_initialization_is_torchs_own() -> None:
    torch.manual_seed(0)
    published = UNet(3, 1, (8, 16))
    torch.manual_seed(0)
    default = UNet(3, 1, (8, 16))
    reset_to_default_init(default)
    first = default.get_submodule("down.0.0")
    assert isinstance(first, nn.Conv2d)
    # Kaiming uniform with a = sqrt(5)
    bound = 1 / (3 * 9) ** 0.5
    assert float(first.weight.detach().abs().max()) <= bound
    assert not torch.equal(published.state_dict()["down.0.0.weight"], first.weight)


def test_a_repaired_start_normalizes_and_learns_faster() -> None:
    stated = make_recipe()
    repaired = with_repaired_start(stated)
    assert (repaired.network.architecture, repaired.loss.prior_bias) == ("unet_bn", True)
    assert repaired.training.schedule == "one_cycle"
    assert repaired.training.learning_rate > 100 * stated.training.learning_rate


def test_a_wide_view_keeps_the_pixels_of_a_batch() -> None:
    stated = make_recipe()
    wide = with_wide_view(stated)
    assert wide.patches.size_um == 4 * stated.patches.size_um
    assert wide.patch_px == 2 * stated.patch_px
    assert wide.training.batch_size * wide.patch_px**2 == stated.training.batch_size * stated.patch_px**2
