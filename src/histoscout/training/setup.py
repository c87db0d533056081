"""Set up a training: its device and precision, its network before the first step, and what the machine offers."""

import logging
import os
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import nn

from histoscout.errors import ModelError, TrainingError
from histoscout.hardware import usable_cores
from histoscout.network.build import build_network
from histoscout.network.losses import set_prior_bias
from histoscout.network.model_folder import ModelFolder
from histoscout.network.save import load_network
from histoscout.network.weights import copy_encoder
from histoscout.recipe import Recipe
from histoscout.sampling.datasets import SampledExamples, class_shares
from histoscout.training.planning.fingerprint import Machine

PRIOR_PATCHES = 64
"""Training patches from which the shares of the classes are estimated for `loss.prior_bias`."""

DEVICES = ("auto", "cpu", "cuda", "mps")
"""What `--device` of a training may be."""


def make_network(
    recipe: Recipe, start: ModelFolder | None, examples: SampledExamples
) -> tuple[nn.Module, list[float] | None]:
    """Make a network: new, or with weights of another model (fine-tuning).

    Args:
        recipe: The recipe.
        start: A model of the same kind and classes, from which all weights are taken, or a tile classifier,
            whose encoder becomes that of the recipe's network.
        examples: Training patches, for the shares of the classes.

    Returns:
        The network, and the shares of background and each class that its last layer starts from
        (`loss.prior_bias`); None if it starts from other values.

    Raises:
        ModelError: If the weights do not fit.
    """
    # a model of the same kind: all its weights
    if start is not None and start.recipe.network.predicts_tiles == recipe.network.predicts_tiles:
        _check_same_kind(start, recipe)
        return load_network(start), None
    if start is not None and not start.recipe.network.predicts_tiles:
        raise ModelError(
            start.path,
            "the model predicts pixels, and a tile classifier cannot start from it",
            "Train the classifier first, then give it to the U-Net with --from",
        )
    network = build_network(recipe)
    # a tile classifier: its encoder
    if start is not None:
        copy_encoder(load_network(start), network)
    if not recipe.loss.prior_bias:
        return network, None
    shares = class_shares(examples, PRIOR_PATCHES)
    set_prior_bias(network, shares)
    return network, shares


def _check_same_kind(start: ModelFolder, recipe: Recipe) -> None:
    """ModelError unless a model is one network with the architecture and classes of the recipe."""
    if (count := start.recipe.network.ensemble_size) > 1:
        raise ModelError(
            start.path,
            f"the model is an ensemble of {count} networks, and a training starts from a single one",
            "Give a model with network.ensemble_size = 1, or train without --from",
        )
    has, wanted = (
        (part.network.architecture, part.network.encoder, part.network.input_channels, *part.classes.labels)
        for part in (start.recipe, recipe)
    )
    if has != wanted:
        raise ModelError(
            start.path,
            f"the model is {' '.join(map(str, has))}, the recipe asks for {' '.join(map(str, wanted))}",
            "Use the recipe.toml of this model, or train without --from",
        )


def make_fabric(device: str, precision: str) -> Fabric:
    """Choose the device and the precision of a training.

    Args:
        device: One of `DEVICES`; "auto" takes the fastest.
        precision: The recipe's `training.precision`; "auto" takes bf16 where the device is faster with it.

    Returns:
        The fabric, launched.

    Raises:
        TrainingError: If the device is unknown, or not part of this machine.
    """
    if device not in DEVICES:
        raise TrainingError("--device", f"{device!r} is not a device", f"Use one of {', '.join(DEVICES)}")
    chosen = best_device() if device == "auto" else device
    if (chosen == "cuda" and not torch.cuda.is_available()) or (
        chosen == "mps" and not torch.backends.mps.is_available()
    ):
        raise TrainingError(
            "--device", f"this machine has no {chosen}", "Use --device auto; `histoscout doctor` says more"
        )
    # lightning reports its choices on every start otherwise
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    bf16 = precision == "bf16" or (precision == "auto" and supports_bf16(chosen))
    fabric = Fabric(accelerator=chosen, devices=1, precision="bf16-mixed" if bf16 else "32-true")
    fabric.launch()
    return fabric


def best_device() -> Literal["cpu", "cuda", "mps"]:
    """The fastest device of this machine."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def supports_bf16(device: str) -> bool:
    """Whether the device multiplies bfloat16 faster than float32.

    Args:
        device: cpu, cuda or mps.

    Returns:
        Whether it does.
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return device == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def inspect_machine() -> Machine:
    """Find out what a training on this machine may use: cores, memory and device."""
    device = best_device()
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    gpu_memory = torch.cuda.get_device_properties(0).total_memory / 2**30 if device == "cuda" else None
    return Machine(
        cores=usable_cores(),
        memory_gb=memory,
        device=device,
        gpu_memory_gb=gpu_memory,
        bf16=supports_bf16(device),
    )
