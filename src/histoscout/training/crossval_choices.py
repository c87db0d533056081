"""What the folds of a planned recipe were begun with, so that folds planned for other minutes are not pooled.

Each fold keeps its own choices: jobs that begin at the same moment never write the same file.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from histoscout.errors import OutputError
from histoscout.files import write_text
from histoscout.training.run_folder import has_begun

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
