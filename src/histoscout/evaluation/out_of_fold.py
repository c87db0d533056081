"""Figures of a cross-validation: each patient is judged once, by a model that has not seen him, and all are pooled.

A fold's findings are taken at the threshold that its own tuning patients chose. What needs no threshold (AP, FROC)
compares probabilities across folds, as if their models meant the same by them: where they do not, pooled AP is lower
than the AP of each fold.

The file of a cross-validation: crossval.json with every figure, fold and difference.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from histoscout.cohort.splits import Folds
from histoscout.evaluation.bootstrap import (
    DRAWS,
    LEVEL,
    Interval,
    Statistic,
    Weights,
    bootstrap,
    bootstrap_difference,
)
from histoscout.evaluation.lesions.froc import lesion_statistic, sensitivity_at
from histoscout.evaluation.pixels.counts import PixelCounts, ratio
from histoscout.evaluation.pixels.metrics import MEAN_DICE, PIXEL_FIGURES, joined, only, statistic_of
from histoscout.evaluation.scores import Scores
from histoscout.evaluation.slide_metrics import SlideScores
from histoscout.io.files import write_text

AT_NO_THRESHOLD = ("ap", "auroc", "ece", "brier_skill", "prevalence")
LESION = (
    "sensitivity",
    "precision",
    "false_per_cm2",
    "froc_per_cm2",
    sensitivity_at(5.0, "cm2"),
    sensitivity_at(10.0, "cm2"),
)
SAME_STEPS = 0.02  # steps that differ by less are as good as the same


@dataclass(frozen=True)
class FoldResult:
    """What came of one fold: the scores of its patients, at `mpp` um/px, and from whom its model learnt, how long."""

    number: int
    scores: Scores
    mpp: float
    steps: int
    train_patients: tuple[str, ...]
    tune_patients: tuple[str, ...]


@dataclass(frozen=True)
class Arm:
    """One recipe, by its name, in every fold."""

    name: str
    folds: tuple[FoldResult, ...]

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(fold.steps for fold in self.folds)


@dataclass(frozen=True)
class Crossval:
    """Several recipes on the same folds. Figures are of the slides that all of them have been judged on."""

    positive: str
    folds: Folds
    arms: tuple[Arm, ...]
    notes: tuple[str, ...] = ()
    draws: int = DRAWS
    seed: int = 0

    @cached_property
    def slides(self) -> tuple[str, ...]:
        """The slides that every arm was judged on, by name, sorted."""
        of_arms = [{slide.name for fold in arm.folds for slide in fold.scores.slides} for arm in self.arms]
        return tuple(sorted(set.intersection(*of_arms))) if of_arms else ()

    @cached_property
    def patients(self) -> tuple[str, ...]:
        """Whose these slides are, sorted."""
        wanted, every = set(self.slides), (slide for arm in self.arms for _, slide in judged(arm))
        return tuple(sorted({slide.patient for slide in every if slide.name in wanted}))

    @cached_property
    def figures(self) -> Mapping[str, Mapping[str, Interval]]:
        """Every figure of every arm, with its interval over patients."""
        return {
            arm.name: bootstrap(self._statistics[arm.name], len(self.patients), self.draws, self.seed)
            for arm in self.arms
        }

    @cached_property
    def differences(self) -> Mapping[tuple[str, str], Mapping[str, Interval]]:
        """How much better the second of two arms is than the first, paired over the same patients."""
        return {
            (one.name, other.name): bootstrap_difference(
                self._statistics[other.name],
                self._statistics[one.name],
                len(self.patients),
                self.draws,
                self.seed,
            )
            for one, other in combinations(self.arms, 2)
        }

    @cached_property
    def told(self) -> tuple[str, ...]:
        """What must be known to read the figures, then what was noted on the way."""
        said = [
            f"{len(self.patients)} patients, each judged once by a model that has not seen them, with the threshold "
            "that the fold's own tuning patients chose"
        ]
        if uneven := uneven_steps(self.arms):
            said.append(uneven)
        if blocks := sum(fold.scores.exam.tuned_on_blocks for arm in self.arms for fold in arm.folds):
            said.append(
                f"in {blocks} trainings too few patients had lesions to choose a threshold by patients of their own: it was "
                "chosen on blocks of the slides learnt from"
            )
        return (*said, *self.notes)

    @cached_property
    def _statistics(self) -> dict[str, Statistic]:
        return {arm.name: pooled_statistic(arm, self.slides, self.patients) for arm in self.arms}


def judged(arm: Arm) -> list[tuple[FoldResult, SlideScores]]:
    """Every slide of an arm with the fold it was judged in."""
    return [(fold, slide) for fold in arm.folds for slide in fold.scores.slides]


def uneven_steps(arms: Sequence[Arm]) -> str | None:
    """A sentence if arms learnt for different numbers of steps: a difference may then be one of time."""
    totals = {arm.name: sum(arm.steps) for arm in arms}
    if not totals or max(totals.values()) - min(totals.values()) <= SAME_STEPS * max(totals.values()):
        return None
    listed = ", ".join(f"{name} {steps:,}" for name, steps in totals.items())
    return f"recipes were given different numbers of steps in all ({listed}): a difference may be one of time"


def pooled_statistic(arm: Arm, slides: Sequence[str], patients: Sequence[str]) -> Statistic:
    """All figures of an arm over these slides as a function of the patients' weights.

    Pixels are counted by area (um2), since folds may look at different um/px.
    """
    wanted = set(slides)
    rows = [(fold, slide) for fold, slide in judged(arm) if slide.name in wanted]
    number = {patient: place for place, patient in enumerate(patients)}
    of = [number[slide.patient] for _, slide in rows]
    counts = [PixelCounts.none() for _ in patients]
    for (fold, slide), place in zip(rows, of, strict=True):
        counts[place] += by_area(slide.pixels, fold.mpp)
    figures = {name: PIXEL_FIGURES[name] for name in AT_NO_THRESHOLD}
    lesions = lesion_statistic([slide.lesions for _, slide in rows], of)
    return joined(statistic_of(counts, 0.5, figures), _at_own_thresholds(rows, of), only(lesions, LESION))


def by_area(counts: PixelCounts, mpp: float) -> PixelCounts:
    """Pixels of `mpp` um/px as um2."""
    positive, negative = (
        np.asarray(part, np.float64) * mpp**2 for part in (counts.positive, counts.negative)
    )
    return PixelCounts(positive, negative)


def _at_own_thresholds(rows: Sequence[tuple[FoldResult, SlideScores]], of: Sequence[int]) -> Statistic:
    """Dice, precision and recall, each slide at the threshold of its fold."""
    found = np.zeros((max(of, default=-1) + 1, 3))
    for (fold, slide), place in zip(rows, of, strict=True):
        seen = slide.pixels.confusion(fold.scores.threshold)
        found[place] += np.array([seen.hits, seen.alarms, seen.misses]) * fold.mpp**2
    with_lesions = (found[:, 0] + found[:, 2] > 0).astype(np.float64)
    each = np.array([ratio(2 * hits, 2 * hits + wrong + missed) or 0.0 for hits, wrong, missed in found])

    def statistic(weights: Weights) -> dict[str, float | None]:
        hits, alarms, misses = (float(total) for total in weights @ found)
        return {
            "dice": ratio(2 * hits, 2 * hits + alarms + misses),
            "precision_px": ratio(hits, hits + alarms),
            "recall_px": ratio(hits, hits + misses),
            MEAN_DICE: ratio(float(weights @ (each * with_lesions)), float(weights @ with_lesions)),
        }

    return statistic


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
