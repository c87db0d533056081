"""Each check of network, loss and optimizer fails on its fault, and is good on a sound network."""

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from histoscout.network.build import build_network
from histoscout.network.losses import make_loss, set_prior_bias
from histoscout.recipe import Recipe
from histoscout.recipe_sections import TrainingConfig
from histoscout.training.optimizer import make_optimizer
from histoscout.training.sanity.network import (
    Batch,
    base_rate_loss,
    check_initial_loss,
    check_network_logits,
    check_optimizer_parameters,
    check_overfits_one_batch,
    check_single_sigmoid,
)
from histoscout.training.validation import positive_probability
from tests.network import tiny

SHARES = [0.9, 0.1]
CHOICES = TrainingConfig.model_validate({})
LOSSES = ("bce", "cross_entropy", "dice+bce", "dice+cross_entropy", "focal", "tversky")


def some_batch(side: int = 64, count: int = 4) -> Batch:
    """Noise with a bright square in each patch, the positive class: 0.1 of the pixels."""
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


def with_prior(recipe: Recipe) -> nn.Module:
    network = tiny.network(recipe)
    set_prior_bias(network, SHARES)
    return network


# ---------------------------------------------------------------- loss at the start


@pytest.mark.parametrize(("architecture", "loss"), [*itertools.product(["unet_bn"], LOSSES), ("unet", "bce")])
def test_the_initial_loss_of_a_sound_network_is_that_of_the_base_rate(architecture: str, loss: str) -> None:
    recipe = tiny.recipe(architecture, loss)
    verdict = check_initial_loss(with_prior(recipe), make_loss(recipe), some_batch(), shares=SHARES)
    assert verdict.state == "good", verdict


@pytest.mark.parametrize("loss", ["bce", "cross_entropy"])
def test_the_base_rate_loss_of_cross_entropy_is_the_entropy(loss: str) -> None:
    targets = torch.zeros(2, 10, 10, dtype=torch.uint8)
    targets[0, :2] = 1
    entropy = -(0.1 * math.log(0.1) + 0.9 * math.log(0.9))
    found = base_rate_loss(make_loss(tiny.recipe(loss=loss)), targets, 1 if loss == "bce" else 2)
    assert found == pytest.approx(entropy, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_network_with_another_prior_is_a_warning(loss: str) -> None:
    recipe = tiny.recipe("unet_bn", loss)
    network = tiny.network(recipe)
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([2.0] if loss.endswith("bce") else [0.0, 3.0]))  # type: ignore[union-attr, operator]
    verdict = check_initial_loss(network, make_loss(recipe), some_batch(), shares=SHARES)
    assert verdict.state == "warning"
    assert verdict.remedy


def test_images_without_normalization_are_a_warning() -> None:
    recipe, batch = tiny.recipe("unet", "bce"), some_batch()
    colored = Batch((batch.images + 3) * 60, batch.targets)
    assert (
        check_initial_loss(with_prior(recipe), make_loss(recipe), colored, shares=SHARES).state == "warning"
    )


def test_a_network_without_prior_cannot_tell() -> None:
    recipe = tiny.recipe("unet_bn", "bce")
    assert (
        check_initial_loss(with_prior(recipe), make_loss(recipe), some_batch(), shares=None).state
        == "cannot tell"
    )


def test_checks_do_not_change_the_network() -> None:
    recipe = tiny.recipe("unet_bn", "bce")
    network = with_prior(recipe).eval()
    before = copy.deepcopy(network.state_dict())
    check_initial_loss(network, make_loss(recipe), some_batch(), shares=SHARES)
    check_network_logits(network, some_batch().images)
    assert all((value == before[name]).all() for name, value in network.state_dict().items())
    assert not network.training


# ---------------------------------------------------------------- overfitting one batch


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
        return base_rate_loss(self.loss, self.batch.targets, 1)


def test_a_stalled_start_is_a_warning() -> None:
    recipe = tiny.recipe("unet", "bce", {"loss.prior_bias": False})
    steps = Steps(recipe, tiny.network(recipe), 1e-6)
    verdict = check_overfits_one_batch(steps, steps.base, seconds=60)
    assert verdict.state == "warning"
    assert "learning_rate" in verdict.remedy


@pytest.mark.parametrize("architecture", ["unet", "unet_bn"])
def test_a_sound_learning_rate_overfits(architecture: str) -> None:
    recipe = tiny.recipe(architecture, "bce")
    steps = Steps(recipe, with_prior(recipe), 3e-3)
    assert check_overfits_one_batch(steps, steps.base, seconds=60).state == "good"


def test_too_few_steps_cannot_tell() -> None:
    recipe = tiny.recipe("unet", "bce")
    steps = Steps(recipe, with_prior(recipe), 1e-6)
    assert check_overfits_one_batch(steps, steps.base, seconds=0).state == "cannot tell"


# ---------------------------------------------------------------- optimizer


def test_the_optimizer_of_the_network_is_good() -> None:
    network = tiny.network(tiny.recipe("unet_bn", "bce"))
    assert check_optimizer_parameters(network, make_optimizer(network, CHOICES)).state == "good"


def test_the_optimizer_of_another_network_fails() -> None:
    network = tiny.network(tiny.recipe("unet_bn", "bce"))
    verdict = check_optimizer_parameters(network, make_optimizer(copy.deepcopy(network), CHOICES))
    assert verdict.state == "failed"


def test_missing_parameters_fail_and_frozen_ones_are_a_warning() -> None:
    network = tiny.network(tiny.recipe("unet_bn", "bce"))
    part = torch.optim.Adam(list(network.parameters())[:-1])
    assert check_optimizer_parameters(network, part).state == "failed"
    next(network.parameters()).requires_grad_(False)
    verdict = check_optimizer_parameters(network, make_optimizer(network, CHOICES))
    assert verdict.state == "warning"


# ---------------------------------------------------------------- logits


@pytest.mark.parametrize(("architecture", "loss"), [("smp.Unet", "dice+cross_entropy"), ("unet", "bce")])
def test_networks_of_histoscout_give_logits(architecture: str, loss: str) -> None:
    assert (
        check_network_logits(with_prior(tiny.recipe(architecture, loss)), some_batch().images).state == "good"
    )


def test_a_sigmoid_in_the_network_fails() -> None:
    network = nn.Sequential(with_prior(tiny.recipe("unet", "bce")), nn.Sigmoid())
    verdict = check_network_logits(network, some_batch().images)
    assert verdict.state == "failed"


class Hidden(nn.Module):
    """A network with a sigmoid that is not a module."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.network(images))


def test_a_hidden_sigmoid_fails() -> None:
    assert (
        check_network_logits(Hidden(with_prior(tiny.recipe("unet", "bce"))), some_batch().images).state
        == "failed"
    )


def test_a_second_sigmoid_in_evaluation_fails() -> None:
    verdict = check_single_sigmoid(lambda logits: positive_probability(logits).sigmoid(), 1)
    assert verdict.state == "failed"
    assert "0.50" in verdict.message
    assert "0.73" in verdict.message


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_a_single_sigmoid_is_good(outputs: int) -> None:
    assert check_single_sigmoid(positive_probability, outputs).state == "good"


def test_the_probe_accepts_networks_with_one_channel() -> None:
    recipe = tiny.recipe("unet_bn", "bce", {"network.input_channels": 1})
    assert check_network_logits(build_network(recipe), torch.randn(2, 1, 64, 64)).state == "good"
