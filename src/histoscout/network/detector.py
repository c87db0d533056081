"""The detector: a network with normalization, calibration and probabilities; ensembles of networks.

All of it is inside the graph, so training, torch and OpenVINO cannot differ in it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from histoscout.recipe import Recipe
from histoscout.registry import LOSSES

# of red, green and blue in ImageNet, where pretrained weights come from
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# ITU-R BT.601: how bright red, green and blue look
GRAY = (0.299, 0.587, 0.114)


def normalize(images: Tensor, channels: int) -> Tensor:
    """Normalize images for a network to mean 0 and standard deviation 1.

    Args:
        images: (N, H, W, 3) uint8.
        channels: 3 for RGB; 1 for gray, whose mean and deviation are those of the weighted sum.

    Returns:
        (N, channels, H, W) float32.
    """
    values = images.permute(0, 3, 1, 2).to(torch.float32) / 255
    mean, std = values.new_tensor(MEAN).view(1, 3, 1, 1), values.new_tensor(STD).view(1, 3, 1, 1)
    if channels == 1:
        shares = values.new_tensor(GRAY).view(1, 3, 1, 1)
        values, mean, std = ((part * shares).sum(1, keepdim=True) for part in (values, mean, std))
    return (values - mean) / std


def count_outputs(recipe: Recipe) -> int:
    """Count the values that a network gives for a pixel.

    Args:
        recipe: The recipe.

    Returns:
        1 if the loss is binary, else the number of classes and the background.
    """
    return 1 if LOSSES[recipe.loss.name].binary else len(recipe.classes.labels) + 1


class Detector(nn.Module):
    """A calibrated network: windows (N, 1, H, W, 3) uint8 in, probabilities (N, H, W, C) float32 out.

    A tile classifier gives (N, C). C runs over `recipe.classes.labels`, the positive class first; the background has
    no channel.

    Args:
        network: Gives logits.
        recipe: The recipe of the network.
        temperature: Temperature of the calibration (Guo 2017); above 1: less sure.
        prior_correction: Added to the log odds of the positive class, since training patches hold it more often than
            slides do.
    """

    offsets: Tensor

    def __init__(
        self, network: nn.Module, recipe: Recipe, temperature: float = 1.0, prior_correction: float = 0.0
    ) -> None:
        super().__init__()
        self.network = network
        self.channels = recipe.network.input_channels
        self.outputs = count_outputs(recipe)
        self.temperature = temperature
        self.shifted = prior_correction != 0
        offsets = torch.zeros(self.outputs)
        # the only output, or the one after the background's
        offsets[min(1, self.outputs - 1)] = prior_correction
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        logits = self.network(normalize(windows[:, 0], self.channels)).float() / self.temperature
        if self.shifted:
            logits = logits + self.offsets.view(1, -1, *(1,) * (logits.ndim - 2))
        # the background is the class that is left: it gets no channel
        shares = logits.sigmoid() if self.outputs == 1 else logits.softmax(1)[:, 1:]
        probabilities: Tensor = shares.movedim(1, -1)
        return probabilities


class Ensemble(nn.Module):
    """An ensemble of networks: logits whose probabilities are the mean over the members.

    Deep ensembles (Lakshminarayanan 2017): (N, channels, H, W) float in, logits (N, C, H, W) out, or (N, C) of tiles. Each member
    has a temperature and a prior correction of its own, stored with its weights: `temperatures` (members,), `offsets` (members, C).

    Args:
        networks: The members.
        outputs: Outputs of each member.
    """

    temperatures: Tensor
    offsets: Tensor

    def __init__(self, networks: Sequence[nn.Module], outputs: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.register_buffer("temperatures", torch.ones(len(networks)))
        self.register_buffer("offsets", torch.zeros(len(networks), outputs))

    def calibrate(self, number: int, temperature: float, prior_correction: float) -> None:
        """Set the calibration of a member.

        Args:
            number: The member, from 0.
            temperature: Its temperature.
            prior_correction: Added to the log odds of the positive class.
        """
        self.temperatures[number] = temperature
        self.offsets[number, min(1, self.offsets.shape[1] - 1)] = prior_correction

    def forward(self, images: Tensor) -> Tensor:
        logits = [self._logits(number, images) for number in range(len(self.networks))]
        if logits[0].shape[1] > 1:
            return _log_mean([member.log_softmax(1) for member in logits])
        # of a single output, the log odds of the mean probability
        positive = [logsigmoid(member) for member in logits]
        negative = [logsigmoid(-member) for member in logits]
        return _log_mean(positive) - _log_mean(negative)

    def _logits(self, number: int, images: Tensor) -> Tensor:
        logits: Tensor = self.networks[number](images).float() / self.temperatures[number]
        return logits + self.offsets[number].view(1, -1, *(1,) * (logits.ndim - 2))


def _log_mean(logarithms: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean, up to a constant that cancels in softmax and differences."""
    return torch.stack(list(logarithms)).logsumexp(0)
