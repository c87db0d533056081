"""What training makes small, and the first answer of a network that has seen nothing yet.

Every loss takes logits (N, C, H, W) and a target (N, H, W) of classes 0, 1, ...; of tiles (N, C) and (N,).
Pixels of the value IGNORE count for nothing; a pixel of the positive class counts `positive_weight` times.
A batch of ignored pixels only gives 0, with a gradient of 0.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from histoscout.errors import ModelError
from histoscout.recipe import IGNORE, LossConfig, Recipe
from histoscout.registry import LOSSES, find

LossFunction = Callable[[Tensor, Tensor], Tensor]

ALPHA, BETA = 0.3, 0.7  # cost of false alarms and of misses in the Tversky index (Salehi 2017)
GAMMA = 2.0  # how much the focal loss turns away from easy pixels (Lin 2017)
SMOOTH = 1.0  # pixels added to both sides of an overlap, so that empty against empty is a perfect match
LEAST_SHARE = 1e-4  # a class never seen in the sampled windows still gets a finite logit


def make_loss(recipe: Recipe) -> LossFunction:
    """The loss that the recipe names, over a whole batch."""
    loss: LossFunction = find(LOSSES[recipe.loss.name].made_by)(recipe.loss)
    return loss


def bce(choices: LossConfig) -> LossFunction:
    """Binary cross-entropy: one output, one class."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        values, classes, weights = _flat(logits, target, choices)
        losses = F.binary_cross_entropy_with_logits(values[:, 0], (classes == 1).float(), reduction="none")
        return _mean(losses, weights)

    return loss


def cross_entropy(choices: LossConfig) -> LossFunction:
    """Cross-entropy over the background and all classes."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        values, classes, weights = _flat(logits, target, choices)
        return _mean(F.cross_entropy(values, classes, reduction="none"), weights)

    return loss


def dice_bce(choices: LossConfig) -> LossFunction:
    """Half Dice, half binary cross-entropy."""
    pixels, overlap = bce(choices), _dice(choices)
    return lambda logits, target: 0.5 * (pixels(logits, target) + overlap(logits, target))


def dice_cross_entropy(choices: LossConfig) -> LossFunction:
    """Half Dice (mean over the classes, without background), half cross-entropy."""
    pixels, overlap = cross_entropy(choices), _dice(choices)
    return lambda logits, target: 0.5 * (pixels(logits, target) + overlap(logits, target))


def focal(choices: LossConfig) -> LossFunction:
    """Cross-entropy in which pixels that are already right count less (Lin 2017)."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        values, classes, weights = _flat(logits, target, choices)
        losses = F.cross_entropy(values, classes, reduction="none")
        return _mean(losses * (1 - torch.exp(-losses)) ** GAMMA, weights)

    return loss


def tversky(choices: LossConfig) -> LossFunction:
    """One minus the Tversky index (Salehi 2017), mean over the classes: misses cost more than alarms."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        losses, _ = _overlap_losses(*_flat(logits, target, choices), costs=(ALPHA, BETA))
        return losses.mean()

    return loss


def _dice(choices: LossConfig) -> LossFunction:
    """One minus Dice over the batch, not per image: most windows hold no lesion, and their Dice says nothing.

    Classes that the batch does not show are left out; the cross-entropy beside it looks after them.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        losses, shown = _overlap_losses(*_flat(logits, target, choices), costs=(0.5, 0.5))
        return _mean(losses, shown.float())

    return loss


def _overlap_losses(
    values: Tensor, classes: Tensor, weights: Tensor, *, costs: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """One minus the overlap of each class but the background, and whether the batch shows the class."""
    answers = values.sigmoid() if values.shape[1] == 1 else values.softmax(1)[:, 1:]
    known = torch.arange(1, answers.shape[1] + 1, device=classes.device)
    truth = (classes[:, None] == known).float() * weights[:, None]
    hits = (answers * truth).sum(0)
    alarms = (answers * weights[:, None]).sum(0) - hits
    misses = truth.sum(0) - hits
    overlap = (hits + SMOOTH) / (hits + costs[0] * alarms + costs[1] * misses + SMOOTH)
    return 1 - overlap, truth.sum(0) > 0


def _flat(logits: Tensor, target: Tensor, choices: LossConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (pixels, C) in float32, classes (pixels,) and weights (pixels,): 0 for ignored pixels."""
    values = logits.movedim(1, -1).reshape(-1, logits.shape[1]).float()
    classes = target.reshape(-1).long()
    counted = classes != IGNORE
    weights = counted * torch.where(classes == 1, choices.positive_weight, 1.0)
    return values, classes * counted, weights.float()


def _mean(losses: Tensor, weights: Tensor) -> Tensor:
    return (losses * weights).sum() / weights.sum().clamp(min=1e-6)


def last_layer(network: nn.Module) -> nn.Conv2d | nn.Linear:
    """The layer that gives the logits: the last convolution or linear layer of the network."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    if not layers:
        raise ModelError("network", "has no layer that could give logits", "Take another architecture")
    return layers[-1]


def set_prior(network: nn.Module, shares: Sequence[float]) -> None:
    """Let an untrained network answer with how common each class is, so that it need not learn that first.

    `shares` are those of the background and of each class, in the order of the outputs; with one output, of
    background and positive. The last layer's bias is set and its weights made small (Lin 2017, section 4.1).
    """
    layer = last_layer(network)
    if layer.bias is None:
        raise ModelError("network", "its last layer has no bias", "Set loss.prior_bias = false in the recipe")
    prior = torch.tensor(prior_logits(shares, len(layer.bias)))
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.copy_(prior)


def prior_logits(shares: Sequence[float], outputs: int) -> list[float]:
    """The logits of a network of so many outputs that answers `shares`, of background and each class, everywhere."""
    logits = [math.log(max(share, LEAST_SHARE)) for share in shares]
    if outputs == 1 and len(logits) == 2:
        return [logits[1] - logits[0]]
    if outputs != len(logits):
        raise ValueError(f"{len(logits)} shares for a network of {outputs} outputs")
    return logits
