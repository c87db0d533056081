"""Several networks that answer as one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


class Members(nn.Module):
    """Networks learnt apart, which err in different places: the mean of their probabilities errs less.

    float (N, channels, H, W) to logits (N, C, H, W), or (N, C) of tiles, whose softmax (sigmoid, where C is 1) is the mean
    over the members (Lakshminarayanan 2017, "deep ensembles").
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        logits = [network(images).float() for network in self.networks]
        if logits[0].shape[1] == 1:
            return _log_mean([logsigmoid(one) for one in logits]) - _log_mean(
                [logsigmoid(-one) for one in logits]
            )
        return _log_mean([one.log_softmax(1) for one in logits])


def _log_mean(logarithms: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean, up to a constant that softmax and differences do not feel."""
    return torch.stack(list(logarithms)).logsumexp(0)
