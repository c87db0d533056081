"""Are lesions told from look-alikes? Every drawn outline of any class, scored by the heatmap inside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.heatmap import LEVELS, Heatmap
from histoscout.evaluation.bootstrap import Statistic, Weights
from histoscout.evaluation.reference import Ground
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import spans
from histoscout.geometry.regions import Region

SCORED_BY = "the mean probability of the positive class inside the outline"
ALL_OTHERS = "all other classes"


@dataclass(frozen=True)
class ScoredOutline:
    """A drawn outline: its id, its label, and the mean probability of the positive class inside it."""

    id: str
    label: str
    score: float


def score_outlines(ground: Ground, heatmap: Heatmap) -> tuple[ScoredOutline, ...]:
    """Score every drawn outline, whatever its class, ignored areas left out.

    Places that were not looked at have a probability of 0. An outline that holds no cell's centre is scored by
    the cell below a point inside it.
    """
    levels = heatmap.levels(ground.recipe.classes.positive)
    rows, columns = levels.shape
    scale, corner = heatmap.scale, heatmap.box
    box = Box(corner.x, corner.y, columns * scale, rows * scale)
    runs = spans([region.outline for region in ground.annotated], box, scale)
    sums, pixels = runs.sums(levels), runs.pixels()
    means = [
        total / count if count else _below_a_point(region, levels, heatmap)
        for region, total, count in zip(ground.annotated, sums.tolist(), pixels.tolist(), strict=True)
    ]
    return tuple(
        ScoredOutline(region.id, region.label, mean / (LEVELS - 1))
        for region, mean in zip(ground.annotated, means, strict=True)
    )


def _below_a_point(region: Region, levels: NDArray[np.uint8], heatmap: Heatmap) -> float:
    """The level of the cell below a point inside a region, or of the nearest cell to it."""
    point = region.outline.representative_point()
    places = ((point.y - heatmap.box.y, levels.shape[0]), (point.x - heatmap.box.x, levels.shape[1]))
    row, column = (min(count - 1, max(0, int(place // heatmap.scale))) for place, count in places)
    return float(levels[row, column])


def outline_statistic(
    slides: Sequence[Sequence[ScoredOutline]], patients: Sequence[int], positive: str
) -> Statistic:
    """AUROC of the positive class against each other class, and against all of them, by the patients' weights.

    How often, of an outline of the class and one of the other drawn at random, the first is scored higher (half
    where they are alike). `patients` numbers the patient of each slide from 0.
    """
    scores = np.array([one.score for slide in slides for one in slide], np.float64)
    labels = np.array([one.label for slide in slides for one in slide], dtype=object)
    patient = np.repeat(np.asarray(patients, np.int64), [len(slide) for slide in slides])
    is_positive = np.array([label == positive for label in labels], bool)
    others = sorted({label for label in labels if label != positive})
    masks = {label: is_positive | np.array([one == label for one in labels], bool) for label in others}
    if len(others) > 1:
        masks[ALL_OTHERS] = np.ones(len(labels), bool)
    ranked = {
        name or "unclassified": Ranked.of(scores[mask], is_positive[mask], patient[mask])
        for name, mask in masks.items()
    }

    def statistic(weights: Weights) -> dict[str, float | None]:
        return {name: each.auroc(weights) for name, each in ranked.items()}

    return statistic


@dataclass(frozen=True)
class Ranked:
    """Scores laid ready for an AUROC with any weights of the patients: sorted once, from the lowest up.

    `patient` int64 (N,) and `positive` bool (N,) in that order; `starts` is where each score begins, int64.
    """

    patient: NDArray[np.int64]
    positive: NDArray[np.bool_]
    starts: NDArray[np.int64]

    @classmethod
    def of(
        cls, scores: NDArray[np.float64], positive: NDArray[np.bool_], patient: NDArray[np.int64]
    ) -> "Ranked":
        order = np.argsort(scores, kind="stable")
        ordered = scores[order]
        begins = np.flatnonzero(np.diff(ordered, prepend=np.nan) != 0)
        return cls(patient[order], positive[order], begins.astype(np.int64))

    def auroc(self, weights: Weights) -> float | None:
        """The area under the ROC curve (Mann-Whitney), ties counted half; None without one of the kinds."""
        each = weights[self.patient]
        ours = np.where(self.positive, each, 0.0)
        theirs = each - ours
        total = float(ours.sum()) * float(theirs.sum())
        if not total:
            return None
        if len(self.starts) < len(each):
            ours, theirs = np.add.reduceat(ours, self.starts), np.add.reduceat(theirs, self.starts)
        below = np.cumsum(theirs) - theirs / 2
        return float(ours @ below) / total
