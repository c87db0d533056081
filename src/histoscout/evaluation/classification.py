"""Figures of a choice among classes: precision, recall, F1 and AUROC of each, and of all together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histoscout.evaluation.intervals import Statistic, Weights
from histoscout.evaluation.outlined import Ranked

OF_ALL = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "kappa")
OF_EACH = ("precision", "recall", "f1", "auroc")

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Choices:
    """What was chosen for each item and what it is: numbers of `classes`, int64 (N,), and the patient's number.

    `probabilities` float64 (N, C) are those of the classes.
    """

    classes: tuple[str, ...]
    truth: NDArray[np.int64]
    chosen: NDArray[np.int64]
    probabilities: Matrix
    patient: NDArray[np.int64]

    def confusion(self) -> NDArray[np.int64]:
        """How many items of each class (row) were taken for each class (column): int64 (C, C)."""
        table = np.zeros((len(self.classes), len(self.classes)), np.int64)
        np.add.at(table, (self.truth, self.chosen), 1)
        return table


def of_class(figure: str, label: str) -> str:
    """The name of a figure of one class."""
    return f"{figure} of {label}"


def choice_statistic(choices: Choices, patients: int) -> Statistic:
    """All figures by the patients' weights, as scikit-learn defines them; None where they do not exist.

    Macro averages go over the classes that have items, weighted ones by their number. AUROC is that of the class
    against all others. Kappa is Cohen's, without weights.
    """
    count = len(choices.classes)
    by_patient = np.zeros((patients, count * count))
    np.add.at(by_patient, (choices.patient, choices.truth * count + choices.chosen), 1)
    ranked = [
        Ranked.of(choices.probabilities[:, number], choices.truth == number, choices.patient)
        for number in range(count)
    ]

    def statistic(weights: Weights) -> dict[str, float | None]:
        confusion = (weights @ by_patient).reshape(count, count)
        figures = _of_all(confusion)
        for number, label in enumerate(choices.classes):
            own = {**_of_one(confusion, number), "auroc": ranked[number].auroc(weights)}
            figures |= {of_class(figure, label): own[figure] for figure in OF_EACH}
        return figures

    return statistic


def _of_one(confusion: Matrix, number: int) -> dict[str, float | None]:
    right = confusion[number, number]
    of_class, called = confusion[number].sum(), confusion[:, number].sum()
    return {
        "precision": _ratio(right, called),
        "recall": _ratio(right, of_class),
        "f1": _ratio(2 * right, of_class + called),
    }


def _of_all(confusion: Matrix) -> dict[str, float | None]:
    rows, columns, total = confusion.sum(1), confusion.sum(0), confusion.sum()
    right = np.diag(confusion)
    there = rows > 0
    if not total:
        return dict.fromkeys(OF_ALL)
    f1 = 2 * right[there] / (rows + columns)[there]
    by_chance = float(rows @ columns) / float(total) ** 2
    accuracy = float(right.sum() / total)
    return {
        "accuracy": accuracy,
        "balanced_accuracy": float((right[there] / rows[there]).mean()),
        "macro_f1": float(f1.mean()),
        "weighted_f1": float(f1 @ rows[there] / total),
        "kappa": _ratio(accuracy - by_chance, 1 - by_chance),
    }


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def numbered(names: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    """A number from 0 for each different name, int64 (N,), and how many there are."""
    number: Mapping[str, int] = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names], np.int64), len(number)
