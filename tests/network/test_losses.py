"""Every loss against a slow and obvious twin in numpy; a line in names.LOSSES enrols it in the laws."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from histoscout import registry
from histoscout.network.losses import make_loss, set_prior_bias
from histoscout.recipe import IGNORE
from tests.network import tiny

ALL = sorted(registry.LOSSES)
Pixels = list[tuple[NDArray[np.float64], int]]  # probabilities with the background first, and the true class


def pixels_of(logits: Tensor, target: Tensor) -> Pixels:
    found = []
    for values, true in zip(logits.movedim(1, -1).reshape(-1, logits.shape[1]), target.view(-1), strict=True):
        numbers = np.array(values.tolist())
        if len(numbers) == 1:
            numbers = np.array([0.0, numbers[0]])
        if int(true) != IGNORE:
            found.append((np.exp(numbers) / np.exp(numbers).sum(), int(true)))
    return found


def slow_cross_entropy(pixels: Pixels, weight: float) -> float:
    weights = [weight if true == 1 else 1.0 for _, true in pixels]
    losses = [-w * math.log(shares[true]) for w, (shares, true) in zip(weights, pixels, strict=True)]
    return sum(losses) / sum(weights)


def slow_focal(pixels: Pixels, weight: float) -> float:
    weights = [weight if true == 1 else 1.0 for _, true in pixels]
    losses = [
        -w * (1 - shares[true]) ** 2 * math.log(shares[true])
        for w, (shares, true) in zip(weights, pixels, strict=True)
    ]
    return float(sum(losses) / sum(weights))


def slow_overlap(pixels: Pixels, weight: float, alarm: float, miss: float, shown_only: bool) -> float:
    losses = []
    for label in range(1, len(pixels[0][0])):
        hits = alarms = misses = 0.0
        for shares, true in pixels:
            w = weight if true == 1 else 1.0
            if true == label:
                hits += w * shares[label]
                misses += w * (1 - shares[label])
            else:
                alarms += w * shares[label]
        if any(true == label for _, true in pixels) or not shown_only:
            losses.append(1 - (hits + 1) / (hits + alarm * alarms + miss * misses + 1))
    return float(sum(losses) / len(losses)) if losses else 0.0


def slow_dice(pixels: Pixels, weight: float) -> float:
    return slow_overlap(pixels, weight, 0.5, 0.5, shown_only=True)


SLOW: dict[str, Callable[[Pixels, float], float]] = {
    "bce": slow_cross_entropy,
    "cross_entropy": slow_cross_entropy,
    "dice+bce": lambda p, w: 0.5 * (slow_cross_entropy(p, w) + slow_dice(p, w)),
    "dice+cross_entropy": lambda p, w: 0.5 * (slow_cross_entropy(p, w) + slow_dice(p, w)),
    "focal": slow_focal,
    "tversky": lambda p, w: slow_overlap(p, w, 0.3, 0.7, shown_only=False),
}


def outputs(name: str, classes: int) -> int:
    return 1 if registry.LOSSES[name].binary else classes


def perfect(name: str, target: Tensor, classes: int) -> Tensor:
    known = torch.where(target == IGNORE, 0, target).long()
    if registry.LOSSES[name].binary:
        return (known[:, None] * 2.0 - 1) * 30
    return nn.functional.one_hot(known, classes).movedim(-1, 1) * 60.0 - 30


@pytest.mark.parametrize("name", ALL)
@given(seed=st.integers(0, 10_000), weight=st.sampled_from([1.0, 3.0]), tiles=st.booleans())
def test_equals_its_slow_twin(name: str, seed: int, weight: float, tiles: bool) -> None:
    random = torch.Generator().manual_seed(seed)
    classes = 2 if registry.LOSSES[name].binary else 3
    space = () if tiles else (4, 5)
    logits = 3 * torch.randn(6, outputs(name, classes), *space, generator=random)
    target = torch.randint(0, classes, (6, *space), generator=random, dtype=torch.uint8)
    target[torch.rand(target.shape, generator=random) < 0.2] = IGNORE
    target.view(-1)[0] = 0  # at least one pixel counts
    found = make_loss(tiny.recipe(loss=name, choices={"loss.positive_weight": weight}))(logits, target)
    assert float(found) == pytest.approx(SLOW[name](pixels_of(logits, target), weight), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_a_perfect_answer_costs_nothing(name: str) -> None:
    target = torch.zeros(2, 8, 8, dtype=torch.uint8)
    target[:, 2:5, 2:5] = 1
    target[0, 7] = IGNORE
    loss = make_loss(tiny.recipe(loss=name))
    assert float(loss(perfect(name, target, 2), target)) == pytest.approx(0, abs=1e-6)
    assert float(loss(-perfect(name, target, 2), target)) > 0.4


@pytest.mark.parametrize("name", ALL)
def test_ignored_pixels_count_for_nothing(name: str) -> None:
    loss = make_loss(tiny.recipe(loss=name))
    target = torch.zeros(2, 8, 8, dtype=torch.uint8)
    target[:, :4, :4] = 1
    target[:, 6:] = IGNORE
    logits = torch.randn(2, outputs(name, 2), 8, 8, requires_grad=True)
    other = logits.detach().clone()
    other[:, :, 6:] += 100
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    assert float(loss(other, target)) == pytest.approx(float(value.detach()), rel=1e-6)
    assert not gradient[:, :, 6:].any()
    assert gradient[:, :, :6].abs().sum() > 0


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("short", [torch.float32, torch.bfloat16])
def test_a_batch_of_ignored_pixels_gives_nought_with_a_gradient(name: str, short: torch.dtype) -> None:
    logits = torch.full((2, outputs(name, 2), 4, 4), 1e4, dtype=short, requires_grad=True)
    value = make_loss(tiny.recipe(loss=name))(logits, torch.full((2, 4, 4), IGNORE, dtype=torch.uint8))
    (gradient,) = torch.autograd.grad(value, logits)
    assert float(value.detach()) == 0
    assert not gradient.any()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_gradients_are_finite(name: str, size: float) -> None:
    logits = (size * torch.randn(2, outputs(name, 2), 4, 4)).requires_grad_()
    target = torch.randint(0, 2, (2, 4, 4), dtype=torch.uint8)
    value = make_loss(tiny.recipe(loss=name))(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


def test_a_class_never_seen_gets_a_finite_prior() -> None:
    network = tiny.network(tiny.recipe("unet"))
    set_prior_bias(network, [1.0, 0.0])
    assert all(torch.isfinite(value).all() for value in network.parameters())


def test_shares_must_fit_the_outputs() -> None:
    with pytest.raises(ValueError, match=r"3 shares.* 2 outputs"):
        set_prior_bias(tiny.network(tiny.recipe("unet")), [0.5, 0.3, 0.2])
