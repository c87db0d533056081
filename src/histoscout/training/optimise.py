"""The optimiser, and how fast it goes at each step."""

import math

import torch
from torch import nn
from torch.optim import Optimizer

from histoscout.recipe import Training


def make_optimiser(network: nn.Module, choices: Training) -> Optimizer:
    """AdamW or Adam over exactly the trainable parameters; the encoder at a rate of its own if the recipe says so.

    Biases and normalisation scales are not decayed.
    """
    encoder_rate = choices.encoder_learning_rate or choices.learning_rate
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("encoder."), parameter.ndim > 1), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "lr": encoder_rate if encoder else choices.learning_rate,
            "peak": encoder_rate if encoder else choices.learning_rate,
            "weight_decay": choices.weight_decay if matrix else 0.0,
        }
        for (encoder, matrix), parameters in groups.items()
    ]
    kind = torch.optim.AdamW if choices.optimiser == "adamw" else torch.optim.Adam
    return kind(settings)


def set_rate(optimiser: Optimizer, choices: Training, step: int, steps: int) -> float:
    """Set each group's learning rate for this step; the share of the peak that it is."""
    share = rate_share(choices, step, steps)
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * share
    return share


def rate_share(choices: Training, step: int, steps: int) -> float:
    """The learning rate of a step as a share of its peak.

    "one_cycle" rises from 1/25 and falls to nothing along cosines (Smith 2018); "cosine" rises in a straight line
    and falls to 1/100 along a cosine; "constant" stays.
    """
    if choices.schedule == "constant":
        return 1.0
    rising = max(1, round(choices.warm_up * steps))
    if step < rising:
        done = step / rising
        return (
            1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * done)) / 2
            if choices.schedule == "one_cycle"
            else (step + 1) / rising
        )
    done = (step - rising) / max(1, steps - rising)
    least = 1e-4 if choices.schedule == "one_cycle" else 1e-2
    return least + (1 - least) * (1 + math.cos(math.pi * done)) / 2
