"""AUROC of the positive class against other annotated classes, such as look-alikes.

Every annotation of any class is scored by the heatmap inside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.heatmap import LEVELS, Heatmap
from histoscout.evaluation.bootstrap import Statistic, Weights
from histoscout.evaluation.reference import Reference
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import pixel_runs
from histoscout.geometry.regions import Region

SCORE_DESCRIPTION = "the mean probability of the positive class inside the annotation"
"""How annotations are scored, for reports."""

ALL_OTHERS = "all other classes"
"""Name of the comparison with all other classes together."""


@dataclass(frozen=True)
class ScoredAnnotation:
    """An annotation with its score.

    Attributes:
        id: The id of its region.
        label: Its class.
        score: Mean probability of the positive class inside it.
    """

    id: str
    label: str
    score: float


def score_annotations(reference: Reference, heatmap: Heatmap) -> tuple[ScoredAnnotation, ...]:
    """Score every annotation, whatever its class; ignored areas are left out.

    Places that were not analyzed have a probability of 0. An annotation that contains no cell center is
    scored by the cell below a point inside it.

    Args:
        reference: The annotations of the slide.
        heatmap: The heatmap of the slide.

    Returns:
        The scored annotations in their order.
    """
    # the box of the heatmap's whole cells, which may reach beyond the slide
    levels = heatmap.levels(reference.recipe.classes.positive)
    rows, columns = levels.shape
    box = Box(heatmap.box.x, heatmap.box.y, columns * heatmap.scale, rows * heatmap.scale)

    # mean level of the cells inside each annotation, or of the cell below it
    runs = pixel_runs([region.outline for region in reference.annotated], box, heatmap.scale)
    means = [
        total / count if count else _level_below(region, levels, heatmap)
        for region, total, count in zip(
            reference.annotated, runs.sums(levels).tolist(), runs.pixel_counts().tolist(), strict=True
        )
    ]
    return tuple(
        ScoredAnnotation(region.id, region.label, mean / (LEVELS - 1))
        for region, mean in zip(reference.annotated, means, strict=True)
    )


def _level_below(region: Region, levels: NDArray[np.uint8], heatmap: Heatmap) -> float:
    """The level of the cell below a point inside a region, or of the nearest cell to it."""
    point = region.outline.representative_point()
    offsets = ((point.y - heatmap.box.y, levels.shape[0]), (point.x - heatmap.box.x, levels.shape[1]))
    row, column = (min(count - 1, max(0, int(offset // heatmap.scale))) for offset, count in offsets)
    return float(levels[row, column])


def class_auroc_statistic(
    slides: Sequence[Sequence[ScoredAnnotation]], patients: Sequence[int], positive: str
) -> Statistic:
    """Make the class AUROCs a function of the patients' weights.

    The AUROC is the chance that a random annotation of the positive class has a higher score than a random
    one of the other class (half where they are equal).

    Args:
        slides: The scored annotations of each slide.
        patients: The number of each slide's patient, from 0.
        positive: The positive class.

    Returns:
        The statistic: a metric for each other class, and `ALL_OTHERS` if there are several.
    """
    scores = np.array([annotation.score for slide in slides for annotation in slide], np.float64)
    labels = np.array([annotation.label for slide in slides for annotation in slide], dtype=object)
    patient = np.repeat(np.asarray(patients, np.int64), [len(slide) for slide in slides])
    is_positive = np.array([label == positive for label in labels], bool)

    # one comparison a class: its annotations and the positive ones
    others = sorted({label for label in labels if label != positive})
    masks = {other: is_positive | np.array([label == other for label in labels], bool) for other in others}
    if len(others) > 1:
        masks[ALL_OTHERS] = np.ones(len(labels), bool)
    ranked = {
        name or "unclassified": RankedScores.from_scores(scores[mask], is_positive[mask], patient[mask])
        for name, mask in masks.items()
    }

    def statistic(weights: Weights) -> dict[str, float | None]:
        return {name: ranking.auroc(weights) for name, ranking in ranked.items()}

    return statistic


@dataclass(frozen=True)
class RankedScores:
    """Scores sorted once from the lowest up, for an AUROC with any weights of the patients.

    Attributes:
        patient: The patient of each score, int64 (N,).
        positive: Whether each score is of the positive class, bool (N,).
        starts: Where each different score starts, int64.
    """

    patient: NDArray[np.int64]
    positive: NDArray[np.bool_]
    starts: NDArray[np.int64]

    @classmethod
    def from_scores(
        cls, scores: NDArray[np.float64], positive: NDArray[np.bool_], patient: NDArray[np.int64]
    ) -> "RankedScores":
        """Sort scores.

        Args:
            scores: The scores, float64 (N,).
            positive: Whether each is of the positive class, bool (N,).
            patient: The number of each one's patient, int64 (N,).

        Returns:
            The sorted scores.
        """
        order = np.argsort(scores, kind="stable")
        starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
        return cls(patient[order], positive[order], starts.astype(np.int64))

    def auroc(self, weights: Weights) -> float | None:
        """Compute the AUROC (Mann-Whitney), ties counted half; None without one of the kinds."""
        # each score counts as often as its patient
        all_weights = weights[self.patient]
        positive = np.where(self.positive, all_weights, 0.0)
        negative = all_weights - positive
        total = float(positive.sum()) * float(negative.sum())
        if not total:
            return None
        # equal scores are added up, so that ties count half
        if len(self.starts) < len(all_weights):
            positive = np.add.reduceat(positive, self.starts)
            negative = np.add.reduceat(negative, self.starts)
        below = np.cumsum(negative) - negative / 2
        return float(positive @ below) / total
