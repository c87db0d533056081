"""Optimizer and learning rate of a training."""

import math

import torch
from torch import nn
from torch.optim import Optimizer

from histoscout.recipe_sections import TrainingConfig


def make_optimizer(network: nn.Module, choices: TrainingConfig) -> Optimizer:
    """Make AdamW or Adam over the trainable parameters of a network.

    Biases and normalization scales have no weight decay; the encoder has its own learning rate if the recipe
    gives one.

    Args:
        network: The network.
        choices: The recipe's section `training`.

    Returns:
        The optimizer; each parameter group holds its highest learning rate as "peak".
    """
    encoder_rate = choices.encoder_learning_rate or choices.learning_rate
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("encoder."), parameter.ndim > 1), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "lr": encoder_rate if in_encoder else choices.learning_rate,
            "peak": encoder_rate if in_encoder else choices.learning_rate,
            "weight_decay": choices.weight_decay if is_matrix else 0.0,
        }
        for (in_encoder, is_matrix), parameters in groups.items()
    ]
    kind = torch.optim.AdamW if choices.optimizer == "adamw" else torch.optim.Adam
    return kind(settings)


def set_learning_rate(
    optimizer: Optimizer, choices: TrainingConfig, *, step: int, steps: int, damping: float = 1.0
) -> float:
    """Set the learning rate of each parameter group for a step.

    Args:
        optimizer: An optimizer of `make_optimizer`.
        choices: The recipe's section `training`.
        step: The step, from 0.
        steps: Number of steps of the training.
        damping: A further factor, below 1 where a training ends early.

    Returns:
        The factor of the highest learning rate that was set.
    """
    factor = learning_rate_factor(choices, step, steps) * damping
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
    return factor


def learning_rate_factor(choices: TrainingConfig, step: int, steps: int) -> float:
    """The learning rate of a step as a factor of its peak.

    "one_cycle" rises from 1/25 and falls to almost 0 along cosines (Smith 2018); "cosine" rises linearly and
    falls to 1/100 along a cosine; "constant" stays at 1.

    Args:
        choices: The recipe's section `training`.
        step: The step, from 0.
        steps: Number of steps of the training.

    Returns:
        A factor in (0, 1].
    """
    if choices.schedule == "constant":
        return 1.0
    warmup_steps = max(1, round(choices.warmup * steps))
    if step < warmup_steps:
        position = step / warmup_steps
        if choices.schedule == "one_cycle":
            return 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * position)) / 2
        return (step + 1) / warmup_steps
    position = (step - warmup_steps) / max(1, steps - warmup_steps)
    lowest = 1e-4 if choices.schedule == "one_cycle" else 1e-2
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * position)) / 2
