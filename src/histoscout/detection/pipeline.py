"""One slide from its pixels to its regions: the chain of detection in one place."""

from dataclasses import dataclass

import numpy as np

from histoscout.cohort.annotated_slide import UNLISTED, labeled_regions
from histoscout.cohort.case import Case
from histoscout.detection.class_smoothing import decide_together
from histoscout.detection.domain_shift import Learnt, appearance, looks_known
from histoscout.detection.grid import WindowPlan, detection_windows
from histoscout.detection.heatmap import Heatmap, compute_heatmap
from histoscout.detection.inference import let_go
from histoscout.detection.postprocess import candidates, outline
from histoscout.errors import CohortError
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from histoscout.geometry.regions import Regions
from histoscout.network.engines import Engine
from histoscout.network.model_folder import ModelFolder
from histoscout.progress import Progress
from histoscout.recipe_sections import ClassConfig
from histoscout.slides.slide import Slide
from histoscout.tissue.mask import Tissue, find_tissue

STRIP = 1024


@dataclass(frozen=True)
class Sight:
    """A slide's tissue, the windows that show it, the only areas to look at (if any), notes for the user."""

    tissue: Tissue
    boxes: list[Box]
    within: Regions | None
    notes: tuple[str, ...]


def survey(slide: Slide, case: Case, model: ModelFolder, within: str | None) -> Sight:
    """Find out what of a slide is to be looked at; CohortError if it has no area of the class `within`."""
    recipe = model.recipe
    areas, notes = (None, ()) if within is None else _areas(case, within, slide)
    tissue = find_tissue(slide, recipe.tissue, recipe.patches)
    boxes = detection_windows(slide, tissue, recipe, areas)
    if slide.mpp > 1.2 * recipe.patches.mpp:
        coarse = (
            f"the slide has {slide.mpp:.3g} um/px, coarser than the {recipe.patches.mpp:.3g} of the model"
        )
        notes = (*notes, coarse)
    known = looks_known(Learnt.of(model), appearance(slide, tissue, recipe.patches.mpp))
    if known.state == "warning":
        notes = (*notes, f"{known.message}. {known.remedy}")
    return Sight(tissue, boxes, areas, (*slide.notes, *tissue.notes, *notes))


def find_regions(
    slide: Slide, engine: Engine, model: ModelFolder, threshold: float, sight: Sight, look: "Look"
) -> tuple[Heatmap, Regions]:
    """Look at a slide's windows and outline what is found of the positive class.

    With a cut-off, only regions of at least that score are kept; one below the threshold lets fainter ones in.
    """

    def tell(done: int, total: int) -> None:
        look.progress.advance()

    heatmap = compute_heatmap(slide, engine, sight.boxes, look.plan, on_window=tell, tissue=sight.tissue)
    decide_together(heatmap, model.recipe.detection.class_smoothing_um)
    hide(heatmap, sight)
    label, choices, cut_off = model.recipe.classes.positive, model.recipe.detection, look.cut_off
    if cut_off is None:
        return heatmap, outline(heatmap, label, threshold, choices, model.hash)
    every = candidates(heatmap, label, threshold, choices, model.hash)
    return heatmap, every.where(lambda region: (region.score or 0.0) >= cut_off)


@dataclass(frozen=True)
class Look:
    """How to look, whom to tell, and the score from which regions are kept (None: all)."""

    plan: WindowPlan
    progress: Progress
    cut_off: float | None = None


def hide(heatmap: Heatmap, sight: Sight) -> None:
    """Set the heatmap to 0, in place, where pen or bad focus hide tissue, and outside the areas to look at."""
    if not sight.tissue.artifact_mask.any() and sight.within is None:
        return
    rows, columns = heatmap.values.shape[1:]
    scale = heatmap.scale
    for top in range(0, rows, STRIP):
        height = min(STRIP, rows - top)
        box = Box(heatmap.box.x, heatmap.box.y + top * scale, columns * scale, height * scale)
        shown = ~sight.tissue.artifact_mask_in(box, scale)
        if sight.within is not None:
            shown &= label_map([(sight.within, 1)], box, scale) > 0
        heatmap.values[:, top : top + height] *= shown.astype(np.uint8)
        let_go(heatmap.values)


def _areas(case: Case, within: str, slide: Slide) -> tuple[Regions, tuple[str, ...]]:
    if case.annotations is None:
        fault = f"has no annotations, and only areas of the class {within!r} are to be looked at"
        raise CohortError(
            case.slide, fault, "Name its annotations in the cohort table, or leave out --within"
        )
    classes = ClassConfig(positive=within, ignore=(), reviewed=())
    annotations = labeled_regions(case, classes, slide)
    areas = annotations.regions.with_labels(within)
    if not len(areas):
        there = ", ".join(annotations.regions.labels) or "none"
        fault = f"holds no outline of the class {within!r} (classes: {there})"
        raise CohortError(case.annotations, fault, "Check the spelling of the class given to --within")
    return areas, tuple(note for note in annotations.notes if not note.startswith(UNLISTED))
