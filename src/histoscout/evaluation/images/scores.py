"""Classification metrics of images: precision, recall, F1 and AUROC by class, and overall."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histoscout.cohort.image_folders import RoiImage
from histoscout.evaluation.bootstrap import DRAWS, ConfidenceInterval, Statistic, Weights, bootstrap
from histoscout.evaluation.lesions.summary import RankedScores
from histoscout.evaluation.pixels.counts import ratio
from histoscout.evaluation.protocol import SCORES_FILE
from histoscout.io.files import write_text
from histoscout.io.tables import write_csv

OVERALL_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "kappa")
"""Metrics of all classes together."""

CLASS_METRICS = ("precision", "recall", "f1", "auroc")
"""Metrics of one class."""

BRACS_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("N", "PB", "UDH"), "benign"),
        **dict.fromkeys(("FEA", "ADH"), "atypical"),
        **dict.fromkeys(("DCIS", "IC"), "malignant"),
    }
)
"""The seven classes of BRACS grouped into three (Brancati 2022, Database, baac093)."""

Matrix = NDArray[np.float64]


# ---------------------------------------------------------------- metrics


@dataclass(frozen=True, kw_only=True)
class Classifications:
    """Predicted and true classes of N images, as numbers.

    Attributes:
        classes: Names of the C classes.
        truth: The true class of each image, by its number in `classes`, int64 (N,).
        predicted: The predicted class of each image, int64 (N,).
        probabilities: Probability of each class, float64 (N, C).
        patient: The number of each image's patient, int64 (N,).
    """

    classes: tuple[str, ...]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: Matrix
    patient: NDArray[np.int64]

    def confusion(self) -> NDArray[np.int64]:
        """Count the images by true class (row) and predicted class (column): int64 (C, C)."""
        table = np.zeros((len(self.classes), len(self.classes)), np.int64)
        np.add.at(table, (self.truth, self.predicted), 1)
        return table


def class_metric(metric: str, label: str) -> str:
    """Name a metric of one class, such as "f1 of UDH".

    Args:
        metric: Name of the metric.
        label: The class.

    Returns:
        The name.
    """
    return f"{metric} of {label}"


def classification_statistic(classifications: Classifications, patients: int) -> Statistic:
    """Make all classification metrics a function of the patients' weights.

    Args:
        classifications: Predicted and true classes.
        patients: How many patients there are.

    Returns:
        The statistic, with metrics as scikit-learn defines them. Macro averages are over the classes that
        have images, weighted ones by their number. AUROC is of the class against all others. Kappa is
        Cohen's, without weights. Undefined metrics are None.
    """
    # confusion matrices of each patient, and scores of each class, sorted once
    count = len(classifications.classes)
    by_patient = np.zeros((patients, count * count))
    cells = classifications.truth * count + classifications.predicted
    np.add.at(by_patient, (classifications.patient, cells), 1)
    ranked = [
        RankedScores.from_scores(
            classifications.probabilities[:, number],
            classifications.truth == number,
            classifications.patient,
        )
        for number in range(count)
    ]

    def statistic(weights: Weights) -> dict[str, float | None]:
        confusion = (weights @ by_patient).reshape(count, count)
        metrics = _overall_metrics(confusion)
        for number, label in enumerate(classifications.classes):
            # one class against all others
            correct = confusion[number, number]
            total = confusion[number].sum()
            predicted = confusion[:, number].sum()
            values = {
                "precision": ratio(correct, predicted),
                "recall": ratio(correct, total),
                "f1": ratio(2 * correct, total + predicted),
                "auroc": ranked[number].auroc(weights),
            }
            metrics |= {class_metric(metric, label): values[metric] for metric in CLASS_METRICS}
        return metrics

    return statistic


def _overall_metrics(confusion: Matrix) -> dict[str, float | None]:
    # rows are true classes, columns predicted ones
    rows = confusion.sum(1)
    columns = confusion.sum(0)
    total = confusion.sum()
    if not total:
        return dict.fromkeys(OVERALL_METRICS)
    correct = np.diag(confusion)
    has_images = rows > 0

    # averages over the classes that have images
    f1 = 2 * correct[has_images] / (rows + columns)[has_images]
    by_chance = float(rows @ columns) / float(total) ** 2
    accuracy = float(correct.sum() / total)
    return {
        "accuracy": accuracy,
        "balanced_accuracy": float((correct[has_images] / rows[has_images]).mean()),
        "macro_f1": float(f1.mean()),
        "weighted_f1": float(f1 @ rows[has_images] / total),
        "kappa": ratio(accuracy - by_chance, 1 - by_chance),
    }


def number_names(names: Sequence[str]) -> NDArray[np.int64]:
    """Number names in alphabetical order from 0, int64 (N,).

    Args:
        names: Names, with repetitions.

    Returns:
        The number of each name, int64 (N,).
    """
    number: Mapping[str, int] = {name: position for position, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names], np.int64)


# ---------------------------------------------------------------- images


@dataclass(frozen=True, kw_only=True)
class ClassifiedImage:
    """An image with its true and predicted class.

    Attributes:
        image: The image, with the class name of its folder or table.
        truth: Its class, as the model calls it.
        predicted: The predicted class.
        probabilities: Probability of each class, in the order of `ImageScores.all_classes`.
    """

    image: RoiImage
    truth: str
    predicted: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ImageScores:
    """The scores of an evaluation on image classification data, with confidence intervals.

    Attributes:
        all_classes: All classes to choose from.
        classes: Those of them that an image has or that were predicted.
        images: The classified images.
        overall: Metrics of all classes together, by name.
        by_class: Metrics of each class, by class and name.
        notes: What the user should know.
    """

    all_classes: tuple[str, ...]
    classes: tuple[str, ...]
    images: tuple[ClassifiedImage, ...]
    overall: Mapping[str, ConfidenceInterval]
    by_class: Mapping[str, Mapping[str, ConfidenceInterval]]
    notes: tuple[str, ...]

    def confusion(self) -> NDArray[np.int64]:
        """Count the images by true class (row) and predicted class (column): int64 (C, C)."""
        return _to_numbers(self.all_classes, self.classes, self.images).confusion()

    def confusion_shares(self) -> NDArray[np.float64]:
        """The confusion matrix as shares of each row, float64 (C, C); rows without images are 0."""
        counts = self.confusion().astype(np.float64)
        return np.asarray(counts / np.maximum(counts.sum(1, keepdims=True), 1))

    @property
    def patients(self) -> tuple[str, ...]:
        """The patients that are named, sorted."""
        return tuple(sorted({image.image.patient for image in self.images if image.image.patient}))

    def predicted_by_label(self) -> dict[str, dict[str, int]]:
        """Count predicted classes, by the class name of the folder or table."""
        labels = sorted({image.image.label for image in self.images})
        counts = {label: dict.fromkeys(self.classes, 0) for label in labels}
        for image in self.images:
            counts[image.image.label][image.predicted] += 1
        return counts

    def to_dict(self) -> dict[str, Any]:
        """Convert to the content of scores.json."""
        return {
            "images": {
                "count": len(self.images),
                "overall": {name: interval.to_dict() for name, interval in self.overall.items()},
                "classes": {
                    label: {name: interval.to_dict() for name, interval in metrics.items()}
                    for label, metrics in self.by_class.items()
                },
                "confusion": {
                    "classes": list(self.classes),
                    "counts": self.confusion().tolist(),
                    "shares": self.confusion_shares().round(6).tolist(),
                },
                "predicted": self.predicted_by_label(),
            },
            "patients": list(self.patients),
            "notes": list(self.notes),
        }


def score_images(
    images: Sequence[ClassifiedImage],
    all_classes: Sequence[str],
    notes: Sequence[str] = (),
    draws: int = DRAWS,
) -> ImageScores:
    """Compute all metrics of classified images.

    Args:
        images: The images.
        all_classes: The classes to choose from. Those that no image has and that were never predicted have no
            metrics.
        notes: What the user should know.
        draws: Bootstrap resamples.

    Returns:
        The scores, with confidence intervals if every image names its patient.
    """
    # classes that occur, in the order of the model
    used = {image.truth for image in images} | {image.predicted for image in images}
    classes = tuple(label for label in all_classes if label in used)
    classifications = _to_numbers(all_classes, classes, images)
    patients = int(classifications.patient.max()) + 1
    statistic = classification_statistic(classifications, patients)

    # intervals are over patients, so every image must name its own
    if all(image.image.patient for image in images):
        metrics = bootstrap(statistic, patients, draws)
    else:
        values = statistic(np.ones(patients))
        metrics = {name: ConfidenceInterval(value=value) for name, value in values.items()}
    return ImageScores(
        all_classes=tuple(all_classes),
        classes=classes,
        images=tuple(images),
        overall={name: metrics[name] for name in OVERALL_METRICS},
        by_class={
            label: {name: metrics[class_metric(name, label)] for name in CLASS_METRICS} for label in classes
        },
        notes=tuple(notes),
    )


def group_classes(scores: ImageScores, groups: Mapping[str, str], draws: int = DRAWS) -> ImageScores | None:
    """Score the same images with classes grouped, such as by `BRACS_GROUPS`.

    Args:
        scores: The scores by class.
        groups: The group of each class.
        draws: Bootstrap resamples.

    Returns:
        The scores by group: an image is predicted as the group of its predicted class, and probabilities of
        all classes of a group are added up. None if some class is in no group.
    """
    if not all(label in groups for label in scores.classes):
        return None
    names = tuple(dict.fromkeys(groups.values()))
    # probabilities are added up within each group
    is_in_group = np.array(
        [[groups.get(label) == name for name in names] for label in scores.all_classes], np.float64
    )
    images = [
        ClassifiedImage(
            image=image.image,
            truth=groups[image.truth],
            predicted=groups[image.predicted],
            probabilities=tuple((np.array(image.probabilities) @ is_in_group).tolist()),
        )
        for image in scores.images
    ]
    return score_images(images, names, scores.notes, draws=draws)


def _to_numbers(
    all_classes: Sequence[str], classes: tuple[str, ...], images: Sequence[ClassifiedImage]
) -> Classifications:
    probabilities = np.array([image.probabilities for image in images], np.float64)
    return Classifications(
        classes=classes,
        truth=np.array([classes.index(image.truth) for image in images], np.int64),
        predicted=np.array([classes.index(image.predicted) for image in images], np.int64),
        probabilities=probabilities[:, [all_classes.index(label) for label in classes]],
        patient=number_names([image.image.patient for image in images]),
    )


# ---------------------------------------------------------------- files


def write_image_scores(scores: ImageScores, out: Path) -> None:
    """Write scores.json, images.csv (a row for each image) and confusion.csv (counts and shares).

    Args:
        scores: The scores; scores.json has those of the three groups of BRACS, too, if all classes are in
            one.
        out: The folder to write to.

    Raises:
        OutputError: A file cannot be written.
    """
    groups = group_classes(scores, BRACS_GROUPS)
    values = {**scores.to_dict(), "in_groups": None if groups is None else groups.to_dict()["images"]}
    write_text(out / SCORES_FILE, json.dumps(values, indent=1, allow_nan=False) + "\n")

    # one row for each image
    columns = [scores.all_classes.index(label) for label in scores.classes]
    head = (
        "image",
        "patient",
        "class",
        "model class",
        "predicted class",
        *(f"p {label}" for label in scores.classes),
    )
    rows = [
        (
            image.image.path.name,
            image.image.patient,
            image.image.label,
            image.truth,
            image.predicted,
            *(f"{image.probabilities[column]:.4f}" for column in columns),
        )
        for image in scores.images
    ]
    write_csv(out / "images.csv", head, rows)

    # one row for each true class
    heading = ("class", *scores.classes, *(f"share {label}" for label in scores.classes))
    counts = scores.confusion().tolist()
    shares = scores.confusion_shares()
    confusion = [
        (label, *row, *(f"{share:.4f}" for share in row_shares))
        for label, row, row_shares in zip(scores.classes, counts, shares, strict=True)
    ]
    write_csv(out / "confusion.csv", heading, confusion)
