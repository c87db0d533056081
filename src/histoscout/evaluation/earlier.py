"""Scores that lie in a folder already: those of another set, of another model or of images are not replaced unasked."""

import json
from pathlib import Path
from typing import Any

from histoscout.errors import OutputError
from histoscout.evaluation.exam import SETS, Exam

FILE = "scores.json"


def refuse_other_scores(out: Path, exam: Exam, overwrite: bool) -> None:
    """OutputError if `out` holds scores of another set, of another model or of images by class, unless `overwrite`."""
    held = {} if overwrite else _held(out)
    if not held:
        return
    if held.get("set") != exam.set_name:
        kind = "images by class" if "images" in held else "another kind"
        raise _refusal(out, next((words for name, words in SETS.items() if name == held.get("set")), kind))
    if held.get("model", exam.model) != exam.model:
        raise _refusal(out, "another model")


def refuse_scores(out: Path, overwrite: bool) -> None:
    """OutputError if `out` holds any scores, unless `overwrite`."""
    if not overwrite and (held := _held(out)):
        raise _refusal(out, "images by class" if "images" in held else "slides")


def _refusal(out: Path, whose: str) -> OutputError:
    return OutputError(
        out, f"holds the scores of {whose}", "Give another folder with -o, or --overwrite to replace them"
    )


def _held(out: Path) -> dict[str, Any]:
    """What the scores in a folder say of themselves; empty if there are none."""
    path = out / FILE
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        remedy = "Give another folder with -o, or --overwrite to replace them"
        raise OutputError(path, f"holds scores that cannot be read ({error})", remedy) from error
    return values if isinstance(values, dict) and values else {"set": None}
