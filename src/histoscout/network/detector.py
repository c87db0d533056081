"""From pixels to probabilities: what surrounds every network, the same in training and in use.

Several networks that answer as one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from histoscout.recipe import Recipe
from histoscout.registry import LOSSES

MEAN, STD = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # of red, green and blue in ImageNet, where weights come from
GRAY = (0.299, 0.587, 0.114)  # ITU-R BT.601: how bright red, green and blue look


def prepare(images: Tensor, channels: int) -> Tensor:
    """Colours as a network wants them: uint8 (N, H, W, 3) to float32 (N, channels, H, W), mean 0, spread 1.

    With one channel the colours are first added up to grey; mean and spread are then those of the grey.
    """
    values = images.permute(0, 3, 1, 2).to(torch.float32) / 255
    mean, std = values.new_tensor(MEAN).view(1, 3, 1, 1), values.new_tensor(STD).view(1, 3, 1, 1)
    if channels == 1:
        shares = values.new_tensor(GRAY).view(1, 3, 1, 1)
        values, mean, std = ((part * shares).sum(1, keepdim=True) for part in (values, mean, std))
    return (values - mean) / std


def count_outputs(recipe: Recipe) -> int:
    """How many values a network gives for a pixel: 1 if the loss is binary, else background and classes."""
    return 1 if LOSSES[recipe.loss.name].binary else len(recipe.classes.labels) + 1


class Detector(nn.Module):
    """A network with its colours, temperature and probabilities: pixels in, one probability a class out.

    uint8 (N, V, H, W, 3) to float32 (N, H, W, C), or (N, C) where the network answers for the whole tile;
    C runs over `recipe.classes.labels`, the positive class first; the background has no channel. V is 1.
    `offset` is added to the log odds of the positive class: training draws it more often than slides hold it.
    """

    offsets: Tensor

    def __init__(
        self, network: nn.Module, recipe: Recipe, temperature: float = 1.0, offset: float = 0.0
    ) -> None:
        super().__init__()
        self.network = network
        self.channels = recipe.network.input_channels
        self.outputs = count_outputs(recipe)
        self.temperature = temperature  # of calibration (Guo 2017); above 1: less sure
        self.shifted = offset != 0
        offsets = torch.zeros(self.outputs)
        offsets[min(1, self.outputs - 1)] = offset  # the only output, or the one after the background's
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        logits = self.network(prepare(windows[:, 0], self.channels)).float() / self.temperature
        if self.shifted:
            logits = logits + self.offsets.view(1, -1, *(1,) * (logits.ndim - 2))
        shares = logits.sigmoid() if self.outputs == 1 else logits.softmax(1)[:, 1:]
        probabilities: Tensor = shares.movedim(1, -1)
        return probabilities


class Ensemble(nn.Module):
    """Networks learnt apart, which err in different places: the mean of their probabilities errs less.

    float (N, channels, H, W) to logits (N, C, H, W), or (N, C) of tiles, whose softmax (sigmoid, where C is 1) is the mean
    over the members (Lakshminarayanan 2017, "deep ensembles"). Each has a temperature and an offset of its own, which are
    kept with its weights: `temperatures` (members,), `offsets` (members, C).
    """

    temperatures: Tensor
    offsets: Tensor

    def __init__(self, networks: Sequence[nn.Module], outputs: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.register_buffer("temperatures", torch.ones(len(networks)))
        self.register_buffer("offsets", torch.zeros(len(networks), outputs))

    def calibrate(self, number: int, temperature: float, offset: float) -> None:
        """Say how sure a member may be; `offset` is added to the log odds of the positive class."""
        self.temperatures[number] = temperature
        self.offsets[number, min(1, self.offsets.shape[1] - 1)] = offset

    def forward(self, images: Tensor) -> Tensor:
        logits = [self._answer(number, images) for number in range(len(self.networks))]
        if logits[0].shape[1] > 1:
            return _log_mean([one.log_softmax(1) for one in logits])
        yes, no = [logsigmoid(one) for one in logits], [logsigmoid(-one) for one in logits]
        return _log_mean(yes) - _log_mean(no)

    def _answer(self, number: int, images: Tensor) -> Tensor:
        logits: Tensor = self.networks[number](images).float() / self.temperatures[number]
        return logits + self.offsets[number].view(1, -1, *(1,) * (logits.ndim - 2))


def _log_mean(logarithms: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean, up to a constant that softmax and differences do not feel."""
    return torch.stack(list(logarithms)).logsumexp(0)
