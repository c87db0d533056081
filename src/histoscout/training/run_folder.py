"""The folder of a training while it runs, and whether the training in it may be resumed.

Also the choices that the folds of a cross-validation were planned with, so that folds planned for other
minutes are not pooled. Each fold keeps its own file: jobs that start at the same moment never write the same
one.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from histoscout.cohort.cohort import Cohort
from histoscout.detection.settings import file_hash
from histoscout.errors import OutputError
from histoscout.io.files import (
    holds_nothing,
    output_error,
    read_text,
    remove_leftovers,
    sha256,
    write_text,
)
from histoscout.io.inputs import parse_json
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.recipe import Recipe

BUDGET = "budget.json"
"""Written right before the first step: where it exists, a training has started."""

REPLACED = ".replaced"
"""Folder where histoscout 0.2.0 kept the model and training that `overwrite` replaced until the first step."""

CONTENT = "content"
"""Name of the hash of the slides' content in a fingerprint."""

CHOICES_FILE = "choices.json"
"""The choices of the recipe that a fold of a cross-validation was planned with."""


@dataclass(frozen=True)
class RunFolder:
    """Where a training keeps its state.

    Attributes:
        folder: The folder.
        finished: The model, if the training has ended.
        is_first: Whether this is the first ensemble member.
    """

    folder: Path
    finished: ModelFolder | None
    is_first: bool = True

    def member(self, number: int) -> "RunFolder":
        """The run folder of an ensemble member, from 0: the first uses this folder, others a folder in it."""
        if number == 0:
            return self
        return RunFolder(self.folder / f"member-{number + 1}", None, is_first=False)

    @property
    def split(self) -> Path:
        """The table of training and tuning slides."""
        return self.folder / "split.csv"

    @property
    def budget(self) -> Path:
        """The number of steps."""
        return self.folder / BUDGET

    @property
    def last(self) -> Path:
        """The last checkpoint."""
        return self.folder / "last.safetensors"


def open_run(out: Path, fingerprint: Mapping[str, str]) -> RunFolder:
    """Start a training in `out`/training, or resume the one that is there.

    A training that never took a step (its slides could not be read, say) is replaced by whatever is given
    now.

    Args:
        out: The model folder.
        fingerprint: That of the training, by `training_fingerprint`.

    Returns:
        The run folder.

    Raises:
        OutputError: If `out` holds something else: another recipe, other slides or annotations, other files.
    """
    folder, model = out / "training", out / "model.json"
    mark = folder / "run.json"
    run = RunFolder(folder, read_model(out) if model.exists() else None)
    # resume the same training, refuse another one that has started
    if mark.exists():
        if is_same_training(out, fingerprint):
            return run
        if has_started(out):
            raise OutputError(
                out,
                "the folder holds a training with another recipe, other slides or other annotations",
                "Give a new folder with -o, or --overwrite to delete it",
            )
        shutil.rmtree(folder)
    # a run that was killed in its first moment leaves empty folders
    elif not holds_nothing(out):
        fault = "the folder is not empty and not a training of histoscout"
        raise OutputError(out, fault, "Give a new folder with -o")
    write_text(mark, json.dumps(fingerprint, indent=1) + "\n")
    return run


def is_same_training(out: Path, fingerprint: Mapping[str, str]) -> bool:
    """Whether the training in the folder `out` has a fingerprint.

    Args:
        out: The model folder.
        fingerprint: That of the training that is to be run.

    Returns:
        Whether all parts are the same that the training in the folder has written down.
    """
    mark = out / "training" / "run.json"
    if not mark.is_file():
        return False
    stored = parse_json(read_text(mark))
    # histoscout 0.2.0 and older did not look into slide files
    return bool(
        stored == {key: fingerprint[key] for key in fingerprint if key != CONTENT or CONTENT in stored}
    )


def needs_replacement(out: Path, fingerprint: Mapping[str, str]) -> bool:
    """Whether a training with `overwrite` must be made aside: there is something that it replaces.

    Args:
        out: The model folder.
        fingerprint: That of the training.

    Returns:
        False where the folder is empty, or holds a killed run of the same training, which is resumed.
    """
    if (out / "model.json").exists():
        return True
    return has_started(out) and not is_same_training(out, fingerprint)


def restore_replaced(out: Path) -> None:
    """Put back what histoscout 0.2.0 kept aside while it overwrote, wherever nothing took its place.

    Args:
        out: The model folder.

    Raises:
        OutputError: If the files cannot be moved.
    """
    replaced = out / REPLACED
    if not replaced.is_dir():
        return
    try:
        for kept in replaced.iterdir():
            if not (out / kept.name).exists():
                kept.rename(out / kept.name)
    except OSError as error:
        raise output_error(out, error) from error
    shutil.rmtree(replaced, ignore_errors=True)


def remove_training_leftovers(out: Path) -> None:
    """Remove temporary files that killed runs have left in a model folder, which is locked.

    Args:
        out: The model folder.
    """
    training = out / "training"
    remove_leftovers(out, training, *training.glob("*/"), alone=True)


def has_started(out: Path) -> bool:
    """Whether a training in the folder `out` has come as far as its first step.

    Args:
        out: The model folder.

    Returns:
        Whether there is something to resume or keep.
    """
    return (out / "training" / BUDGET).exists() or (out / "model.json").exists()


def training_fingerprint(cohort: Cohort, recipe: Recipe, start: ModelFolder | None = None) -> dict[str, str]:
    """Hash what decides the result of a training.

    Args:
        cohort: The cohort: slides by name, size and samples of their content, annotations by content.
        recipe: The recipe.
        start: The start model.

    Returns:
        Hashes of the recipe, the cohort, the slides' content, the start model, and the weights if they are a file.
    """
    rows = [
        [
            # not the path: a cohort may be moved, or its table named in another way
            case.slide.name,
            case.slide.stat().st_size,
            sha256(case.annotations) if case.annotations else None,
            case.patient,
            case.split,
            case.mpp,
            *([f"series {case.series}"] if case.series else []),
            *([case.label] if case.label else []),
            *([dict(case.mask_labels)] if case.mask_labels else []),
            *([case.mask_threshold] if case.mask_threshold is not None else []),
        ]
        for case in cohort.cases
    ]
    slides = sorted([case.slide.name, file_hash(case)] for case in cohort.cases if case.split != "test")
    weights = Path(recipe.network.weights)
    return {
        "recipe": hashlib.sha256(recipe.identity().encode()).hexdigest(),
        "cohort": hashlib.sha256(json.dumps(sorted(rows, key=str)).encode()).hexdigest(),
        CONTENT: hashlib.sha256(json.dumps(slides).encode()).hexdigest(),
        "start": start.hash if start else "",
        **({"weights": sha256(weights)} if weights.is_file() else {}),
    }


# ---------------------------------------------------------------- choices of cross-validation folds


def write_choices(fold: Path, choices: Mapping[str, Any]) -> None:
    """Write the choices that a fold is planned with, unless its training has started.

    Args:
        fold: The folder of the fold.
        choices: Values by dotted key of the recipe; None means that the user made no choice.
    """
    if not has_started(fold / "model"):
        write_text(fold / CHOICES_FILE, json.dumps(_as_stored(choices), indent=1) + "\n")


def check_choices(recipe_folder: Path, choices: Mapping[str, Any]) -> None:
    """Check that the folds of a planned recipe were not started with other choices.

    Args:
        recipe_folder: The folder with the folds of one recipe.
        choices: Values by dotted key of the recipe; None means that the user made no choice.

    Raises:
        OutputError: If a fold has started its training with other choices.
    """
    given = _as_stored(choices)
    for file in sorted(recipe_folder.glob(f"fold-*/{CHOICES_FILE}")):
        stored = parse_json(read_text(file))
        if stored != given and has_started(file.parent / "model"):
            raise OutputError(
                file.parent,
                f"the fold was started with {_in_words(stored)}, and now there is {_in_words(given)}",
                "Give the same --minutes or --epochs again, or a new folder with -o",
            )


def _as_stored(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Choices as they read back from JSON, without those that are None."""
    given = {name: value for name, value in choices.items() if value is not None}
    stored: dict[str, Any] = json.loads(json.dumps(given))
    return stored


def _in_words(choices: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in sorted(choices.items())) or "no such choice"
