"""The network before its first step.

Where and how precisely training computes.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import nn

from histoscout.cohort.cohort import Cohort
from histoscout.errors import ModelError, TrainingError
from histoscout.hardware import usable_cores
from histoscout.network.build import build_network
from histoscout.network.losses import set_prior
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.network.save import load_network
from histoscout.network.weights import transfer_encoder
from histoscout.recipe import Recipe
from histoscout.registry import ARCHITECTURES
from histoscout.sampling.datasets import SampledExamples, class_shares
from histoscout.training.data import Sets
from histoscout.training.planning.fingerprint import Machine

PRIOR_WINDOWS = 64  # looked at to learn how common each class is among the training windows


def known_to(start: Path | None) -> Mapping[str, Any]:
    """Whom the model to begin with has learnt from and was tuned on, as its metrics tell; nothing if there is no such model."""
    data: Mapping[str, Any] = {} if start is None else read_model(start).metrics.get("data", {})
    return data


def patients_met(known: Mapping[str, Any], sets: Sets, cohort: Cohort) -> list[str]:
    """The patients whom a model with this knowledge must not be judged by: who tune, if it has learnt from them; who are kept
    for testing, if it has so much as been tuned on them."""
    learnt = set(known.get("train_patients", ()))
    tuning = {labeled.patient for labeled in sets.tune} if not sets.split.blocks else set()
    tested = {case.patient for case in cohort.cases if case.split == "test"}
    return sorted((tuning & learnt) | (tested & (learnt | set(known.get("tune_patients", ())))))


def first_network(
    recipe: Recipe, start: Path | None, examples: SampledExamples
) -> tuple[nn.Module, list[float] | None]:
    """A fresh network that knows how rare each class is, or one that begins with another model's weights.

    Beside it the shares of background and each class that it was told, None if it was told none.
    `start` is a model folder: of the same kind of network for the same classes, then all of it is taken over; or of
    a tile classifier whose encoder becomes that of the recipe's network, verified key by key. Else ModelError.
    """
    model = None if start is None else read_model(start)
    if model is not None and _answers(model.recipe) == _answers(recipe):
        _check_same_kind(model, recipe)
        return load_network(model), None
    if model is not None and _answers(model.recipe) != "tile":
        raise ModelError(
            model.path,
            "looks at pixels, and a tile classifier cannot begin with that",
            "Train the classifier first and give it to the U-Net with --from",
        )
    network = build_network(recipe)
    if model is not None:
        transfer_encoder(load_network(model), network)
    if not recipe.loss.prior_bias:
        return network, None
    shares = class_shares(examples, PRIOR_WINDOWS)
    set_prior(network, shares)
    return network, shares


def _answers(recipe: Recipe) -> str:
    return ARCHITECTURES[recipe.network.architecture].answers


def _check_same_kind(model: ModelFolder, recipe: Recipe) -> None:
    if (members := model.recipe.network.ensemble_size) > 1:
        raise ModelError(
            model.path,
            f"is {members} networks, and a network can begin with one only",
            "Give a model of one network (network.ensemble_size = 1), or train without --from",
        )
    there, here = (
        (one.network.architecture, one.network.encoder, one.network.input_channels, *one.classes.labels)
        for one in (model.recipe, recipe)
    )
    if here != there:
        raise ModelError(
            model.path,
            f"is {' '.join(map(str, there))}, the recipe asks for {' '.join(map(str, here))}",
            "Take its recipe.toml, or train without --from",
        )


DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_fabric(device: str, precision: str) -> Fabric:
    """One device and a precision for it: bf16 where the machine computes in it ("auto"), else float32.

    TrainingError if the device is unknown or absent.
    """
    if device not in DEVICES:
        raise TrainingError("--device", f"{device!r} is not a device", f"Take one of {', '.join(DEVICES)}")
    chosen = present_device() if device == "auto" else device
    if (chosen == "cuda" and not torch.cuda.is_available()) or (
        chosen == "mps" and not torch.backends.mps.is_available()
    ):
        raise TrainingError(
            "--device", f"this machine has no {chosen}", "Take --device auto; `histoscout doctor` tells more"
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # else it tells everybody what it takes
    bf16 = precision == "bf16" or (precision == "auto" and computes_bf16(chosen))
    fabric = Fabric(accelerator=chosen, devices=1, precision="bf16-mixed" if bf16 else "32-true")
    fabric.launch()
    return fabric


def present_device() -> Literal["cpu", "cuda", "mps"]:
    """The fastest device of this machine."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def computes_bf16(device: str) -> bool:
    """Whether the device multiplies bfloat16 faster than float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return device == "cpu" and any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def this_machine() -> Machine:
    """What a training on this machine may use."""
    device = present_device()
    gpu = torch.cuda.get_device_properties(0).total_memory / 2**30 if device == "cuda" else None
    return Machine(usable_cores(), _memory_gb(), device, gpu, computes_bf16(device))


def _memory_gb() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
