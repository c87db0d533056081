"""Several networks that answer as one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


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
