"""Losses, and the prior bias of an untrained network.

Every loss takes logits (N, C, H, W) and a target (N, H, W) of classes 0, 1, ...; of tiles (N, C) and (N,).
Pixels of the value IGNORE do not count; a pixel of the positive class counts `positive_weight` times.
A batch of ignored pixels gives 0, with a gradient of 0.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from histoscout.errors import ModelError
from histoscout.recipe import IGNORE, Recipe
from histoscout.recipe_sections import LossConfig
from histoscout.registry import LOSSES, load_factory

LossFunction = Callable[[Tensor, Tensor], Tensor]

# cost of false positives and of false negatives in the Tversky index (Salehi 2017)
ALPHA = 0.3
BETA = 0.7
# how little the focal loss counts easy pixels (Lin 2017)
GAMMA = 2.0
# pixels added to both sides of an overlap, so that empty against empty is a perfect match
SMOOTH = 1.0
# a class that the sampled patches do not show still gets a finite logit
LEAST_SHARE = 1e-4


def make_loss(recipe: Recipe) -> LossFunction:
    """Make the loss that the recipe names.

    Args:
        recipe: The recipe.

    Returns:
        A function of logits and target to the loss of a batch.
    """
    loss: LossFunction = load_factory(LOSSES[recipe.loss.name].factory)(recipe.loss)
    return loss


def bce(choices: LossConfig) -> LossFunction:
    """Binary cross-entropy: one output, one class.

    Args:
        choices: The recipe's section.

    Returns:
        The loss.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        values, classes, weights = _flat(logits, target, choices)
        losses = F.binary_cross_entropy_with_logits(values[:, 0], (classes == 1).float(), reduction="none")
        return _mean(losses, weights)

    return loss


def cross_entropy(choices: LossConfig) -> LossFunction:
    """Cross-entropy over the background and all classes.

    Args:
        choices: The recipe's section.

    Returns:
        The loss.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        values, classes, weights = _flat(logits, target, choices)
        return _mean(F.cross_entropy(values, classes, reduction="none"), weights)

    return loss


def dice_bce(choices: LossConfig) -> LossFunction:
    """Half Dice, half binary cross-entropy.

    Args:
        choices: The recipe's section.

    Returns:
        The loss.
    """
    pixels, overlap = bce(choices), _dice(choices)
    return lambda logits, target: 0.5 * (pixels(logits, target) + overlap(logits, target))


def dice_cross_entropy(choices: LossConfig) -> LossFunction:
    """Half Dice (mean over the classes, without background), half cross-entropy.

    Args:
        choices: The recipe's section.

    Returns:
        The loss.
    """
    pixels, overlap = cross_entropy(choices), _dice(choices)
    return lambda logits, target: 0.5 * (pixels(logits, target) + overlap(logits, target))


def focal(choices: LossConfig) -> LossFunction:
    """Focal loss: cross-entropy in which easy pixels count less (Lin 2017).

    Args:
        choices: The recipe's section.

    Returns:
        The loss.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        values, classes, weights = _flat(logits, target, choices)
        losses = F.cross_entropy(values, classes, reduction="none")
        return _mean(losses * (1 - torch.exp(-losses)) ** GAMMA, weights)

    return loss


def tversky(choices: LossConfig) -> LossFunction:
    """One minus the Tversky index (Salehi 2017): false negatives cost more than false positives.

    Args:
        choices: The recipe's section.

    Returns:
        The loss, the mean over the classes.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        losses, _ = _overlap_losses(*_flat(logits, target, choices), costs=(ALPHA, BETA))
        return losses.mean()

    return loss


def _dice(choices: LossConfig) -> LossFunction:
    """One minus Dice over the batch, not for each image: most patches hold no lesion, and their Dice is void.

    Classes that the batch does not show are left out; the cross-entropy beside it covers them.
    """

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        losses, shown = _overlap_losses(*_flat(logits, target, choices), costs=(0.5, 0.5))
        return _mean(losses, shown.float())

    return loss


def _overlap_losses(
    values: Tensor, classes: Tensor, weights: Tensor, *, costs: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """One minus the overlap of each class but the background, and whether the batch shows the class."""
    probabilities = values.sigmoid() if values.shape[1] == 1 else values.softmax(1)[:, 1:]
    labels = torch.arange(1, probabilities.shape[1] + 1, device=classes.device)
    truth = (classes[:, None] == labels).float() * weights[:, None]
    true_positives = (probabilities * truth).sum(0)
    false_positives = (probabilities * weights[:, None]).sum(0) - true_positives
    false_negatives = truth.sum(0) - true_positives
    overlap = (true_positives + SMOOTH) / (
        true_positives + costs[0] * false_positives + costs[1] * false_negatives + SMOOTH
    )
    return 1 - overlap, truth.sum(0) > 0


def _flat(logits: Tensor, target: Tensor, choices: LossConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (pixels, C) in float32, classes (pixels,) and weights (pixels,): 0 for ignored pixels."""
    values = logits.movedim(1, -1).reshape(-1, logits.shape[1]).float()
    classes = target.reshape(-1).long()
    counted = classes != IGNORE
    # ignored pixels become background of weight 0, so that they index no class
    weights = counted * torch.where(classes == 1, choices.positive_weight, 1.0)
    return values, classes * counted, weights.float()


def _mean(losses: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean; 0 where all weights are 0."""
    return (losses * weights).sum() / weights.sum().clamp(min=1e-6)


def last_layer(network: nn.Module) -> nn.Conv2d | nn.Linear:
    """Find the layer that gives the logits: the last convolution or linear layer of a network.

    Args:
        network: The network.

    Returns:
        The layer.

    Raises:
        ModelError: If the network has no such layer.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    if not layers:
        raise ModelError("network", "it has no layer that could give logits", "Use another architecture")
    return layers[-1]


def set_prior_bias(network: nn.Module, shares: Sequence[float]) -> None:
    """Set the bias of the last layer so that an untrained network predicts the share of each class.

    The network then spends no steps on learning that lesions are rare (Lin 2017, section 4.1). The weights of the layer
    are made small.

    Args:
        network: The network, which is changed.
        shares: Shares of the background and of each class, in the order of the outputs; with one output, of
            background and positive class.

    Raises:
        ModelError: If the last layer has no bias.
    """
    layer = last_layer(network)
    if layer.bias is None:
        raise ModelError("network", "its last layer has no bias", "Set loss.prior_bias = false in the recipe")
    prior = torch.tensor(logits_of_shares(shares, len(layer.bias)))
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.copy_(prior)


def logits_of_shares(shares: Sequence[float], outputs: int) -> list[float]:
    """The logits of a network that predicts the same shares everywhere.

    Args:
        shares: Shares of the background and of each class.
        outputs: Outputs of the network.

    Returns:
        One logit for each output.

    Raises:
        ValueError: If the numbers of shares and outputs do not fit.
    """
    logits = [math.log(max(share, LEAST_SHARE)) for share in shares]
    if outputs == 1 and len(logits) == 2:
        return [logits[1] - logits[0]]
    if outputs != len(logits):
        raise ValueError(f"{len(logits)} shares for a network of {outputs} outputs")
    return logits
