"""From pixels to probabilities: what surrounds every network, the same in training and in use."""

import torch
from torch import Tensor, nn

from histoscout.names import LOSSES
from histoscout.recipe import Recipe

MEAN, STD = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # of red, green and blue in ImageNet, where weights come from
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601: how bright red, green and blue look


def prepare(images: Tensor, channels: int) -> Tensor:
    """Colours as a network wants them: uint8 (N, H, W, 3) to float32 (N, channels, H, W), mean 0, spread 1.

    With one channel the colours are first added up to grey; mean and spread are then those of the grey.
    """
    values = images.permute(0, 3, 1, 2).to(torch.float32) / 255
    mean, std = values.new_tensor(MEAN).view(1, 3, 1, 1), values.new_tensor(STD).view(1, 3, 1, 1)
    if channels == 1:
        shares = values.new_tensor(GREY).view(1, 3, 1, 1)
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
        self.channels = recipe.network.channels
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
