"""Guards over network, loss and optimiser: can what is about to be trained be trained at all?

Each looks only at what it is given, and changes nothing of it: hand it a copy where a step is taken.
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
from histoscout.network.losses import LossFunction, prior_logits
from histoscout.recipe import IGNORE
from histoscout.verdict import Verdict

SURE = 20.0  # a logit whose probability is 0 or 1 to eight digits
START_TOLERANCE = 0.08  # of the loss expected; the spread of untrained logits was seen to cost 3 % at most
LEAST_FALL = 0.1  # share of the loss that a network must lose while it learns one batch by heart
FAST = 0.6  # a network without a prior need not have come below the base rate if it falls as fast as this
FEWEST_STEPS, MOST_STEPS = 10, 40  # of learning by heart: that say something, that are taken
SETTLED = 3  # last steps that the loss is averaged over


@dataclass(frozen=True)
class Batch:
    """Windows as the loop hands them to a network and a loss: images float (N, C, H, W), targets uint8."""

    images: Tensor
    targets: Tensor


def loss_at_start(
    network: nn.Module, loss: LossFunction, batch: Batch, shares: Sequence[float] | None
) -> Verdict:
    """Before its first step a network that was told how rare each class is must be as good as that answer.

    `shares` of background and each class are what it was told; what the constant answer costs on this very batch
    is worked out by the loss itself: for BCE and cross-entropy the (cross-)entropy of the base rate. A network
    whose last weights are small lies within a few percent of it. More says that labels, colours, prior or logits
    are not what they should be. `shares` None: it was told nothing.
    """
    name = "loss at the start"
    if shares is None:
        return Verdict(
            name=name, state="cannot tell", message="the network was not told how rare the classes are"
        )
    logits = _answer(network, batch.images)
    found = float(loss(logits, batch.targets))
    expected = base_loss(loss, batch.targets, logits.shape[1], shares)
    message = f"{found:.3f}; the base rate alone would give {expected:.3f}"
    if abs(found - expected) <= START_TOLERANCE * expected + 0.005:
        return Verdict(name=name, state="good", message=message)
    remedy = "Look at the class names, the outlines and the colours of the slides; loss.prior_bias = true sets the first answer"
    return Verdict(
        name=name, state="warning" if math.isfinite(found) else "failed", message=message, remedy=remedy
    )


def _answer(network: nn.Module, images: Tensor) -> Tensor:
    """The logits of a copy in training mode: normalisation layers know no other statistics yet."""
    double = copy.deepcopy(network).train()
    with torch.no_grad():
        logits: Tensor = double(images).float()
    return logits


def learns_by_heart(step: Callable[[], float], base: float, seconds: float) -> Verdict:
    """A network that cannot learn one batch by heart will learn nothing from many (study: "stalled-start").

    `step` takes one step of the optimiser on always the same batch, on a copy of the network, and gives the loss
    before it; `base` is what the constant answer of the base rate costs on this batch. It need not finish: it is
    enough that the loss falls clearly below what it was and what the base rate costs. Bounded in steps and seconds.
    """
    name, losses, end = "one batch can be learnt by heart", [step()], time.monotonic() + seconds
    goal = max((1 - LEAST_FALL) * min(losses[0], base), FAST * losses[0])
    while len(losses) <= MOST_STEPS and time.monotonic() < end:
        losses.append(step())
        if len(losses) > SETTLED and statistics.fmean(losses[-SETTLED:]) <= goal:
            break
    last = statistics.fmean(losses[-SETTLED:])
    message = f"the loss went from {losses[0]:.3f} to {last:.3f} in {len(losses) - 1} steps; the base rate costs {base:.3f}"
    if last <= goal:
        return Verdict(name=name, state="good", message=message)
    if len(losses) <= FEWEST_STEPS:
        return Verdict(
            name=name, state="cannot tell", message=f"{message}: too few steps in {seconds:.0f} s to judge by"
        )
    remedy = "Raise training.learning_rate (1e-3 suits most networks), or take one with normalisation (unet_bn, smp.Unet)"
    return Verdict(
        name=name, state="warning", message=f"{message}: training may stall at the base rate", remedy=remedy
    )


def base_loss(
    loss: LossFunction, targets: Tensor, outputs: int, shares: Sequence[float] | None = None
) -> float:
    """What the same answer everywhere costs on these targets: `shares`, or the targets' own base rate."""
    if shares is None:
        known = targets[targets != IGNORE].reshape(-1).long()
        counts = torch.bincount(known, minlength=max(2, outputs)).double()[: max(2, outputs)]
        shares = (counts / counts.sum().clamp(min=1)).tolist()
    logits = torch.tensor(prior_logits(shares, outputs), device=targets.device)
    return float(
        loss(
            logits.view(1, -1, *[1] * (targets.ndim - 1)).expand(len(targets), -1, *targets.shape[1:]),
            targets,
        )
    )


def optimizer_owns(network: nn.Module, optimizer: Optimizer) -> Verdict:
    """The optimiser holds the network's trainable parameters, all of them and nothing else, and none is frozen.

    Otherwise some of the network, or all of it, never learns (study: "foreign-optimiser").
    """
    name = "the optimiser holds the network's parameters"
    owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    named = dict(network.named_parameters())
    missing = [key for key, value in named.items() if value.requires_grad and id(value) not in owned]
    strangers = owned - {id(value) for value in named.values()}
    frozen = [key for key, value in named.items() if not value.requires_grad]
    remedy = "Make the optimiser from the parameters of the network that is trained"
    if missing or strangers:
        message = f"{len(missing)} of {len(named)} parameters would not learn, {len(strangers)} are another network's"
        return Verdict(name=name, state="failed", message=message, remedy=remedy)
    if frozen:
        message = f"{len(frozen)} of {len(named)} parameters are frozen ({frozen[0]}, ...)"
        return Verdict(
            name=name,
            state="warning",
            message=message,
            remedy="Set requires_grad, unless they are frozen on purpose",
        )
    return Verdict(name=name, state="good", message=f"all {len(named)}, and no other")


def gives_logits(network: nn.Module, images: Tensor, probe_px: int = PROBE_PX) -> Verdict:
    """A network must end in logits: losses and calibration add the sigmoid (study: "double-sigmoid").

    Asked twice: on a probe whose last layer is turned round, and on real windows (float (N, C, H, W)), whose
    answers must not all lie in [0, 1].
    """
    name = "the network gives logits"
    try:
        check_logits(copy.deepcopy(network).cpu(), images.shape[1], probe_px)
    except ModelError as error:
        return Verdict(name=name, state="failed", message=error.fault, remedy=error.remedy)
    logits = _answer(network, images)
    low, high = float(logits.min()), float(logits.max())
    if low >= 0 and high <= 1 and high > low:
        message = (
            f"its answers to {len(images)} windows lie between {low:.3f} and {high:.3f}, as probabilities do"
        )
        return Verdict(
            name=name,
            state="warning",
            message=message,
            remedy="Remove a sigmoid or softmax at its end, if it has one",
        )
    return Verdict(name=name, state="good", message=f"from {low:.2f} to {high:.2f} on {len(images)} windows")


def one_sigmoid(probability: Callable[[Tensor], Tensor], outputs: int) -> Verdict:
    """From logits to probabilities there is exactly one sigmoid or softmax (study: "double-sigmoid").

    `probability` gives the positive class's probability for logits (N, C). A network sure of yes must be given
    1 and one sure of no 0; a second sigmoid makes that .73 and .5, and everything would count as found.
    """
    name = "probabilities reach from 0 to 1"
    logits = torch.zeros(2, outputs)
    logits[:, min(1, outputs - 1)] = torch.tensor([-SURE, SURE])
    no, yes = (float(value) for value in probability(logits).reshape(-1))
    if no < 0.01 and yes > 0.99:
        return Verdict(
            name=name, state="good", message="one sigmoid or softmax between logits and probabilities"
        )
    message = f"a network sure of no is given {no:.2f}, one sure of yes {yes:.2f}"
    return Verdict(
        name=name, state="failed", message=message, remedy="Apply sigmoid or softmax once, to logits"
    )
