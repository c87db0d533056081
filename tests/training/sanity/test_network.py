"""Each guard over network, loss and optimiser speaks when its fault is put in, and is silent on a sound chain."""

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from histoscout.network.build import build_network
from histoscout.network.losses import make_loss, set_prior
from histoscout.recipe import Recipe, TrainingConfig
from histoscout.training.loop import make_optimizer
from histoscout.training.sanity.network import (
    Batch,
    base_loss,
    gives_logits,
    learns_by_heart,
    loss_at_start,
    one_sigmoid,
    optimizer_owns,
)
from histoscout.training.validation import positive_probability
from tests.network import tiny

SHARES = [0.9, 0.1]
CHOICES = TrainingConfig.model_validate({})
LOSSES = ("bce", "cross_entropy", "dice+bce", "dice+cross_entropy", "focal", "tversky")


def some_batch(side: int = 64, count: int = 4) -> Batch:
    """Noise with a bright square in each window, which is the positive class: .1 of the pixels."""
    torch.manual_seed(3)
    images, targets = (
        torch.randn(count, 3, side, side) * 0.5,
        torch.zeros(count, side, side, dtype=torch.uint8),
    )
    square = round(side * math.sqrt(SHARES[1]))
    for number in range(count):
        top, left = (5 * number) % (side - square), (11 * number) % (side - square)
        images[number, :, top : top + square, left : left + square] += 2
        targets[number, top : top + square, left : left + square] = 1
    return Batch(images, targets)


def told(recipe: Recipe) -> nn.Module:
    network = tiny.network(recipe)
    set_prior(network, SHARES)
    return network


# ---------------------------------------------------------------- loss at the start


@pytest.mark.parametrize(("architecture", "loss"), [*itertools.product(["unet_bn"], LOSSES), ("unet", "bce")])
def test_a_sound_start_costs_what_the_base_rate_costs(architecture: str, loss: str) -> None:
    recipe = tiny.recipe(architecture, loss)
    verdict = loss_at_start(told(recipe), make_loss(recipe), some_batch(), SHARES)
    assert verdict.state == "good", verdict


@pytest.mark.parametrize("loss", ["bce", "cross_entropy"])
def test_of_a_cross_entropy_the_base_rate_costs_its_entropy(loss: str) -> None:
    targets = torch.zeros(2, 10, 10, dtype=torch.uint8)
    targets[0, :2] = 1
    entropy = -(0.1 * math.log(0.1) + 0.9 * math.log(0.9))
    found = base_loss(make_loss(tiny.recipe(loss=loss)), targets, 1 if loss == "bce" else 2)
    assert found == pytest.approx(entropy, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_network_that_was_not_told_the_base_rate_is_heard(loss: str) -> None:
    recipe = tiny.recipe("unet_bn", loss)
    network = tiny.network(recipe)
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([2.0] if loss.endswith("bce") else [0.0, 3.0]))  # type: ignore[union-attr, operator]
    verdict = loss_at_start(network, make_loss(recipe), some_batch(), SHARES)
    assert verdict.state == "warning"
    assert "base rate" in verdict.message
    assert verdict.remedy


def test_pixels_that_were_never_normalized_are_heard() -> None:
    recipe, batch = tiny.recipe("unet", "bce"), some_batch()
    colored = Batch((batch.images + 3) * 60, batch.targets)
    assert loss_at_start(told(recipe), make_loss(recipe), colored, SHARES).state == "warning"


def test_a_network_that_was_told_nothing_cannot_be_judged() -> None:
    recipe = tiny.recipe("unet_bn", "bce")
    assert loss_at_start(told(recipe), make_loss(recipe), some_batch(), None).state == "cannot tell"


def test_looking_at_the_start_changes_nothing() -> None:
    recipe = tiny.recipe("unet_bn", "bce")
    network = told(recipe).eval()
    before = copy.deepcopy(network.state_dict())
    loss_at_start(network, make_loss(recipe), some_batch(), SHARES)
    gives_logits(network, some_batch().images)
    assert all((value == before[name]).all() for name, value in network.state_dict().items())
    assert not network.training


# ---------------------------------------------------------------- one batch by heart


class Steps:
    """Steps of Adam on one batch, as the loop takes them."""

    def __init__(self, recipe: Recipe, network: nn.Module, rate: float) -> None:
        self.network, self.batch, self.loss = network, some_batch(), make_loss(recipe)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=rate)

    def __call__(self) -> float:
        loss = self.loss(self.network(self.batch.images), self.batch.targets)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    @property
    def base(self) -> float:
        return base_loss(self.loss, self.batch.targets, 1)


def test_i_stalled_start_is_heard() -> None:
    recipe = tiny.recipe("unet", "bce", {"loss.prior_bias": False})
    steps = Steps(recipe, tiny.network(recipe), 1e-6)
    verdict = learns_by_heart(steps, steps.base, seconds=60)
    assert verdict.state == "warning"
    assert "base rate" in verdict.message
    assert "learning_rate" in verdict.remedy


@pytest.mark.parametrize("architecture", ["unet", "unet_bn"])
def test_a_sane_learning_rate_learns_by_heart(architecture: str) -> None:
    recipe = tiny.recipe(architecture, "bce")
    steps = Steps(recipe, told(recipe), 3e-3)
    assert learns_by_heart(steps, steps.base, seconds=60).state == "good"


def test_too_few_steps_are_no_verdict() -> None:
    recipe = tiny.recipe("unet", "bce")
    steps = Steps(recipe, told(recipe), 1e-6)
    assert learns_by_heart(steps, steps.base, seconds=0).state == "cannot tell"


# ---------------------------------------------------------------- optimiser


def test_an_optimizer_of_its_own_network_is_good() -> None:
    network = tiny.network(tiny.recipe("unet_bn", "bce"))
    assert optimizer_owns(network, make_optimizer(network, CHOICES)).state == "good"


def test_e_foreign_optimizer_is_heard() -> None:
    network = tiny.network(tiny.recipe("unet_bn", "bce"))
    verdict = optimizer_owns(network, make_optimizer(copy.deepcopy(network), CHOICES))
    assert verdict.state == "failed"
    assert "another network's" in verdict.message


def test_a_part_left_out_and_a_part_frozen_are_heard() -> None:
    network = tiny.network(tiny.recipe("unet_bn", "bce"))
    part = torch.optim.Adam(list(network.parameters())[:-1])
    assert optimizer_owns(network, part).state == "failed"
    next(network.parameters()).requires_grad_(False)
    verdict = optimizer_owns(network, make_optimizer(network, CHOICES))
    assert verdict.state == "warning"
    assert "frozen" in verdict.message


# ---------------------------------------------------------------- logits


@pytest.mark.parametrize(("architecture", "loss"), [("smp.Unet", "dice+cross_entropy"), ("unet", "bce")])
def test_networks_of_the_house_give_logits(architecture: str, loss: str) -> None:
    assert gives_logits(told(tiny.recipe(architecture, loss)), some_batch().images).state == "good"


def test_d_double_sigmoid_in_the_network_is_heard() -> None:
    network = nn.Sequential(told(tiny.recipe("unet", "bce")), nn.Sigmoid())
    verdict = gives_logits(network, some_batch().images)
    assert verdict.state == "failed"
    assert "Sigmoid" in verdict.message


class Hidden(nn.Module):
    """A network whose sigmoid is no module of its own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.network(images))


def test_a_hidden_sigmoid_is_heard() -> None:
    assert gives_logits(Hidden(told(tiny.recipe("unet", "bce"))), some_batch().images).state == "failed"


def test_d_double_sigmoid_in_evaluation_is_heard() -> None:
    verdict = one_sigmoid(lambda logits: positive_probability(logits).sigmoid(), 1)
    assert verdict.state == "failed"
    assert "0.50" in verdict.message
    assert "0.73" in verdict.message


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_one_sigmoid_is_enough(outputs: int) -> None:
    assert one_sigmoid(positive_probability, outputs).state == "good"


def test_the_probe_takes_networks_of_one_channel() -> None:
    recipe = tiny.recipe("unet_bn", "bce", {"network.input_channels": 1})
    assert gives_logits(build_network(recipe), torch.randn(2, 1, 64, 64)).state == "good"
