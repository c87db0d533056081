"""A model as a folder of open files, whole and unchanged, or an error that names the file.

detector.safetensors (weights) · detector.vector.safetensors (a window and the answer expected) · recipe.toml
model.json (labels, threshold, temperature, offset, checksums of all files) · card.md · metrics.json

Does an engine answer as the network did when the model was written?
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.numpy import load_file

from histoscout.errors import ModelError, RecipeError
from histoscout.io.files import sha256
from histoscout.recipe import Recipe

FORMAT = 1
INDEX, RECIPE, CARD, METRICS = "model.json", "recipe.toml", "card.md", "metrics.json"
RENAMED_METRICS: Mapping[str, str] = MappingProxyType({"guards": "sanity_checks"})
"""Keys of metrics.json that histoscout 0.1.0 wrote, and what they are called now."""

HASH_DIGITS = 12


class Index(BaseModel):
    """What model.json holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    labels: tuple[str, ...]  # of the network's answers, the positive class first
    threshold: float = Field(ge=0, le=1)  # of the positive class
    temperature: float = Field(gt=0)
    offset: float = 0.0  # of the log odds of the positive class
    networks: tuple[str, ...] = Field(min_length=1)
    facts: dict[str, Any] = {}  # versions of what wrote it
    files: dict[str, str]  # name: SHA-256


@dataclass(frozen=True)
class ModelFolder:
    """A trained model: where it lies and everything needed to use it but the weights themselves."""

    path: Path
    recipe: Recipe
    threshold: float
    temperature: float
    labels: tuple[str, ...]
    hash: str  # first 12 digits of the SHA-256 of the detector's weights
    facts: dict[str, Any]
    offset: float = 0.0

    def weights(self, name: str = "detector") -> Path:
        """The file of a network's weights."""
        return self.path / f"{name}.safetensors"

    @property
    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds: figures on the tuning set, and whom the model was trained on."""
        values: dict[str, Any] = json.loads((self.path / METRICS).read_text(encoding="utf-8"))
        return {RENAMED_METRICS.get(key, key): value for key, value in values.items()}

    def vector(self, name: str = "detector") -> Path:
        """The file of a window (uint8 "windows") and the answer expected to it (float32 "probabilities")."""
        return self.path / f"{name}.vector.safetensors"


def read_model(path: Path) -> ModelFolder:
    """Open a model folder and verify that each of its files is as it was written; torch is not needed.

    Raises ModelError naming the file that is missing, changed or of a newer version of histoscout.
    """
    index = _read_index(path)
    _verify(path, index)
    return ModelFolder(
        path=path,
        recipe=_read_recipe(path / RECIPE, index),
        threshold=index.threshold,
        temperature=index.temperature,
        labels=index.labels,
        hash=index.files[f"{index.networks[0]}.safetensors"][:HASH_DIGITS],
        facts=index.facts,
        offset=index.offset,
    )


def _read_recipe(path: Path, index: Index) -> Recipe:
    """The recipe, whose file is as it was written; its words may be those of another histoscout."""
    try:
        return Recipe.read(path)
    except RecipeError as error:
        versions = ", ".join(f"{package} {number}" for package, number in index.facts.items()) or "not said"
        raise ModelError(
            path,
            f"is the recipe of another histoscout than this one ({error.fault})",
            f"Use the one that wrote it ({versions}), or train the model anew",
        ) from error


def _read_index(path: Path) -> Index:
    where = path / INDEX
    if not where.is_file():
        raise ModelError(
            path, f"is not a model folder: it holds no {INDEX}", "Give the folder that training wrote"
        )
    try:
        values = json.loads(where.read_text(encoding="utf-8"))
        written = values.get("format") if isinstance(values, dict) else None
        if isinstance(written, int) and written > FORMAT:
            raise ModelError(
                where, f"is of format {written}; this histoscout reads {FORMAT}", "Install a newer histoscout"
            )
        index = Index.model_validate(values)
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise ModelError(
            where, f"cannot be understood ({error})", "Copy the model folder again from its source"
        ) from error
    needed = {RECIPE} | {
        f"{name}{kind}" for name in index.networks for kind in (".safetensors", ".vector.safetensors")
    }
    if unlisted := sorted(needed - index.files.keys()):
        raise ModelError(
            where, f"does not list {', '.join(unlisted)}", "Copy the model folder again from its source"
        )
    return index


def _verify(path: Path, index: Index) -> None:
    for name, checksum in sorted(index.files.items()):
        file = path / name
        if Path(name).name != name or not file.is_file():
            raise ModelError(
                file, "is missing from the model folder", "Copy the model folder again from its source"
            )
        try:
            found = sha256(file)
        except OSError as error:
            fault = f"cannot be read ({error.strerror})"
            raise ModelError(file, fault, "Check its permissions") from error
        if found != checksum:
            raise ModelError(
                file,
                "has changed since the model was written (its checksum differs)",
                "Copy the model folder again from its source, or train again; its files must not be edited",
            )


# largest mean and 99th percentile of the difference in probability; half-precision numbers have 8 to 11 bits
TOLERANCES = {True: (1e-4, 1e-3), False: (0.02, 0.1)}  # of float32, and of anything shorter


def read_vector(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The test vector of a model folder: a window (1, V, H, W, 3) and the probabilities expected for it."""
    tensors = load_file(path)
    return tensors["windows"], tensors["probabilities"]


def verify(
    answer: NDArray[np.float32], expected: NDArray[np.float32], *, exact: bool, where: Path, engine: str
) -> None:
    """ModelError if an engine's answer differs from what is expected by more than its numbers explain.

    `exact` says that the engine reckons in float32.
    """
    if answer.shape != expected.shape:
        raise _differs(where, engine, f"its shape is {answer.shape}, should be {expected.shape}")
    difference = np.abs(answer - expected)
    mean, most = float(difference.mean()), float(np.percentile(difference, 99))
    limits = TOLERANCES[exact]
    if not (mean <= limits[0] and most <= limits[1]):  # NaN fails, too
        raise _differs(
            where, engine, f"probabilities differ by {mean:.4f} on average, 1 % by over {most:.4f}"
        )


def _differs(where: Path, engine: str, how: str) -> ModelError:
    return ModelError(
        where,
        f"{engine} does not answer as the network did when the model was written: {how}",
        "Take another engine (--device torch), and please report this",
    )
