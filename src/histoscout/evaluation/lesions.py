"""How many lesions were found, and how many regions are false."""

from dataclasses import dataclass

import numpy as np
import shapely
from scipy.optimize import linear_sum_assignment

from histoscout.geometry.regions import Regions

LEAST_IOU = 0.3


@dataclass(frozen=True)
class LesionCounts:
    """Lesions outlined by a pathologist, how many of them were found, and regions that match none."""

    lesions: int = 0
    found: int = 0
    false: int = 0
    tissue_mm2: float = 0.0

    def __add__(self, other: "LesionCounts") -> "LesionCounts":
        return LesionCounts(
            self.lesions + other.lesions,
            self.found + other.found,
            self.false + other.false,
            self.tissue_mm2 + other.tissue_mm2,
        )

    @property
    def sensitivity(self) -> float | None:
        return self.found / self.lesions if self.lesions else None

    @property
    def false_per_cm2(self) -> float | None:
        return self.false / self.tissue_mm2 * 100 if self.tissue_mm2 else None


def count_lesions(truth: Regions, found: Regions, ignored: Regions, tissue_mm2: float) -> LesionCounts:
    """Match found regions to lesions one to one at an IoU of at least .3, as many as possible.

    A found region without a lesion of its own is false, unless at least half of it lies in an ignored area.
    """
    iou = _iou(truth, found)
    rows, columns = linear_sum_assignment(np.where(iou >= LEAST_IOU, 1 + iou, 0), maximize=True)
    hits = {int(column) for row, column in zip(rows, columns, strict=True) if iou[row, column] >= LEAST_IOU}
    left = [region.outline for index, region in enumerate(found) if index not in hits]
    unsure = shapely.union_all([region.outline for region in ignored])
    false = sum(1 for outline in left if outline.intersection(unsure).area < 0.5 * outline.area)
    return LesionCounts(len(truth), len(hits), false, tissue_mm2)


def _iou(truth: Regions, found: Regions) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Intersection over union of every lesion with every found region; computed where they touch."""
    iou = np.zeros((len(truth), len(found)))
    if not len(truth) or not len(found):
        return iou
    tree = shapely.STRtree([region.outline for region in found])
    for row, region in enumerate(truth):
        for column in tree.query(region.outline, predicate="intersects"):
            other = found[int(column)].outline
            shared = region.outline.intersection(other).area
            iou[row, column] = shared / (region.outline.area + other.area - shared)
    return iou
