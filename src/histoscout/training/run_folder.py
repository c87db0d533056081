"""The folder of a training while it runs, and whether what is there may be gone on with.

What the folds of a planned recipe were begun with, so that folds planned for other minutes are not pooled.

Each fold keeps its own choices: jobs that begin at the same moment never write the same file.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from histoscout.cohort.cohort import Cohort
from histoscout.errors import OutputError
from histoscout.io.files import output_error, sha256, write_text
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.recipe import Recipe

BUDGET = "budget.json"
ASIDE = ".replaced"


@dataclass(frozen=True)
class RunFolder:
    """Where a training keeps its state; `finished` is its model if it has ended already."""

    folder: Path
    finished: ModelFolder | None
    first: bool = True  # of the model's members

    def member(self, number: int) -> "RunFolder":
        """Where the member of this number, from 0, keeps its state: the first one here, others in folders within."""
        return self if number == 0 else RunFolder(self.folder / f"member-{number + 1}", None, first=False)

    @property
    def split(self) -> Path:
        return self.folder / "split.csv"

    @property
    def budget(self) -> Path:
        return self.folder / BUDGET

    @property
    def last(self) -> Path:
        return self.folder / "last.safetensors"


def open_run(out: Path, cohort: Cohort, recipe: Recipe, start: Path | None, *, overwrite: bool) -> RunFolder:
    """Begin a training in `out`/training, or go on with the one that was begun there.

    Raises OutputError if `out` holds anything else: another recipe, other slides or outlines, other files. One that never
    took a step (its slides could not be read, its weights were missing) is begun anew with whatever is given now. What
    `overwrite` replaces is set aside until `settle`.
    """
    folder, model = out / "training", out / "model.json"
    mark = folder / "run.json"
    wanted = _fingerprint(cohort, recipe, start)
    settle(out)
    if overwrite and (mark.exists() or model.exists()):
        _set_aside(out)
    run = RunFolder(folder, read_model(out) if model.exists() else None)
    if mark.exists():
        if json.loads(mark.read_text(encoding="utf-8")) == wanted:
            return run
        if has_begun(out):
            raise OutputError(
                out,
                "holds a training with another recipe, other slides or other outlines",
                "Give a new folder with -o, or --overwrite to delete it",
            )
        shutil.rmtree(folder)
    elif not overwrite and out.exists() and any(out.iterdir()):
        raise OutputError(out, "is not empty and not a training of histoscout", "Give a new folder with -o")
    write_text(mark, json.dumps(wanted, indent=1) + "\n")
    return run


def _set_aside(out: Path) -> None:
    """Move what makes a folder a model, and its training, to a folder within; other files in it are not ours."""
    try:
        for name in ("model.json", "training"):
            if (out / name).exists():
                (out / ASIDE).mkdir(exist_ok=True)
                (out / name).rename(out / ASIDE / name)
    except OSError as error:
        raise output_error(out, error) from error


def settle(out: Path) -> None:
    """Put back what was set aside if the training in its place has not come to its first step, else delete it."""
    aside = out / ASIDE
    if not aside.is_dir():
        return
    try:
        if not has_begun(out):
            shutil.rmtree(out / "training", ignore_errors=True)
            for kept in aside.iterdir():
                kept.rename(out / kept.name)
    except OSError as error:
        raise output_error(out, error) from error
    shutil.rmtree(aside, ignore_errors=True)


def has_begun(out: Path) -> bool:
    """Whether a training in the folder `out` has come as far as its first step."""
    return (out / "training" / BUDGET).exists() or (out / "model.json").exists()


def _fingerprint(cohort: Cohort, recipe: Recipe, start: Path | None) -> dict[str, str]:
    """What decides how a training ends: the recipe, the slides by name and size, the outlines by content, the start, and the
    weights to begin with by content if they are a file."""
    rows = [
        [
            case.slide.name,  # not where it lies: a cohort may be moved, or its table named in another way
            case.slide.stat().st_size,
            sha256(case.annotations) if case.annotations else None,
            case.patient,
            case.split,
            case.mpp,
            *([case.label] if case.label else []),
            *([dict(case.mask_labels)] if case.mask_labels else []),
            *([case.mask_threshold] if case.mask_threshold is not None else []),
        ]
        for case in cohort.cases
    ]
    weights = Path(recipe.network.weights)
    slides = hashlib.sha256(json.dumps(sorted(rows, key=str)).encode()).hexdigest()
    return {
        "recipe": hashlib.sha256(recipe.to_toml().encode()).hexdigest(),
        "cohort": slides,
        "start": read_model(start).hash if start else "",
        **({"weights": sha256(weights)} if weights.is_file() else {}),
    }


FILE = "choices.json"


def write_choices(fold: Path, choices: Mapping[str, Any]) -> None:
    """Keep the choices (dotted names of the recipe) that a fold is planned with, unless it has begun already."""
    if not has_begun(fold / "model"):
        write_text(fold / FILE, json.dumps(_given(choices), indent=1) + "\n")


def refuse_other_choices(arm: Path, choices: Mapping[str, Any]) -> None:
    """OutputError if a fold in the folder of a recipe has begun its training with other choices."""
    for file in sorted(arm.glob(f"fold-*/{FILE}")):
        held = json.loads(file.read_text(encoding="utf-8"))
        if held != _given(choices) and has_begun(file.parent / "model"):
            raise OutputError(
                file.parent,
                f"was begun with {_words(held)}, and now there is {_words(_given(choices))}",
                "Give the same --minutes or --epochs again, or a new folder with -o",
            )


def _given(choices: Mapping[str, Any]) -> dict[str, Any]:
    """As a file holds them; what is None was not chosen."""
    given = {name: value for name, value in choices.items() if value is not None}
    plain: dict[str, Any] = json.loads(json.dumps(given))
    return plain


def _words(choices: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in sorted(choices.items())) or "no such choice"
