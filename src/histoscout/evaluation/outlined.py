"""Are lesions told from look-alikes? Every drawn outline of any class, scored by the heatmap inside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.heatmap import LEVELS, Heatmap
from histoscout.evaluation.ground import Ground
from histoscout.evaluation.intervals import Statistic, Weights
from histoscout.geometry.box import Box
from histoscout.geometry.raster import mask_of
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
    return tuple(
        ScoredOutline(region.id, region.label, _mean_inside(region, levels, heatmap))
        for region in ground.annotated
    )


def _mean_inside(region: Region, levels: NDArray[np.uint8], heatmap: Heatmap) -> float:
    scale, whole, bounds = heatmap.scale, heatmap.box, region.box
    rows, columns = (
        _range(low - start, high - start, scale, count)
        for low, high, start, count in (
            (bounds.y, bounds.bottom, whole.y, levels.shape[0]),
            (bounds.x, bounds.right, whole.x, levels.shape[1]),
        )
    )
    inside = np.asarray(levels[rows[0] : rows[1], columns[0] : columns[1]])
    corner = (whole.x + columns[0] * scale, whole.y + rows[0] * scale)
    box = Box(*corner, inside.shape[1] * scale, inside.shape[0] * scale)
    mask = mask_of(region.outline, box, scale)
    if not mask.any():
        point = region.outline.representative_point()
        row = min(mask.shape[0] - 1, max(0, int((point.y - box.y) / scale)))
        column = min(mask.shape[1] - 1, max(0, int((point.x - box.x) / scale)))
        mask[row, column] = True
    return float(inside[mask].mean()) / (LEVELS - 1)


def _range(low: float, high: float, scale: float, count: int) -> tuple[int, int]:
    """The cells that a stretch touches, at least one."""
    first = min(count - 1, max(0, int(np.floor(low / scale))))
    return first, max(first + 1, min(count, int(np.ceil(high / scale))))


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
