"""Out-of-fold metrics of a cross-validation, and its file crossval.json.

Each patient is evaluated once, by a model that was not trained on them, and all are pooled. Detections of a
fold are taken at the threshold that was chosen on its own tuning set. Metrics that need no threshold (AP,
FROC) compare probabilities across folds, as if the probabilities of their models were calibrated alike: where
they are not, pooled AP is lower than the AP of each fold.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from histoscout.cohort.folds import Folds
from histoscout.evaluation.bootstrap import (
    CONFIDENCE_LEVEL,
    DRAWS,
    ConfidenceInterval,
    Statistic,
    Weights,
    bootstrap,
    bootstrap_difference,
)
from histoscout.evaluation.lesions.froc import lesion_statistic, sensitivity_metric
from histoscout.evaluation.pixels.counts import PixelCounts, ratio
from histoscout.evaluation.pixels.metrics import (
    MEAN_DICE,
    PIXEL_METRICS,
    join_statistics,
    pixel_statistic,
    select_metrics,
)
from histoscout.evaluation.scores import Scores
from histoscout.evaluation.slide_metrics import SlideScores
from histoscout.io.files import write_text
from histoscout.io.notes import pluralize

CROSSVAL_FORMAT = 2
"""Version of crossval.json.

Version 1 (histoscout 0.1.0) has "figures" for "metrics" and "false_per_cm2" for "fp_per_cm2".
"""

THRESHOLD_FREE_METRICS = ("ap", "auroc", "ece", "brier_skill", "prevalence")
"""Pixel metrics that need no threshold."""

LESION_METRICS = (
    "sensitivity",
    "precision",
    "fp_per_cm2",
    "froc_per_cm2",
    sensitivity_metric(5.0, "cm2"),
    sensitivity_metric(10.0, "cm2"),
)
"""Lesion metrics of a cross-validation."""

EQUAL_STEPS = 0.02
"""Numbers of training steps that differ by a smaller share are equal."""


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """The result of one fold.

    Attributes:
        number: The fold.
        scores: The scores of its patients.
        mpp: The resolution of its pixels, um/px.
        steps: Training steps of its model.
        train_patients: The patients that its model was trained on.
        tune_patients: Its tuning set.
    """

    number: int
    scores: Scores
    mpp: float
    steps: int
    train_patients: tuple[str, ...]
    tune_patients: tuple[str, ...]


@dataclass(frozen=True)
class RecipeResult:
    """One recipe in every fold.

    Attributes:
        name: Name of the recipe.
        folds: The result of each fold.
    """

    name: str
    folds: tuple[FoldResult, ...]

    @property
    def steps(self) -> tuple[int, ...]:
        """Training steps of each fold."""
        return tuple(fold.steps for fold in self.folds)

    @property
    def slides(self) -> list[tuple[FoldResult, SlideScores]]:
        """Every slide with the fold it was evaluated in."""
        return [(fold, slide) for fold in self.folds for slide in fold.scores.slides]


@dataclass(frozen=True, kw_only=True)
class Crossval:
    """The result of a cross-validation: out-of-fold metrics of recipes on the same folds.

    Metrics are of the slides on which all recipes were evaluated.

    Attributes:
        positive: The positive class.
        folds: The folds.
        recipes: The results of each recipe.
        fold_notes: What was noted in the folds.
        draws: Bootstrap resamples.
        seed: Seed of the resamples.

    Example:
        >>> from histoscout import Crossval
        >>> from histoscout.cohort.folds import Folds
        >>> Crossval(positive="UDH", folds=Folds(patients=()), recipes=()).patients
        ()
    """

    positive: str
    folds: Folds
    recipes: tuple[RecipeResult, ...]
    fold_notes: tuple[str, ...] = ()
    draws: int = DRAWS
    seed: int = 0

    @cached_property
    def slides(self) -> tuple[str, ...]:
        """The slides on which every recipe was evaluated, by name, sorted."""
        names = [{slide.name for _, slide in recipe.slides} for recipe in self.recipes]
        return tuple(sorted(set.intersection(*names))) if names else ()

    @cached_property
    def patients(self) -> tuple[str, ...]:
        """The patients of these slides, sorted."""
        common = set(self.slides)
        return tuple(
            sorted(
                {
                    slide.patient
                    for recipe in self.recipes
                    for _, slide in recipe.slides
                    if slide.name in common
                }
            )
        )

    @cached_property
    def metrics(self) -> Mapping[str, Mapping[str, ConfidenceInterval]]:
        """Every metric of every recipe, with its confidence interval over patients."""
        return {
            recipe.name: bootstrap(
                self._statistics[recipe.name], len(self.patients), draws=self.draws, seed=self.seed
            )
            for recipe in self.recipes
        }

    @cached_property
    def differences(self) -> Mapping[tuple[str, str], Mapping[str, ConfidenceInterval]]:
        """The difference of the second of two recipes to the first, paired over the same patients."""
        return {
            (first.name, second.name): bootstrap_difference(
                self._statistics[second.name],
                self._statistics[first.name],
                len(self.patients),
                draws=self.draws,
                seed=self.seed,
            )
            for first, second in combinations(self.recipes, 2)
        }

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What must be known to read the metrics, then what was noted in the folds."""
        # how patients were evaluated, and what may make recipes differ or thresholds worse
        notes = [
            f"{pluralize(len(self.patients), 'patient')}, each evaluated once by a model that was not trained on them, "
            "with the threshold that was chosen on the fold's own tuning set"
        ]
        if unequal := unequal_steps_note(self.recipes):
            notes.append(unequal)
        on_blocks = sum(
            fold.scores.protocol.tuned_on_blocks for recipe in self.recipes for fold in recipe.folds
        )
        if on_blocks:
            notes.append(
                f"in {on_blocks} trainings too few patients had lesions for a tuning set of its own: the "
                "threshold was chosen on blocks of the training slides"
            )
        return (*notes, *self.fold_notes)

    @cached_property
    def _statistics(self) -> dict[str, Statistic]:
        return {recipe.name: pooled_statistic(recipe, self.slides, self.patients) for recipe in self.recipes}


def unequal_steps_note(recipes: Sequence[RecipeResult]) -> str | None:
    """Note if recipes were trained for different numbers of steps; else None.

    Args:
        recipes: The results of the recipes.

    Returns:
        The note, or None.
    """
    totals = {recipe.name: sum(recipe.steps) for recipe in recipes}
    if not totals or max(totals.values()) - min(totals.values()) <= EQUAL_STEPS * max(totals.values()):
        return None
    listed = ", ".join(f"{name} {steps:,}" for name, steps in totals.items())
    return f"recipes were trained for different numbers of steps ({listed}): this may explain a difference"


# ---------------------------------------------------------------- pooled metrics


def pooled_statistic(recipe: RecipeResult, slides: Sequence[str], patients: Sequence[str]) -> Statistic:
    """Make all out-of-fold metrics of a recipe a function of the patients' weights.

    Args:
        recipe: The results of the recipe.
        slides: Names of the slides to count.
        patients: Their patients.

    Returns:
        The statistic. Pixels are counted by area (um2), since folds may have different um/px.
    """
    # the slides to count, with the number of each one's patient
    names = set(slides)
    rows = [(fold, slide) for fold, slide in recipe.slides if slide.name in names]
    number = {patient: position for position, patient in enumerate(patients)}
    slide_patients = [number[slide.patient] for _, slide in rows]

    # area of each patient at each heatmap level
    counts = [PixelCounts.empty() for _ in patients]
    for (fold, slide), patient in zip(rows, slide_patients, strict=True):
        counts[patient] += pixels_to_area(slide.pixels, fold.mpp)

    # metrics without a threshold are pooled; those with one use the threshold of each fold
    pixel_metrics = {name: PIXEL_METRICS[name] for name in THRESHOLD_FREE_METRICS}
    lesions = lesion_statistic([slide.lesions for _, slide in rows], slide_patients)
    return join_statistics(
        pixel_statistic(counts, 0.5, pixel_metrics),
        _statistic_at_own_thresholds(rows, slide_patients),
        select_metrics(lesions, LESION_METRICS),
    )


def pixels_to_area(counts: PixelCounts, mpp: float) -> PixelCounts:
    """Convert pixels of `mpp` um/px to um2.

    Args:
        counts: Counts of pixels.
        mpp: um/px of a pixel.

    Returns:
        The same counts in um2.
    """
    return PixelCounts(
        np.asarray(counts.positive, np.float64) * mpp**2, np.asarray(counts.negative, np.float64) * mpp**2
    )


def _statistic_at_own_thresholds(
    rows: Sequence[tuple[FoldResult, SlideScores]], slide_patients: Sequence[int]
) -> Statistic:
    """Dice, precision and recall, each slide at the threshold of its fold."""
    # true positives, false positives and false negatives of each patient, um2
    confusion = np.zeros((max(slide_patients, default=-1) + 1, 3))
    for (fold, slide), patient in zip(rows, slide_patients, strict=True):
        at = slide.pixels.confusion(fold.scores.threshold)
        confusion[patient] += np.array([at.tp, at.fp, at.fn]) * fold.mpp**2
    with_lesions = (confusion[:, 0] + confusion[:, 2] > 0).astype(np.float64)
    patient_dice = np.array([ratio(2 * tp, 2 * tp + fp + fn) or 0.0 for tp, fp, fn in confusion])

    def statistic(weights: Weights) -> dict[str, float | None]:
        tp, fp, fn = (float(total) for total in weights @ confusion)
        return {
            "dice": ratio(2 * tp, 2 * tp + fp + fn),
            "precision_px": ratio(tp, tp + fp),
            "recall_px": ratio(tp, tp + fn),
            MEAN_DICE: ratio(float(weights @ (patient_dice * with_lesions)), float(weights @ with_lesions)),
        }

    return statistic


# ---------------------------------------------------------------- file


def write_crossval(result: Crossval, out: Path) -> Path:
    """Write crossval.json.

    Args:
        result: The result of the cross-validation.
        out: The folder to write to.

    Returns:
        The path of the file.

    Raises:
        OutputError: The file cannot be written.
    """
    path = out / "crossval.json"
    write_text(path, json.dumps(crossval_to_dict(result), indent=1, allow_nan=False) + "\n")
    return path


def crossval_to_dict(result: Crossval) -> dict[str, Any]:
    """Convert a cross-validation to the content of crossval.json.

    Args:
        result: The result of the cross-validation.

    Returns:
        Plain values; a metric is {"value", "low", "high"}, null where it is undefined.
    """
    return {
        "format": CROSSVAL_FORMAT,
        "positive": result.positive,
        "folds": [list(patients) for patients in result.folds.patients],
        "patients": list(result.patients),
        "slides": list(result.slides),
        "recipes": {
            recipe.name: {
                "out_of_fold": _metrics_to_dict(result.metrics[recipe.name]),
                "folds": [_fold_to_dict(fold) for fold in recipe.folds],
            }
            for recipe in result.recipes
        },
        "differences": [
            {"from": first, "to": second, "metrics": _metrics_to_dict(metrics)}
            for (first, second), metrics in result.differences.items()
        ],
        "intervals": {
            "level": CONFIDENCE_LEVEL,
            "over": "patients",
            "draws": result.draws,
            "seed": result.seed,
        },
        "notes": list(result.notes),
    }


def _fold_to_dict(fold: FoldResult) -> dict[str, Any]:
    scores = fold.scores
    return {
        "fold": fold.number,
        "test_patients": list(scores.patients),
        "train_patients": list(fold.train_patients),
        "tune_patients": list(fold.tune_patients),
        "threshold": scores.threshold,
        "steps": fold.steps,
        "mpp": fold.mpp,
        "pixel": scores.pixels.to_row(scores.threshold),
    }


def _metrics_to_dict(metrics: Mapping[str, ConfidenceInterval]) -> dict[str, Any]:
    return {name: interval.to_dict() for name, interval in metrics.items()}
