"""The architectures and losses that a recipe may name, without importing torch.

To add one, write its function and add one line here: the line also enrolls it in the contract tests.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal


@dataclass(frozen=True)
class Architecture:
    """A network architecture.

    Attributes:
        factory: The function that builds the network, as "module:function".
        output: What the network predicts for a patch: a score for each pixel, or one for the whole tile.
    """

    factory: str
    output: Literal["pixels", "tile"] = "pixels"

    @property
    def predicts_tiles(self) -> bool:
        """Whether the network predicts one score per patch instead of one per pixel."""
        return self.output == "tile"


@dataclass(frozen=True)
class LossFunction:
    """A loss function.

    Attributes:
        factory: The function that makes the loss, as "module:function".
        binary: Whether it is for one class (sigmoid) instead of several (softmax).
    """

    factory: str
    binary: bool


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "unet": Architecture("histoscout.network.unet:build_unet"),
        "unet_bn": Architecture("histoscout.network.unet:build_unet_bn"),
        "smp.Unet": Architecture("histoscout.network.build:smp_network"),
        "smp.UnetPlusPlus": Architecture("histoscout.network.build:smp_network"),
        "smp.FPN": Architecture("histoscout.network.build:smp_network"),
        "smp.DeepLabV3Plus": Architecture("histoscout.network.build:smp_network"),
        "smp.Linknet": Architecture("histoscout.network.build:smp_network"),
        "smp.MAnet": Architecture("histoscout.network.build:smp_network"),
        "smp.PSPNet": Architecture("histoscout.network.build:smp_network"),
        "smp.PAN": Architecture("histoscout.network.build:smp_network"),
        "smp.UPerNet": Architecture("histoscout.network.build:smp_network"),
        "smp.Segformer": Architecture("histoscout.network.build:smp_network"),
        "timm": Architecture("histoscout.network.build:timm_classifier", output="tile"),
    }
)
"""Architectures by the name that `network.architecture` of a recipe gives."""

LOSSES: Mapping[str, LossFunction] = MappingProxyType(
    {
        "bce": LossFunction("histoscout.network.losses:bce", binary=True),
        "cross_entropy": LossFunction("histoscout.network.losses:cross_entropy", binary=False),
        "dice+bce": LossFunction("histoscout.network.losses:dice_bce", binary=True),
        "dice+cross_entropy": LossFunction("histoscout.network.losses:dice_cross_entropy", binary=False),
        "focal": LossFunction("histoscout.network.losses:focal", binary=False),
        "tversky": LossFunction("histoscout.network.losses:tversky", binary=False),
    }
)
"""Losses by the name that `loss.name` of a recipe gives."""


def check_name(kind: str, name: str, names: Iterable[str]) -> None:
    """Check that a name is registered.

    Args:
        kind: What it names, for the message ("architecture").
        name: The name.
        names: The registered names.

    Raises:
        ValueError: It is not; the message suggests the nearest name.
    """
    names = list(names)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"unknown {kind} {name!r}{hint} (known: {', '.join(names)})")


def load_factory(path: str) -> Any:
    """Import the object at "module:name"; its module is imported only now.

    Args:
        path: "module:name".

    Returns:
        The object.
    """
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
