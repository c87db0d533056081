"""The model folder: a trained model as open files, verified by checksums and a test vector.

- detector.safetensors: the weights; detector.vector.safetensors: a window and the probabilities expected for it
- recipe.toml, card.md, metrics.json: the recipe, the model card, figures on the tuning set
- model.json: labels, threshold, calibration, and the checksums of all other files; written last

This module does not import torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file

from histoscout.errors import ModelError, RecipeError
from histoscout.io.files import StrPath, read_text, sha256
from histoscout.io.inputs import is_sealed, parse_json
from histoscout.recipe import Recipe

FORMAT = 1
"""Version of model.json."""

INDEX = "model.json"
RECIPE = "recipe.toml"
CARD = "card.md"
METRICS = "metrics.json"
"""Files of a model folder beside its networks."""

RENAMED_METRICS_KEYS: Mapping[str, str] = MappingProxyType(
    {"appearance": "domain_shift", "guards": "sanity_checks", "operating": "operating_points"}
)
"""Keys of metrics.json that histoscout 0.1.0 wrote, and what they are called now."""

HASH_DIGITS = 12
"""Digits of a checksum that name a model in results."""

TOLERANCES = {True: (1e-4, 1e-3), False: (0.02, 0.1)}
"""Largest mean and 99th percentile of the difference in probability: for float32, and for shorter numbers.

Half-precision numbers have 8 to 11 bits.
"""


class ModelIndex(BaseModel):
    """The content of model.json.

    Attributes:
        format: Version of the format.
        labels: Labels of the network's outputs, the positive class first.
        threshold: Probability from which a place is detected as the positive class.
        temperature: Temperature of the calibration (Guo 2017).
        prior_correction: Added to the log odds of the positive class; "offset" in files of histoscout 0.1.0.
        networks: Names of the networks in the folder.
        facts: Versions of the packages that wrote the folder.
        files: SHA-256 of each file by name.
        checksum: That of all other values; files of histoscout 0.1.0 have none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: int
    labels: tuple[str, ...]
    threshold: float = Field(ge=0, le=1)
    temperature: float = Field(ge=0.01, le=100)
    prior_correction: float = Field(
        default=0.0, ge=-100, le=100, validation_alias=AliasChoices("prior_correction", "offset")
    )
    networks: tuple[str, ...] = Field(min_length=1, max_length=64)
    facts: dict[str, Any] = {}
    files: dict[str, str]
    checksum: str | None = None


class _KnownSlide(BaseModel):
    """A fingerprint in metrics.json."""

    model_config = ConfigDict(allow_inf_nan=False)

    name: str
    patient: str
    size_um: tuple[float, float]
    grey: str = Field(pattern=r"^([0-9a-f]{2})*$")


class _Measures(BaseModel):
    """Measures of a training slide in metrics.json."""

    model_config = ConfigDict(allow_inf_nan=False)

    patient: str
    numbers: dict[str, float]


class _TrainingData(BaseModel):
    """The part "data" of metrics.json."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    train_patients: list[str] = []
    tune_patients: list[str] = []
    fingerprints: list[_KnownSlide] = []


class _ModelMetrics(BaseModel):
    """What is read from metrics.json; other values are shown at most."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    tune: dict[str, Any] = {}
    training: dict[str, Any] = {}
    data: _TrainingData = _TrainingData()
    domain_shift: list[_Measures] = []
    sanity_checks: list[dict[str, Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """A trained model: its folder, and everything needed to use it but the weights themselves.

    Attributes:
        path: The folder.
        recipe: The recipe that the model was trained with.
        threshold: Probability from which a place is detected, as the tuning set chose it.
        temperature: Temperature of the calibration (Guo 2017); above 1: less sure.
        labels: Labels of the network's outputs, the positive class first.
        hash: First 12 digits of the SHA-256 of the detector's weights; names the model in results.
        facts: Versions of the packages that wrote the folder.
        prior_correction: Added to the log odds of the positive class, since training patches hold it more often than
            slides do.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import ModelFolder, Recipe
        >>> model = ModelFolder(path=Path("model"), recipe=Recipe(), threshold=0.4, temperature=1.0,
        ...                     labels=("UDH",), hash="cfe32b44ae1e", facts={})
        >>> model.weights().name, model.detection_threshold
        ('detector.safetensors', 0.4)
    """

    path: Path
    recipe: Recipe
    threshold: float
    temperature: float
    labels: tuple[str, ...]
    hash: str
    facts: dict[str, Any]
    prior_correction: float = 0.0

    @property
    def detection_threshold(self) -> float:
        """The threshold to use: the recipe's if it sets one, else the one that the tuning set chose."""
        chosen = self.recipe.detection.threshold
        return self.threshold if chosen is None else chosen

    def weights(self, name: str = "detector") -> Path:
        """The file of a network's weights."""
        return self.path / f"{name}.safetensors"

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json: figures on the tuning set, training patients, operating points."""
        path = self.path / METRICS
        try:
            values = parse_json(read_text(path))
            if not isinstance(values, dict):
                raise ValueError("it is no object")  # noqa: TRY004 (told below)
            values = {RENAMED_METRICS_KEYS.get(key, key): value for key, value in values.items()}
            _ModelMetrics.model_validate(values)
        except (OSError, ValueError) as error:
            fault = f"the file cannot be read ({_in_short(error)})"
            raise ModelError(path, fault, "Copy the model folder again from its source") from error
        return values

    def vector(self, name: str = "detector") -> Path:
        """The file of the test vector: a window and the probabilities expected for it."""
        return self.path / f"{name}.vector.safetensors"


def read_model(path: StrPath) -> ModelFolder:
    """Open a model folder and verify the checksum of each of its files; torch is not needed.

    Args:
        path: The folder that training wrote.

    Returns:
        The model, without its weights.

    Raises:
        ModelError: Names the file that is missing, changed or of a newer version of histoscout.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import HistoscoutError, read_model
        >>> try:
        ...     read_model(Path("no-such-folder"))
        ... except HistoscoutError as error:
        ...     print(type(error).__name__)
        ModelError
    """
    path = Path(path)
    index = _read_index(path)
    _verify_checksums(path, index)
    recipe = _read_recipe(path / RECIPE, index)
    if recipe.classes.labels != index.labels:
        fault = f"its labels ({', '.join(index.labels)}) are not those of {RECIPE} ({', '.join(recipe.classes.labels)})"
        raise ModelError(path / INDEX, fault, "Copy the model folder again from its source")
    return ModelFolder(
        path=path,
        recipe=recipe,
        threshold=index.threshold,
        temperature=index.temperature,
        labels=index.labels,
        hash=index.files[f"{index.networks[0]}.safetensors"][:HASH_DIGITS],
        facts=index.facts,
        prior_correction=index.prior_correction,
    )


def _in_short(error: Exception) -> str:
    """What is wrong with a file, in one line."""
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    return str(error.strerror if isinstance(error, OSError) else error)


def _read_recipe(path: Path, index: ModelIndex) -> Recipe:
    """The recipe of a model folder; a key that this version does not know names the versions that do."""
    try:
        return Recipe.read(path)
    except RecipeError as error:
        versions = ", ".join(f"{package} {number}" for package, number in index.facts.items()) or "unknown"
        raise ModelError(
            path,
            f"this version of histoscout cannot read the recipe ({error.fault})",
            f"Use the version that wrote it ({versions}), or train the model again",
        ) from error


def _read_index(path: Path) -> ModelIndex:
    where = path / INDEX
    if not where.is_file():
        raise ModelError(
            path, f"this is not a model folder: it holds no {INDEX}", "Give the folder that training wrote"
        )
    try:
        values = parse_json(read_text(where))
        if isinstance(values, dict) and not is_sealed(values):
            fault = "the file has changed since the model was written (its checksum differs)"
            remedy = "Copy the model folder again from its source; another threshold is an option of detect"
            raise ModelError(where, fault, remedy)
        written = values.get("format") if isinstance(values, dict) else None
        if isinstance(written, int) and written > FORMAT:
            raise ModelError(
                where,
                f"the file has format {written}; this version of histoscout reads {FORMAT}",
                "Install a newer histoscout",
            )
        index = ModelIndex.model_validate(values)
    except (OSError, ValueError) as error:
        raise ModelError(
            where,
            f"the file cannot be read ({_in_short(error)})",
            "Copy the model folder again from its source",
        ) from error
    needed = {RECIPE} | {
        f"{name}{kind}" for name in index.networks for kind in (".safetensors", ".vector.safetensors")
    }
    if unlisted := sorted(needed - index.files.keys()):
        raise ModelError(
            where,
            f"the file does not list {', '.join(unlisted)}",
            "Copy the model folder again from its source",
        )
    return index


def _verify_checksums(path: Path, index: ModelIndex) -> None:
    for name, checksum in sorted(index.files.items()):
        file = path / name
        if Path(name).name != name or not file.is_file():
            raise ModelError(
                file,
                "the file is missing from the model folder",
                "Copy the model folder again from its source",
            )
        try:
            found = sha256(file)
        except OSError as error:
            fault = f"the file cannot be read ({error.strerror})"
            raise ModelError(file, fault, "Check its permissions") from error
        if found != checksum:
            raise ModelError(
                file,
                "the file has changed since the model was written (its checksum differs)",
                "Copy the model folder again from its source, or train again; its files must not be edited",
            )


def read_test_vector(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Read the test vector of a model folder.

    Args:
        path: The file, see `ModelFolder.vector`.

    Returns:
        A window (1, 1, H, W, 3) uint8 and the probabilities expected for it, (1, H, W, C) float32, or (1, C) of a tile
        classifier.

    Raises:
        ModelError: If the file is not a test vector.
    """
    try:
        tensors = load_file(path)
        windows, probabilities = tensors["windows"], tensors["probabilities"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        fault = f"the file is not a test vector ({type(error).__name__}: {error})"
        raise ModelError(path, fault, "Copy the model folder again from its source") from error
    is_window = windows.dtype == np.uint8 and windows.ndim == 5 and windows.shape[1::3] == (1, 3)
    if not (is_window and probabilities.dtype == np.float32 and len(windows) == len(probabilities) > 0):
        fault = f"it is not a test vector: {windows.dtype} {windows.shape}, {probabilities.dtype}"
        raise ModelError(path, fault, "Copy the model folder again from its source")
    return windows, probabilities


def verify_output(
    answer: NDArray[np.float32], expected: NDArray[np.float32], *, exact: bool, where: Path, engine: str
) -> None:
    """Compare an engine's output with the expected one.

    Args:
        answer: Probabilities from the engine.
        expected: Probabilities from torch in float32, of the same shape.
        exact: Whether the engine computes in float32.
        where: The model folder, for the error.
        engine: Description of the engine, for the error.

    Raises:
        ModelError: If they differ by more than the engine's precision explains.
    """
    how = ""
    if answer.shape != expected.shape:
        how = f"its shape is {answer.shape} instead of {expected.shape}"
    else:
        difference = np.abs(answer - expected)
        mean, high = float(difference.mean()), float(np.percentile(difference, 99))
        mean_limit, high_limit = TOLERANCES[exact]
        # written so that NaN fails, too
        if not (mean <= mean_limit and high <= high_limit):
            how = f"probabilities differ by {mean:.4f} on average, 1 % by more than {high:.4f}"
    if how:
        raise ModelError(
            where,
            f"{engine} gives another output than the network did when the model was written: {how}",
            "Use another engine (--device torch), and please report this",
        )
