"""The names of all figures over pixels and tiles, and what computes each: one line a figure."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from histoscout.evaluation.calibration import brier, brier_skill, ece
from histoscout.evaluation.intervals import Statistic, Weights
from histoscout.evaluation.pixels import PixelCounts

Figure = Callable[[PixelCounts, float], float | None]

PIXEL_FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "ap": lambda counts, threshold: counts.ap,
        "dice": lambda counts, threshold: counts.at(threshold).dice,
        "precision": lambda counts, threshold: counts.at(threshold).precision,
        "recall": lambda counts, threshold: counts.at(threshold).recall,
        "prevalence": lambda counts, threshold: counts.prevalence,
        "auroc": lambda counts, threshold: counts.auroc,
        "ece": lambda counts, threshold: ece(counts),
        "brier": lambda counts, threshold: brier(counts),
        "brier_skill": lambda counts, threshold: brier_skill(counts),
    }
)
"""Of the pixels of all patients together, at the model's threshold where one is needed."""

TILE_FIGURES: Mapping[str, Figure] = MappingProxyType(
    {name: PIXEL_FIGURES[name] for name in ("auroc", "ap", "prevalence")}
)

OF_PROBABILITIES = frozenset({"ap", "auroc", "ece", "brier", "brier_skill"})
"""Figures that need more than a yes or no for each pixel."""

MEAN_DICE = "dice_per_patient"
"""The Dice of each patient with lesions at the threshold, averaged: a large lesion does not hide many small ones."""


def statistic_of(counts: Sequence[PixelCounts], threshold: float, figures: Mapping[str, Figure]) -> Statistic:
    """The figures of some patients, given the counts of each, as a function of the patients' weights."""
    positive = np.array([each.positive for each in counts], np.float64)
    negative = np.array([each.negative for each in counts], np.float64)

    def statistic(weights: Weights) -> dict[str, float | None]:
        together = PixelCounts(weights @ positive, weights @ negative)
        return {name: figure(together, threshold) for name, figure in figures.items()}

    return statistic


def mean_dice_of(counts: Sequence[PixelCounts], threshold: float) -> Statistic:
    """Dice averaged over the patients that have lesions, as a function of the patients' weights."""
    with_lesions = np.array([bool(each.positive.any()) for each in counts], np.float64)
    dice = np.array([each.at(threshold).dice or 0.0 for each in counts]) * with_lesions

    def statistic(weights: Weights) -> dict[str, float | None]:
        patients = float(weights @ with_lesions)
        return {MEAN_DICE: float(weights @ dice) / patients if patients else None}

    return statistic


def prevalence_of(counts: Sequence[PixelCounts], figures: Mapping[str, Figure]) -> Statistic:
    """What saying the prevalence of every place, always, would get: no skill, and no place is ever found."""
    flat = statistic_of([each.moved_to(0) for each in counts], 1.0, figures)

    def statistic(weights: Weights) -> dict[str, float | None]:
        said = flat(weights)
        share = said["prevalence"]
        both = share is not None and 0 < share < 1
        known: dict[str, float | None] = {
            **dict.fromkeys(("dice", "precision", "recall")),
            "ece": None if share is None else 0.0,
            "brier": None if share is None else share * (1 - share),
            "brier_skill": 0.0 if both else None,
        }
        return {**{name: known.get(name, value) for name, value in said.items()}, MEAN_DICE: None}

    return statistic


def joined(*statistics: Statistic) -> Statistic:
    """The figures of several statistics in one, so that all are drawn together."""

    def statistic(weights: Weights) -> dict[str, float | None]:
        return {name: value for each in statistics for name, value in each(weights).items()}

    return statistic


def only(statistic: Statistic, names: Sequence[str]) -> Statistic:
    """Some of a statistic's figures."""

    def some(weights: Weights) -> dict[str, float | None]:
        figures = statistic(weights)
        return {name: figures[name] for name in names}

    return some
