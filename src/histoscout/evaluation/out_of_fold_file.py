"""The file of a cross-validation: crossval.json with every figure, fold and difference."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from histoscout.evaluation.intervals import LEVEL, Interval
from histoscout.evaluation.out_of_fold import Arm, Crossval, FoldResult
from histoscout.files import write_text

FORMAT = 1


def write_crossval(result: Crossval, out: Path) -> Path:
    """Write `out`/crossval.json; its path. OutputError if that cannot be."""
    path = out / "crossval.json"
    write_text(path, json.dumps(crossval_dict(result), indent=1, allow_nan=False) + "\n")
    return path


def crossval_dict(result: Crossval) -> dict[str, Any]:
    """What crossval.json holds; a figure is {"value", "low", "high"}, null where it does not exist."""
    return {
        "format": FORMAT,
        "positive": result.positive,
        "folds": [list(patients) for patients in result.folds.patients],
        "patients": list(result.patients),
        "slides": list(result.slides),
        "recipes": {arm.name: _arm(arm, result.figures[arm.name]) for arm in result.arms},
        "differences": [
            {"from": one, "to": other, "figures": _figures(figures)}
            for (one, other), figures in result.differences.items()
        ],
        "intervals": {"level": LEVEL, "over": "patients", "draws": result.draws, "seed": result.seed},
        "notes": list(result.told),
    }


def _arm(arm: Arm, figures: Mapping[str, Interval]) -> dict[str, Any]:
    return {"out_of_fold": _figures(figures), "folds": [_fold(fold) for fold in arm.folds]}


def _fold(fold: FoldResult) -> dict[str, Any]:
    scores = fold.scores
    return {
        "fold": fold.number,
        "test_patients": list(scores.patients),
        "train_patients": list(fold.train_patients),
        "tune_patients": list(fold.tune_patients),
        "threshold": scores.threshold,
        "steps": fold.steps,
        "mpp": fold.mpp,
        "pixel": scores.pixels.row(scores.threshold),
    }


def _figures(figures: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: figure.to_dict() for name, figure in figures.items()}
