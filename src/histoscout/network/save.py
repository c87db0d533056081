"""Writing a trained network as a model folder, and making the network again from one."""

import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from histoscout.errors import ModelError, OutputError
from histoscout.io.files import replacing, sha256
from histoscout.network.build import build_network
from histoscout.network.detector import Detector
from histoscout.network.model_folder import (
    CARD,
    FORMAT,
    INDEX,
    METRICS,
    RECIPE,
    Index,
    ModelFolder,
    read_model,
)
from histoscout.network.weights import list_some, mismatches, save_tensors
from histoscout.recipe import Recipe

VERSIONS = ("histoscout", "torch", "segmentation-models-pytorch", "timm")


def save_model(
    folder: Path,
    network: nn.Module,
    recipe: Recipe,
    *,
    threshold: float,
    temperature: float,
    metrics: Mapping[str, Any],
    card: Mapping[str, str],
    offset: float = 0.0,
    name: str = "detector",
    overwrite: bool = False,
) -> ModelFolder:
    """Write a model folder: files are made in a folder within, then moved; model.json, with the checksums, comes last.

    `card` gives the sections of card.md: heading to text. Other files in the folder stay as they are. Raises
    OutputError if the folder already holds a model and `overwrite` is not set.
    """
    if (folder / INDEX).exists() and not overwrite:
        raise OutputError(folder, "already holds a model", "Give another folder with -o, or --overwrite")
    with (
        replacing(folder / INDEX) as index_file,
        TemporaryDirectory(dir=folder, prefix=".part.") as beside,
    ):
        made = Path(beside)
        _write_network(made, network, recipe, (temperature, offset), name)
        (made / RECIPE).write_text(recipe.to_toml(), encoding="utf-8")
        (made / CARD).write_text(_card(recipe, card), encoding="utf-8")
        (made / METRICS).write_text(json.dumps(metrics, indent=1, sort_keys=True), encoding="utf-8")
        index = Index(
            format=FORMAT,
            labels=recipe.classes.labels,
            threshold=threshold,
            temperature=temperature,
            offset=offset,
            networks=(name,),
            facts={package: version(package) for package in VERSIONS},
            files={file.name: sha256(file) for file in sorted(made.iterdir())},
        )
        for file in made.iterdir():
            os.replace(file, folder / file.name)
        index_file.write_text(index.model_dump_json(indent=1), encoding="utf-8")
    return read_model(folder)


def load_network(model: ModelFolder, name: str = "detector") -> nn.Module:
    """The trained network of a model folder, giving logits, ready to answer. Never downloads anything."""
    network = build_network(model.recipe.with_choices({"network.weights": "none"}))
    path = model.weights(name)
    if not path.is_file():
        raise ModelError(
            path, "is missing from the model folder", "Copy the model folder again from its source"
        )
    tensors = load_file(path)
    if faults := mismatches(network.state_dict(), tensors):
        versions = ", ".join(f"{package} {number}" for package, number in model.facts.items())
        raise ModelError(
            path,
            f"does not fit its recipe: {list_some(faults)}",
            f"Install the versions it was written with ({versions})",
        )
    network.load_state_dict(tensors)
    return network.eval()


def made_up_window(side: int) -> Tensor:
    """A made-up window in the colours of a stain, uint8 (1, 1, side, side, 3), to compare answers by."""
    random = torch.Generator().manual_seed(0)
    picture = torch.zeros(1, 3, side, side)
    for cells, strength in (
        (4, 60.0),
        (16, 40.0),
        (side, 15.0),
    ):  # structures of several sizes, as tissue has
        noise = torch.randn(1, 3, cells, cells, generator=random)
        picture += strength * nn.functional.interpolate(noise, (side, side), mode="bilinear")
    picture += torch.tensor([200.0, 150.0, 190.0]).view(1, 3, 1, 1)
    return picture.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)[:, None].contiguous()


def _write_network(
    folder: Path, network: nn.Module, recipe: Recipe, calibration: tuple[float, float], name: str
) -> None:
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
    save_tensors(tensors, folder / f"{name}.safetensors")
    # the answer is that of the network as a user will get it: from recipe and file, on the CPU
    again = build_network(recipe.with_choices({"network.weights": "none"}))
    again.load_state_dict(tensors)
    windows = made_up_window(recipe.patch_px)
    with torch.no_grad():
        probabilities = Detector(again, recipe, *calibration).eval()(windows)
    vector = {"windows": windows, "probabilities": probabilities.contiguous()}
    save_tensors(vector, folder / f"{name}.vector.safetensors")


def _card(recipe: Recipe, sections: Mapping[str, str]) -> str:
    head = f"# Detector of {recipe.classes.positive}\n\nFor research use only; not a medical device.\n"
    looks = (
        f"Looks at windows of {recipe.patches.size_um:g} um at {recipe.patches.mpp:g} um/px with "
        f"{recipe.network.architecture}, {recipe.network.encoder}; finds: {', '.join(recipe.classes.labels)}."
    )
    return (
        "\n".join([head, looks, *(f"\n## {heading}\n\n{text}" for heading, text in sections.items())]) + "\n"
    )
