"""Lesions that nobody outlined: what looks like one is not taught as background."""

import torch
from torch import Tensor

from histoscout.recipe import BACKGROUND, IGNORE

FROM = 1 / 3
"""Share of the steps after which a network is asked: before, it does not know yet what lesions look like."""

SURER_THAN = 0.1
"""Of the outlined lesion in the same batch: background of which the network is surer may be lesion."""

LEAST = (
    0.3  # probability below which nothing is taken for a lesion, however unsure the network is of all of them
)


def without_doubtful(logits: Tensor, target: Tensor) -> Tensor:
    """The target with background ignored where the network sees as much lesion as in what is outlined.

    `logits` (N, C, H, W) with `target` (N, H, W), or (N, C) with (N,); one output or one for background and each class.
    Background counts as doubtful from the probability on that a tenth of the batch's outlined positive pixels do
    not reach, and never below `LEAST`; a batch without any is left as it is. Other classes are never doubted: somebody
    outlined them. As in label cleaning by a network's own answers (small-loss selection; positive-unlabelled learning);
    measured in docs/log.md.
    """
    values = logits.detach().float()
    sure = values[:, 0].sigmoid() if values.shape[1] == 1 else values.softmax(1)[:, 1]
    outlined = sure[target == 1]
    if not len(outlined):
        return target
    place = max(1, int(SURER_THAN * len(outlined)))
    limit = outlined.kthvalue(place).values.clamp(min=LEAST)
    return torch.where((target == BACKGROUND) & (sure > limit), IGNORE, target)
