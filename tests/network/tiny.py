"""Recipes and models small enough to build in a moment."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from histoscout.network.build import build_network
from histoscout.network.model_folder import ModelFolder
from histoscout.network.save import save_model
from histoscout.recipe import Recipe

SIDE = 128  # the smallest window that PAN can see
SLIM = {"unet": (32, 16, 8), "unet_bn": (32, 16, 8), "smp.Unet": (32, 16, 8, 8, 8)}


def recipe(
    architecture: str = "smp.Unet",
    loss: str = "dice+cross_entropy",
    choices: Mapping[str, Any] = MappingProxyType({}),
) -> Recipe:
    network = {"architecture": architecture, "encoder": "resnet18", "widths": SLIM.get(architecture, ())}
    return Recipe.from_dict({"patches": {"size_um": SIDE, "mpp": 1.0}, "loss": {"name": loss}}).with_choices(
        {**{f"network.{name}": value for name, value in network.items()}, **choices}
    )


def network(choices: Recipe) -> nn.Module:
    torch.manual_seed(0)
    return build_network(choices)


def model(folder: Path, choices: Recipe, temperature: float = 1.5) -> ModelFolder:
    return save_model(
        folder,
        network(choices),
        choices,
        threshold=0.4,
        temperature=temperature,
        prior_correction=-0.8,
        metrics={"pixel": {"ap": 0.5}},
        card={"Data": "A toy."},
    )
