"""Sanity checks of network, loss and optimizer: can this network be trained at all?

Each looks only at what it is given and does not change it; where a step is taken, give it a copy. In
quotation marks: the fault of the replication study that a check detects.
"""

import copy
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from histoscout.errors import ModelError
from histoscout.network.encoders import PROBE_PX, check_logits
from histoscout.network.losses import LossFunction, logits_of_shares
from histoscout.recipe import IGNORE
from histoscout.verdict import Verdict

SURE_LOGIT = 20.0
"""A logit with a probability of 0 or 1 to eight digits."""

START_TOLERANCE = 0.08
"""Share of the expected loss that the initial loss may differ: the spread of untrained logits costs 3 % at most."""

MIN_FALL = 0.1
"""Share of the loss that a network must lose while it overfits one batch."""

FAST_FALL = 0.6
"""Share of the first loss that is low enough, even where the base rate costs less."""

MIN_STEPS = 10
"""Steps of overfitting that allow a verdict."""

MAX_STEPS = 40
"""Steps of overfitting at most."""

AVERAGED_STEPS = 3
"""Last steps over which the loss is averaged."""


@dataclass(frozen=True)
class Batch:
    """Patches as the loop hands them to network and loss.

    Attributes:
        images: (N, C, H, W) float32.
        targets: (N, H, W) or (N,) uint8.
    """

    images: Tensor
    targets: Tensor


def check_optimizer_parameters(network: nn.Module, optimizer: Optimizer) -> Verdict:
    """Check that the optimizer has exactly the network's trainable parameters ("foreign-optimizer").

    Otherwise some of the network, or all of it, never learns.

    Args:
        network: The network.
        optimizer: The optimizer.

    Returns:
        "failed" if parameters are missing or belong to another network, "warning" if some are frozen.
    """
    name = "the optimizer has the network's parameters"
    owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    named = dict(network.named_parameters())
    missing = [key for key, value in named.items() if value.requires_grad and id(value) not in owned]
    foreign = owned - {id(value) for value in named.values()}
    frozen = [key for key, value in named.items() if not value.requires_grad]
    if missing or foreign:
        return Verdict(
            name=name,
            state="failed",
            message=f"{len(missing)} of {len(named)} parameters are missing, {len(foreign)} belong to another network",
            remedy="Make the optimizer from the parameters of the network that is trained",
        )
    if frozen:
        return Verdict(
            name=name,
            state="warning",
            message=f"{len(frozen)} of {len(named)} parameters are frozen ({frozen[0]}, ...)",
            remedy="Set requires_grad, unless they are frozen on purpose",
        )
    return Verdict(name=name, state="good", message=f"all {len(named)}, and no other")


def check_network_logits(network: nn.Module, images: Tensor, probe_px: int = PROBE_PX) -> Verdict:
    """Check that a network ends in logits: loss and calibration add the sigmoid ("double-sigmoid").

    Args:
        network: The network.
        images: Real patches (N, C, H, W) float32; their logits must not all be in [0, 1].
        probe_px: Side of a made-up patch, on which a last layer with inverted signs must invert the result.

    Returns:
        "failed" if the made-up patch shows a sigmoid, "warning" if the real patches suggest one.
    """
    name = "the network gives logits"
    try:
        check_logits(copy.deepcopy(network).cpu(), images.shape[1], probe_px)
    except ModelError as error:
        return Verdict(name=name, state="failed", message=error.fault, remedy=error.remedy)
    logits = _untrained_logits(network, images)
    low, high = float(logits.min()), float(logits.max())
    if low >= 0 and high <= 1 and high > low:
        return Verdict(
            name=name,
            state="warning",
            message=f"its outputs for {len(images)} patches are between {low:.3f} and {high:.3f}, as probabilities are",
            remedy="Remove a sigmoid or softmax at its end, if it has one",
        )
    return Verdict(name=name, state="good", message=f"from {low:.2f} to {high:.2f} on {len(images)} patches")


def check_single_sigmoid(probability: Callable[[Tensor], Tensor], outputs: int) -> Verdict:
    """Check that there is exactly one sigmoid or softmax from logits to probabilities ("double-sigmoid").

    A second sigmoid turns 1 into 0.73 and 0 into 0.5, so that everything counts as positive.

    Args:
        probability: Gives the probability of the positive class for logits (N, C).
        outputs: Number of channels C.

    Returns:
        "failed" if the probabilities of a certain network are not 0 and 1.
    """
    name = "probabilities reach from 0 to 1"
    logits = torch.zeros(2, outputs)
    logits[:, min(1, outputs - 1)] = torch.tensor([-SURE_LOGIT, SURE_LOGIT])
    negative, positive = (float(value) for value in probability(logits).reshape(-1))
    if negative < 0.01 and positive > 0.99:
        message = "one sigmoid or softmax between logits and probabilities"
        return Verdict(name=name, state="good", message=message)
    return Verdict(
        name=name,
        state="failed",
        message=f"logits of {-SURE_LOGIT:.0f} and {SURE_LOGIT:.0f} give {negative:.2f} and {positive:.2f}",
        remedy="Apply sigmoid or softmax once, to logits",
    )


def check_initial_loss(
    network: nn.Module, loss: LossFunction, batch: Batch, *, shares: Sequence[float] | None
) -> Verdict:
    """Check that the loss before the first step is that of predicting the class shares everywhere.

    For BCE and cross-entropy this is the entropy of the base rate; for other losses, the loss itself computes
    it. A network with a small last layer is within a few percent. A larger difference means that labels,
    colors, prior or logits are not what they should be.

    Args:
        network: The network before its first step.
        loss: The loss.
        batch: Training patches.
        shares: Shares of background and each class that the last layer starts from (`loss.prior_bias`), or
            None.

    Returns:
        "warning" if the loss differs, "failed" if it is not finite, "cannot tell" without shares.
    """
    name = "initial loss"
    if shares is None:
        message = "the network does not start from the class shares"
        return Verdict(name=name, state="cannot tell", message=message)
    logits = _untrained_logits(network, batch.images)
    value = float(loss(logits, batch.targets))
    expected = base_rate_loss(loss, batch.targets, logits.shape[1], shares)
    message = f"{value:.3f}; the base rate alone gives {expected:.3f}"
    if abs(value - expected) <= START_TOLERANCE * expected + 0.005:
        return Verdict(name=name, state="good", message=message)
    return Verdict(
        name=name,
        state="warning" if math.isfinite(value) else "failed",
        message=message,
        remedy="Check class names, annotations and colors of the slides; loss.prior_bias = true sets the first prediction",
    )


def base_rate_loss(
    loss: LossFunction, targets: Tensor, outputs: int, shares: Sequence[float] | None = None
) -> float:
    """Compute the loss of the same prediction everywhere.

    Args:
        loss: The loss.
        targets: (N, H, W) or (N,) uint8.
        outputs: Number of channels of the logits.
        shares: The predicted shares of background and each class; None for those of the targets.

    Returns:
        The loss.
    """
    if shares is None:
        annotated = targets[targets != IGNORE].reshape(-1).long()
        counts = torch.bincount(annotated, minlength=max(2, outputs)).double()[: max(2, outputs)]
        shares = (counts / counts.sum().clamp(min=1)).tolist()
    logits = torch.tensor(logits_of_shares(shares, outputs), device=targets.device)
    everywhere = logits.view(1, -1, *[1] * (targets.ndim - 1))
    return float(loss(everywhere.expand(len(targets), -1, *targets.shape[1:]), targets))


def check_overfits_one_batch(step: Callable[[], float], base_rate: float, seconds: float) -> Verdict:
    """Check that a network can overfit one batch, else it learns nothing from many ("stalled-start").

    It is enough that the loss falls clearly below its start and the base rate.

    Args:
        step: Takes one step on always the same batch, on a copy of the network, and returns the loss before
            it.
        base_rate: The loss of predicting the base rate on this batch, see `base_rate_loss`.
        seconds: Time at most; the steps are limited too.

    Returns:
        "warning" if the loss does not fall, "cannot tell" if the time allowed too few steps.
    """
    name = "the network overfits one batch"
    losses = [step()]
    end = time.monotonic() + seconds
    goal = max((1 - MIN_FALL) * min(losses[0], base_rate), FAST_FALL * losses[0])
    while len(losses) <= MAX_STEPS and time.monotonic() < end:
        losses.append(step())
        if len(losses) > AVERAGED_STEPS and statistics.fmean(losses[-AVERAGED_STEPS:]) <= goal:
            break
    last = statistics.fmean(losses[-AVERAGED_STEPS:])
    steps = len(losses) - 1
    message = f"the loss fell from {losses[0]:.3f} to {last:.3f} in {steps} steps; the base rate gives {base_rate:.3f}"
    if last <= goal:
        return Verdict(name=name, state="good", message=message)
    message = f"the loss went from {losses[0]:.3f} to {last:.3f} in {steps} steps; the base rate gives {base_rate:.3f}"
    if len(losses) <= MIN_STEPS:
        message = f"{message}: too few steps in {seconds:.0f} s"
        return Verdict(name=name, state="cannot tell", message=message)
    return Verdict(
        name=name,
        state="warning",
        message=f"{message}: training may not improve on the base rate",
        remedy="Raise training.learning_rate (1e-3 suits most networks), or use a network with normalization (unet_bn, smp.Unet)",
    )


def _untrained_logits(network: nn.Module, images: Tensor) -> Tensor:
    """The logits of a copy in training mode: normalization layers have no other statistics yet."""
    copied = copy.deepcopy(network).train()
    with torch.no_grad():
        logits: Tensor = copied(images).float()
    return logits
