"""Slides of a few squares and discs, to compare detections on; and a slow, obvious matcher and FROC."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import shapely
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from histoscout.annotations.qupath_properties import stable_id
from histoscout.evaluation.lesions.compare import SlideLesions, compare_lesions
from histoscout.evaluation.reference import Reference
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe
from histoscout.tissue.mask import Tissue

RECIPE = Recipe.from_dict({"classes": {"positive": "UDH", "other": ["ADH"]}})
SIDE = 1000  # level-0 px of the slides, of 1 um each: 1 mm2


def tissue(side: int = SIDE, left_out: Box | None = None, glass: Box | None = None) -> Tissue:
    """All of a slide is tissue at 10 um/px, except an artifact and a piece of glass."""
    cells = side // 10
    mask, hidden = np.ones((cells, cells), bool), np.zeros((cells, cells), bool)
    for box, marked in ((left_out, hidden), (glass, None)):
        if box is not None:
            rows, columns = (
                slice(int(box.y // 10), int(box.bottom // 10)),
                slice(int(box.x // 10), int(box.right // 10)),
            )
            mask[rows, columns] = False
            if marked is not None:
                marked[rows, columns] = True
    return Tissue(
        mask=mask,
        artifact_mask=hidden,
        box=Box(0, 0, side, side),
        scale=10.0,
        area_mm2=float(mask.sum()) * 1e-4,
        artifact_mm2={},
    )


def reference(
    truth: Regions, where: Tissue | None = None, name: str = "slide", patient: str = "patient"
) -> Reference:
    return Reference(
        name=name, patient=patient, regions=truth, tissue=where or tissue(), mpp=1.0, recipe=RECIPE
    )


def compare(
    truth: Regions, detected: Regions, threshold: float = 0.0, where: Tissue | None = None
) -> SlideLesions:
    return compare_lesions(reference(truth, where), detected, threshold)


def square(x: float, y: float, side: float, label: str = "UDH", score: float | None = None) -> Region:
    name = f"{x:g} {y:g} {side:g} {label} {score}"
    return Region(shapely.box(x, y, x + side, y + side), label, score, id=stable_id(name))


def disc(x: float, y: float, radius: float, label: str = "UDH", score: float | None = None) -> Region:
    return Region(shapely.Point(x, y).buffer(radius), label, score)


def regions(*items: Region) -> Regions:
    return Regions.of(items)


# ---------------------------------------------------------------- random scenes

_LABELS = st.sampled_from(["UDH", "UDH", "UDH", "ADH", "N", "ignore"])
_SCORES = st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7, 0.9])  # few, so that ties are common


@st.composite
def squares(draw: DrawFn, scored: bool, most: int = 6) -> Regions:
    """Squares on a coarse lattice, so that they meet, repeat, hold and touch one another often."""
    truth = []
    for number in range(draw(st.integers(0, most))):
        x, y, side = (draw(st.integers(low, 12)) * 20 for low in (0, 0, 1))
        label, score = ("UDH", draw(_SCORES)) if scored else (draw(_LABELS), None)
        truth.append(Region(shapely.box(x, y, x + side, y + side), label, score, id=f"{number} {scored}"))
    return Regions.of(truth)


def scenes() -> st.SearchStrategy[tuple[Regions, Regions]]:
    """The annotations of a slide, and the regions detected on it."""
    return st.tuples(squares(False), squares(True))


def cohorts() -> st.SearchStrategy[list[tuple[Regions, Regions]]]:
    return st.lists(scenes(), min_size=1, max_size=3)


# ---------------------------------------------------------------- slow and obvious


def most_lesions(fits: np.ndarray) -> int:
    """How many lesions (rows) can get a detection (column) of their own: every assignment is tried."""
    rows, columns = fits.shape
    if rows > columns:
        return most_lesions(fits.T)
    return max(
        (
            sum(fits[row, column] for row, column in enumerate(order))
            for order in permutations(range(columns), rows)
        ),
        default=0,
    )


def fits_slowly(rule: str, lesion: Region, detection: Region) -> bool:
    shared = lesion.outline.intersection(detection.outline).area
    if rule == "center":
        return shared > 0 and bool(lesion.outline.intersects(detection.outline.centroid))
    return bool(
        shared / lesion.outline.union(detection.outline).area >= float(rule.removeprefix("iou_")) - 1e-9
    )


def slow_counts(slide: SlideLesions, rule: str, threshold: float) -> tuple[int, int]:
    """Found lesions and false positives on one slide if only detections of at least this score count."""
    detections = [detection for detection in slide.detections if detection.score >= threshold]
    lesions = [lesion.region for lesion in slide.lesions]
    fits = np.array(
        [[fits_slowly(rule, lesion, detection.region) for detection in detections] for lesion in lesions],
        bool,
    ).reshape(len(lesions), len(detections))
    ignored = {
        detection.region.id
        for detection, state in zip(slide.detections, slide.matchings[rule].states, strict=True)
        if state == "ignored"
    }
    alone = [
        detection
        for detection, fitting in zip(detections, fits.T, strict=True)
        if not fitting.any() and detection.region.id not in ignored
    ]
    return most_lesions(fits), len(alone)


def slow_sensitivity(slides: Sequence[SlideLesions], rule: str, rate: float, amount: float) -> float | None:
    """The highest sensitivity of any threshold with at most rate * amount false positives."""
    lesions = sum(len(slide.lesions) for slide in slides)
    if not lesions:
        return None
    best = 0.0
    for threshold in {detection.score for slide in slides for detection in slide.detections}:
        counts = [slow_counts(slide, rule, threshold) for slide in slides]
        if sum(fp for _, fp in counts) <= rate * amount * (1 + 1e-9):
            best = max(best, sum(found for found, _ in counts) / lesions)
    return best
