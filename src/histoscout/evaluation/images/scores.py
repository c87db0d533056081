"""The figures of images whose class a model has named.

Figures of a choice among classes: precision, recall, F1 and AUROC of each, and of all together.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histoscout.cohort.image_folders import RoiImage
from histoscout.evaluation.bootstrap import DRAWS, Interval, Statistic, Weights, bootstrap
from histoscout.evaluation.images.published import THREE, published_for
from histoscout.evaluation.lesions.class_auroc import Ranked
from histoscout.io.files import write_text

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


BRACS_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("N", "PB", "UDH"), "benign"),
        **dict.fromkeys(("FEA", "ADH"), "atypical"),
        **dict.fromkeys(("DCIS", "IC"), "malignant"),
    }
)
"""The seven classes of BRACS folded to three (Brancati 2022, Database, baac093)."""


@dataclass(frozen=True)
class NamedImage:
    """An image, the class it is of in the model's words, what the model took it for, and how probable each class is.

    `probabilities` go by the classes `asked` of `ImageScores`.
    """

    image: RoiImage
    truth: str
    chosen: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class ImageScores:
    """The images with their classes, and every figure that follows, with intervals over patients.

    `asked` are all classes to choose from, `classes` those of them that an image is of or was taken for. `overall`
    and `by_class` (class, then figure) hold the figures.
    """

    asked: tuple[str, ...]
    classes: tuple[str, ...]
    images: tuple[NamedImage, ...]
    overall: Mapping[str, Interval]
    by_class: Mapping[str, Mapping[str, Interval]]
    notes: tuple[str, ...]

    def confusion(self) -> NDArray[np.int64]:
        """How many images of each class (row) were taken for each (column): int64 (C, C), by `classes`."""
        return self.choices.confusion()

    def confusion_shares(self) -> NDArray[np.float64]:
        """The same as shares of the images of each class; rows of classes without images are 0."""
        counts = self.confusion().astype(np.float64)
        return np.asarray(counts / np.maximum(counts.sum(1, keepdims=True), 1))

    def figure(self, name: str) -> Interval | None:
        """A figure by its name, "weighted_f1" or "recall of UDH"; None if there is none of this name."""
        if name in self.overall:
            return self.overall[name]
        figure, _, label = name.partition(" of ")
        return self.by_class.get(label, {}).get(figure)

    @property
    def choices(self) -> Choices:
        """The images as numbers."""
        return _choices(self.asked, self.classes, self.images)

    @property
    def patients(self) -> tuple[str, ...]:
        """Every patient who is named, once, sorted."""
        return tuple(sorted({image.image.patient for image in self.images if image.image.patient}))

    def taken_for(self) -> dict[str, dict[str, int]]:
        """By the class of the folder or table: how many of its images were taken for each of the model's classes."""
        counts = {
            label: dict.fromkeys(self.classes, 0) for label in sorted({i.image.label for i in self.images})
        }
        for image in self.images:
            counts[image.image.label][image.chosen] += 1
        return counts

    def to_dict(self) -> dict[str, Any]:
        """As scores.json holds it."""
        return {
            "images": {
                "count": len(self.images),
                "overall": {name: figure.to_dict() for name, figure in self.overall.items()},
                "classes": {
                    label: {name: figure.to_dict() for name, figure in figures.items()}
                    for label, figures in self.by_class.items()
                },
                "confusion": {
                    "classes": list(self.classes),
                    "counts": self.confusion().tolist(),
                    "shares": self.confusion_shares().round(6).tolist(),
                },
                "taken_for": self.taken_for(),
            },
            "patients": list(self.patients),
            "notes": list(self.notes),
        }


def score_images(
    images: Sequence[NamedImage], classes: Sequence[str], notes: Sequence[str] = (), draws: int = DRAWS
) -> ImageScores:
    """All figures of named images; there are none of `classes` that no image is of and none was taken for.

    Intervals are over patients; without patients there are none.
    """
    used = {image.truth for image in images} | {image.chosen for image in images}
    asked, classes = tuple(classes), tuple(label for label in classes if label in used)
    known = all(image.image.patient for image in images)
    choices = _choices(asked, classes, images)
    patients = int(choices.patient.max()) + 1
    statistic = choice_statistic(choices, patients)
    if known:
        figures = bootstrap(statistic, patients, draws)
    else:
        figures = {name: Interval(value) for name, value in statistic(np.ones(patients)).items()}
    return ImageScores(
        asked,
        classes,
        tuple(images),
        {name: figures[name] for name in OF_ALL},
        {label: {name: figures[of_class(name, label)] for name in OF_EACH} for label in classes},
        tuple(notes),
    )


def folded(scores: ImageScores, groups: Mapping[str, str], draws: int = DRAWS) -> ImageScores | None:
    """The same images with classes folded into groups; None if some class of an image or an answer is in no group.

    An image is taken for the group of the class it was taken for; probabilities of all classes of a group are added up.
    """
    if not all(label in groups for label in scores.classes):
        return None
    names = tuple(dict.fromkeys(groups.values()))
    member = np.array([[groups.get(label) == name for name in names] for label in scores.asked], np.float64)
    images = [
        NamedImage(
            one.image,
            groups[one.truth],
            groups[one.chosen],
            tuple((np.array(one.probabilities) @ member).tolist()),
        )
        for one in scores.images
    ]
    return score_images(images, names, scores.notes, draws)


def _choices(asked: tuple[str, ...], classes: tuple[str, ...], images: Sequence[NamedImage]) -> Choices:
    return Choices(
        classes,
        np.array([classes.index(image.truth) for image in images], np.int64),
        np.array([classes.index(image.chosen) for image in images], np.int64),
        np.array([image.probabilities for image in images], np.float64)[:, _places(classes, asked)],
        numbered([image.image.patient for image in images])[0],
    )


def _places(classes: Sequence[str], asked: Sequence[str]) -> list[int]:
    """Which columns of the probabilities are those of the classes."""
    return [asked.index(label) for label in classes]


def write_image_scores(scores: ImageScores, out: Path) -> None:
    """scores.json with the figures (of the three groups of BRACS, too), images.csv with a row an image, confusion.csv with counts and shares."""
    groups = folded(scores, BRACS_GROUPS)
    values = {
        **scores.to_dict(),
        "in_groups": None if groups is None else groups.to_dict()["images"],
        "published": [row.to_dict() for row in published_for(scores.classes)],
        "published_in_groups": [row.to_dict() for row in THREE] if published_for(scores.classes) else [],
    }
    write_text(out / "scores.json", json.dumps(values, indent=1, allow_nan=False) + "\n")
    head = ("image", "patient", "class", "as", "taken for", *(f"p {label}" for label in scores.classes))
    columns = _places(scores.classes, scores.asked)
    rows = [_row(image, columns) for image in scores.images]
    write_text(out / "images.csv", _table([head, *rows]))
    shares = scores.confusion_shares()
    counted = [
        (label, *counts, *(f"{share:.4f}" for share in row))
        for label, counts, row in zip(scores.classes, scores.confusion().tolist(), shares, strict=True)
    ]
    heading = ("class", *scores.classes, *(f"share {label}" for label in scores.classes))
    write_text(out / "confusion.csv", _table([heading, *counted]))


def _row(named: NamedImage, columns: Sequence[int]) -> tuple[str, ...]:
    image = named.image
    probable = (f"{value:.4f}" for value in (named.probabilities[column] for column in columns))
    return (image.path.name, image.patient, image.label, named.truth, named.chosen, *probable)


def _table(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
