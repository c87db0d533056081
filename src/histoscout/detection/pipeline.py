"""One slide from its pixels to its regions: the chain of detection in one place."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.cohort.annotated_slide import UNLISTED, labeled_regions
from histoscout.cohort.case import Case
from histoscout.detection.domain_shift import AppearanceReference, check_appearance, measure_appearance
from histoscout.detection.grid import WindowPlan, detection_windows
from histoscout.detection.heatmap import LEVELS, Heatmap, compute_heatmap
from histoscout.detection.inference import release_memory
from histoscout.detection.postprocess import find_candidates, find_regions
from histoscout.errors import CohortError
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from histoscout.geometry.regions import Regions
from histoscout.network.engines import Engine
from histoscout.network.model_folder import ModelFolder
from histoscout.progress import Progress
from histoscout.recipe_sections import ClassConfig
from histoscout.slides.scale import check_enlargement
from histoscout.slides.slide import Slide
from histoscout.tissue.mask import Tissue, find_tissue

STRIP = 1024
"""Rows of a heatmap that are processed at once."""

COARSE = 1.2
"""A slide this many times coarser than the recipe's um/px is noted."""


CELLS_PER_SIGMA = 4
"""Cells of the coarse sums, across one sigma."""

_Sums = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SlideSurvey:
    """What of a slide will be examined.

    Attributes:
        tissue: The slide's tissue.
        boxes: Windows that show tissue, in level-0 px.
        within: The only areas to examine; None for the whole slide.
        notes: Notes for the user.
    """

    tissue: Tissue
    boxes: list[Box]
    within: Regions | None
    notes: tuple[str, ...]


def survey_slide(slide: Slide, case: Case, model: ModelFolder, within: str | None) -> SlideSurvey:
    """Find the tissue and the windows of a slide, and check whether it is out of distribution.

    Args:
        slide: The slide.
        case: Its case.
        model: The model.
        within: Only areas of this class are examined; None for the whole slide.

    Returns:
        Tissue, windows and notes.

    Raises:
        CohortError: If the slide has no area of the class `within`.
    """
    recipe = model.recipe
    check_enlargement(case.slide, slide.mpp, recipe.patches.mpp, "the model (patches.mpp)")
    areas, notes = (None, ()) if within is None else _read_areas(case, within, slide)
    tissue = find_tissue(slide, recipe.tissue, recipe.patches)
    boxes = detection_windows(slide, tissue, recipe, areas)
    if slide.mpp > COARSE * recipe.patches.mpp:
        coarse = (
            f"the slide has {slide.mpp:.3g} um/px, coarser than the {recipe.patches.mpp:.3g} of the model"
        )
        notes = (*notes, coarse)
    measures = measure_appearance(slide, tissue, recipe.patches.mpp)
    appearance = check_appearance(AppearanceReference.of(model), measures)
    if appearance.state == "warning":
        notes = (*notes, f"{appearance.message}. {appearance.remedy}")
    return SlideSurvey(tissue=tissue, boxes=boxes, within=areas, notes=(*slide.notes, *tissue.notes, *notes))


def _read_areas(case: Case, within: str, slide: Slide) -> tuple[Regions, tuple[str, ...]]:
    """The areas of a class, and notes from reading them."""
    if case.annotations is None:
        fault = f"the slide has no annotations, and only areas of the class {within!r} are to be examined"
        raise CohortError(
            case.slide, fault, "Name its annotations in the cohort table, or leave out --within"
        )
    classes = ClassConfig(positive=within, ignore=(), reviewed=())
    annotations = labeled_regions(case, classes, slide)
    areas = annotations.regions.with_labels(within)
    if not len(areas):
        existing = ", ".join(annotations.regions.labels) or "none"
        fault = f"the file has no annotation of the class {within!r} (classes: {existing})"
        raise CohortError(case.annotations, fault, "Check the spelling of the class given to --within")
    # that other classes are not listed is no news here
    return areas, tuple(note for note in annotations.notes if not note.startswith(UNLISTED))


@dataclass(frozen=True)
class PipelineOptions:
    """How a slide is examined.

    Attributes:
        plan: How windows are read and predicted.
        progress: Where progress is shown.
        score_threshold: The score from which regions are kept; None for all.
    """

    plan: WindowPlan
    progress: Progress
    score_threshold: float | None = None


def detect_on_slide(
    slide: Slide,
    survey: SlideSurvey,
    *,
    engine: Engine,
    model: ModelFolder,
    threshold: float,
    options: PipelineOptions,
) -> tuple[Heatmap, Regions]:
    """Compute the heatmap of a slide and find regions of the positive class in it.

    Args:
        slide: The slide.
        survey: Its tissue and windows.
        engine: The opened model.
        model: The model.
        threshold: Probability from which a place counts as detected.
        options: How windows are predicted. With a score threshold, only regions of at least that score are kept; one
            below `threshold` lets fainter regions in.

    Returns:
        The heatmap, and the regions with their scores.
    """
    heatmap = compute_heatmap(
        slide,
        engine,
        survey.boxes,
        options.plan,
        on_window=lambda done, total: options.progress.advance(),
        tissue=survey.tissue,
    )
    smooth_classes(heatmap, model.recipe.detection.class_smoothing_um)
    hide_excluded(heatmap, survey)
    return heatmap, regions_of_heatmap(heatmap, model, threshold, options.score_threshold)


def regions_of_heatmap(
    heatmap: Heatmap, model: ModelFolder, threshold: float, score_threshold: float | None = None
) -> Regions:
    """Find regions of the positive class in a finished heatmap.

    Args:
        heatmap: The heatmap, in memory or read from a file.
        model: The model that it comes from.
        threshold: Probability from which a place counts as detected.
        score_threshold: The score from which regions are kept; None for all.

    Returns:
        The regions with their scores.
    """
    label, choices = model.recipe.classes.positive, model.recipe.detection
    if score_threshold is None:
        return find_regions(heatmap, label, threshold, choices, model.hash)
    candidates = find_candidates(heatmap, label, threshold, choices, model.hash)
    return candidates.where(lambda region: (region.score or 0.0) >= score_threshold)


def hide_excluded(heatmap: Heatmap, survey: SlideSurvey) -> None:
    """Set a heatmap to 0, in place, on pen marks and blur, and outside the areas to examine.

    Args:
        heatmap: The heatmap, which is changed.
        survey: Tissue and areas of the slide.
    """
    if not survey.tissue.artifact_mask.any() and survey.within is None:
        return
    rows, columns = heatmap.values.shape[1:]
    scale = heatmap.scale
    # strip by strip, since a heatmap can be larger than memory
    for top in range(0, rows, STRIP):
        height = min(STRIP, rows - top)
        box = Box(heatmap.box.x, heatmap.box.y + top * scale, columns * scale, height * scale)
        shown = ~survey.tissue.artifact_mask_in(box, scale)
        if survey.within is not None:
            shown &= label_map([(survey.within, 1)], box, scale) > 0
        heatmap.values[:, top : top + height] *= shown.astype(np.uint8)
        release_memory(heatmap.values)


# ---------------------------------------------------------------- class smoothing


def smooth_classes(heatmap: Heatmap, sigma_um: float) -> None:
    """Smooth the class of each place over its neighborhood, in place.

    The probability of all classes together stays at each place. It is divided among the classes by their shares in a
    Gaussian neighborhood, as a pathologist names a gland by the whole of it and its neighbors. With one class nothing changes.
    Memory holds a strip, and sums over cells of a quarter of sigma.

    Args:
        heatmap: The heatmap, which is changed.
        sigma_um: Sigma of the neighborhood in um; 0 for no smoothing.
    """
    if not sigma_um or len(heatmap.labels) == 1:
        return
    side = max(1, int(sigma_um / heatmap.mpp / CELLS_PER_SIGMA))
    # coarse sums are blurred, so that a wide neighborhood costs little
    sums = _cell_sums(heatmap.values, side)
    for plane in sums:
        ndimage.gaussian_filter(plane, sigma_um / heatmap.mpp / side, output=plane, mode="constant")
    shares = sums / np.maximum(sums.sum(0), np.float32(1e-6))
    rows = heatmap.values.shape[1]
    for top in range(0, rows, STRIP):
        strip = heatmap.values[:, top : top + STRIP]
        if strip.any():
            strip[:] = _divide(strip, _interpolate(shares, (top, 0), strip.shape[1:], side))
            release_memory(heatmap.values)


def _cell_sums(values: NDArray[np.uint8], side: int) -> _Sums:
    """The sum of each class in square cells of `side` places: float32 (C, rows, columns)."""
    classes, rows, columns = values.shape
    cells = np.zeros((classes, -(-rows // side), -(-columns // side)), np.float32)
    height = STRIP // side * side or side
    starts = np.arange(0, columns, side)
    for top in range(0, rows, height):
        strip = values[:, top : top + height].astype(np.float32)
        across = np.add.reduceat(strip, starts, axis=2)
        down = np.add.reduceat(across, np.arange(0, strip.shape[1], side), axis=1)
        cells[:, top // side : top // side + down.shape[1]] = down
        release_memory(values)
    return cells


def _interpolate(shares: _Sums, corner: tuple[int, int], shape: tuple[int, ...], side: int) -> _Sums:
    """The part of the cells that covers `shape` places from a corner on, linear between cell centers."""
    for axis, (start, length) in enumerate(zip(corner, shape, strict=True), start=1):
        last = shares.shape[axis] - 1
        places = np.clip((np.arange(start, start + length) + 0.5) / side - 0.5, 0, last)
        below = places.astype(np.intp)
        weight = (places - below).astype(np.float32).reshape((-1, 1) if axis == 1 else (1, -1))
        above = np.minimum(below + 1, last)
        shares = shares.take(below, axis) * (1 - weight) + shares.take(above, axis) * weight
    return shares


def _divide(levels: NDArray[np.uint8], shares: _Sums) -> NDArray[np.uint8]:
    """The sum of the classes divided by the shares."""
    together = levels.sum(0, dtype=np.float32)
    divided: NDArray[np.uint8] = np.minimum(np.rint(together * shares), LEVELS - 1).astype(np.uint8)
    return divided
