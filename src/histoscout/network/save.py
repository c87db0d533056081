"""Write a trained network as a model folder, and load a network from one."""

import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from histoscout.errors import ModelError, OutputError
from histoscout.io.files import atomic_write, flush_to_disk, scratch_folder, sha256
from histoscout.io.inputs import CHECKSUM, seal
from histoscout.network.build import build_network
from histoscout.network.detector import Detector
from histoscout.network.model_folder import (
    CARD,
    FORMAT,
    INDEX,
    METRICS,
    RECIPE,
    ModelFolder,
    ModelIndex,
    read_model,
)
from histoscout.network.weights import describe_mismatches, mismatches, save_tensors
from histoscout.recipe import Recipe

VERSIONS = ("histoscout", "torch", "segmentation-models-pytorch", "timm")
"""Packages whose versions a model folder records."""


def save_model(
    folder: Path,
    network: nn.Module,
    recipe: Recipe,
    *,
    threshold: float,
    temperature: float,
    metrics: Mapping[str, Any],
    card: Mapping[str, str],
    prior_correction: float = 0.0,
    name: str = "detector",
    overwrite: bool = False,
) -> ModelFolder:
    """Write a model folder; model.json with the checksums comes last, so a half-written model is never read.

    Args:
        folder: The folder; other files in it stay as they are.
        network: The trained network, giving logits.
        recipe: Its recipe.
        threshold: Probability from which a place is detected.
        temperature: Temperature of the calibration.
        metrics: Content of metrics.json.
        card: Sections of card.md, text by heading.
        prior_correction: Added to the log odds of the positive class.
        name: Name of the network in the folder.
        overwrite: Whether a model that is already there is replaced.

    Returns:
        The model as it is read back.

    Raises:
        OutputError: If the folder already holds a model and `overwrite` is not set, or cannot be written.
    """
    if (folder / INDEX).exists() and not overwrite:
        raise OutputError(
            folder, "the folder already holds a model", "Give another folder with -o, or --overwrite"
        )
    with (
        atomic_write(folder / INDEX) as index_file,
        scratch_folder(folder) as made,
    ):
        # all files are made beside their final place first
        _write_network(
            made, name, network=network, recipe=recipe, calibration=(temperature, prior_correction)
        )
        (made / RECIPE).write_text(recipe.to_toml(), encoding="utf-8")
        (made / CARD).write_text(_card(recipe, card), encoding="utf-8")
        (made / METRICS).write_text(json.dumps(metrics, indent=1, sort_keys=True), encoding="utf-8")
        index = ModelIndex(
            format=FORMAT,
            labels=recipe.classes.labels,
            threshold=threshold,
            temperature=temperature,
            prior_correction=prior_correction,
            networks=(name,),
            facts={package: version(package) for package in VERSIONS},
            files={file.name: sha256(file) for file in sorted(made.iterdir())},
        )
        # then they are moved, the index last
        for file in made.iterdir():
            flush_to_disk(file)
            os.replace(file, folder / file.name)
        sealed = seal(index.model_dump(mode="json", exclude={CHECKSUM}))
        index_file.write_text(json.dumps(sealed, indent=1, ensure_ascii=False), encoding="utf-8")
    return read_model(folder)


def load_network(model: ModelFolder, name: str = "detector") -> nn.Module:
    """Load the trained network of a model folder; nothing is ever downloaded.

    Args:
        model: The model folder.
        name: Name of the network in it.

    Returns:
        The network in evaluation mode, giving logits.

    Raises:
        ModelError: If the weights are missing or do not fit the recipe.
    """
    network = build_network(model.recipe.with_choices({"network.weights": "none"}))
    path = model.weights(name)
    if not path.is_file():
        raise ModelError(
            path, "the file is missing from the model folder", "Copy the model folder again from its source"
        )
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        fault = f"the file does not hold weights ({error})"
        raise ModelError(path, fault, "Copy the model folder again from its source") from error
    if faults := mismatches(network.state_dict(), tensors):
        versions = ", ".join(f"{package} {number}" for package, number in model.facts.items())
        raise ModelError(
            path,
            f"the weights do not fit the recipe: {describe_mismatches(faults)}",
            f"Install the versions it was written with ({versions})",
        )
    network.load_state_dict(tensors)
    return network.eval()


def synthetic_window(side: int) -> Tensor:
    """A synthetic window in the colors of a stain, for test vectors.

    Args:
        side: Side of the window in px.

    Returns:
        The window, (1, 1, side, side, 3) uint8.
    """
    random = torch.Generator().manual_seed(0)
    picture = torch.zeros(1, 3, side, side)
    # structures of several sizes, as tissue has them
    for cells, strength in ((4, 60.0), (16, 40.0), (side, 15.0)):
        noise = torch.randn(1, 3, cells, cells, generator=random)
        picture += strength * nn.functional.interpolate(noise, (side, side), mode="bilinear")
    picture += torch.tensor([200.0, 150.0, 190.0]).view(1, 3, 1, 1)
    return picture.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)[:, None].contiguous()


def _write_network(
    folder: Path, name: str, *, network: nn.Module, recipe: Recipe, calibration: tuple[float, float]
) -> None:
    """Write the weights of a network and its test vector."""
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
    save_tensors(tensors, folder / f"{name}.safetensors")
    # the expected output is that of the network as a user will load it: from recipe and file, on the CPU
    loaded = build_network(recipe.with_choices({"network.weights": "none"}))
    loaded.load_state_dict(tensors)
    windows = synthetic_window(recipe.patch_px)
    with torch.no_grad():
        probabilities = Detector(loaded, recipe, *calibration).eval()(windows)
    vector = {"windows": windows, "probabilities": probabilities.contiguous()}
    save_tensors(vector, folder / f"{name}.vector.safetensors")


def _card(recipe: Recipe, sections: Mapping[str, str]) -> str:
    """The model card as Markdown."""
    head = f"# Detector of {recipe.classes.positive}\n\nFor research use only; not a medical device.\n"
    settings = (
        f"Windows of {recipe.patches.size_um:g} um at {recipe.patches.mpp:g} um/px; network: "
        f"{recipe.network.architecture}, {recipe.network.encoder}; classes: {', '.join(recipe.classes.labels)}."
    )
    return (
        "\n".join([head, settings, *(f"\n## {heading}\n\n{text}" for heading, text in sections.items())])
        + "\n"
    )
