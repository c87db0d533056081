"""The names a recipe may use, and where what they name is made: knowing a name costs no import of torch.

To add an architecture or a loss, write its function and add one line here: that enrols it in the contract
tests.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """Where a network is made, and what it answers for a window: a map of pixels, or one answer."""

    made_by: str  # "module:function"
    answers: str  # "pixels" or "tile"


@dataclass(frozen=True)
class LossName:
    """Where a loss is made, and whether it knows one class only (a sigmoid) or several (a softmax)."""

    made_by: str
    binary: bool


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "unet": Architecture("histoscout.network.unet:build", "pixels"),
        "unet_bn": Architecture("histoscout.network.unet:build_bn", "pixels"),
        "smp.Unet": Architecture("histoscout.network.build:smp_network", "pixels"),
        "smp.UnetPlusPlus": Architecture("histoscout.network.build:smp_network", "pixels"),
        "smp.FPN": Architecture("histoscout.network.build:smp_network", "pixels"),
        "smp.DeepLabV3Plus": Architecture("histoscout.network.build:smp_network", "pixels"),
        "smp.Linknet": Architecture("histoscout.network.build:smp_network", "pixels"),
        "smp.MAnet": Architecture("histoscout.network.build:smp_network", "pixels"),
        "smp.PSPNet": Architecture("histoscout.network.build:smp_network", "pixels"),
        "smp.PAN": Architecture("histoscout.network.build:smp_network", "pixels"),
        "smp.UPerNet": Architecture("histoscout.network.build:smp_network", "pixels"),
        "smp.Segformer": Architecture("histoscout.network.build:smp_network", "pixels"),
        "timm": Architecture("histoscout.network.build:timm_classifier", "tile"),
    }
)

LOSSES: Mapping[str, LossName] = MappingProxyType(
    {
        "bce": LossName("histoscout.network.losses:bce", binary=True),
        "cross_entropy": LossName("histoscout.network.losses:cross_entropy", binary=False),
        "dice+bce": LossName("histoscout.network.losses:dice_bce", binary=True),
        "dice+cross_entropy": LossName("histoscout.network.losses:dice_cross_entropy", binary=False),
        "focal": LossName("histoscout.network.losses:focal", binary=False),
        "tversky": LossName("histoscout.network.losses:tversky", binary=False),
    }
)


def check(kind: str, name: str, known: Iterable[str]) -> None:
    """ValueError with the nearest known name if `name` is not among the known ones."""
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"unknown {kind} {name!r}{hint} (known: {', '.join(known)})")


def find(made_by: str) -> Any:
    """What "module:name" means; only now is its module imported."""
    module, _, name = made_by.partition(":")
    return getattr(import_module(module), name)
