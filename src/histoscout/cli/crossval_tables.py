"""Figures of a cross-validation as plain tables."""

from collections.abc import Mapping
from types import MappingProxyType

from histoscout.cli.tables import interval_cell, table
from histoscout.evaluation.froc import sensitivity_at
from histoscout.evaluation.intervals import Interval
from histoscout.evaluation.out_of_fold import Crossval

PIXEL: Mapping[str, str] = MappingProxyType(
    {"AP": "ap", "Dice": "dice", "by patient": "dice_per_patient", "ECE": "ece"}
)
LESION: Mapping[str, str] = MappingProxyType(
    {
        "sensitivity": "sensitivity",
        "false per cm2": "false_per_cm2",
        "FROC per cm2": "froc_per_cm2",
        "at 5 per cm2": sensitivity_at(5.0, "cm2"),
        "at 10 per cm2": sensitivity_at(10.0, "cm2"),
    }
)


def crossval_table(result: Crossval) -> str:
    """Out-of-fold figures of each recipe, differences of each pair, and each fold by itself."""
    parts = [
        _figures("tissue, out of fold", PIXEL, result.figures),
        _figures("lesions, out of fold", LESION, result.figures),
    ]
    pairs = {f"{other} over {one}": figures for (one, other), figures in result.differences.items()}
    if pairs:
        parts += [_figures("difference, paired", PIXEL, pairs), _figures("", LESION, pairs)]
    folds = []
    for arm in result.arms:
        for fold in arm.folds:
            row = fold.scores.pixels.row(fold.scores.threshold)
            patients = ", ".join(fold.scores.patients)
            folds.append(
                (arm.name, fold.number, patients, fold.steps, fold.scores.threshold, row["ap"], row["dice"])
            )
    parts.append(table(("recipe", "fold", "judged on", "steps", "threshold", "AP", "Dice"), folds))
    stand = f"{len(result.slides)} slides of {len(result.patients)} patients; in brackets 95 % intervals over patients"
    return "\n\n".join([*parts, stand])


def _figures(head: str, columns: Mapping[str, str], rows: Mapping[str, Mapping[str, Interval]]) -> str:
    cells = [
        (name, *(interval_cell(figures[key]) for key in columns.values())) for name, figures in rows.items()
    ]
    return table((head, *columns), cells)
