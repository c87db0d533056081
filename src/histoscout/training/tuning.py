"""The tuning slides after the last step: their heatmaps, pixel counts for the threshold, and lesions."""

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.cohort.case import Case, SlideKey
from histoscout.detection.grid import WindowPlan
from histoscout.detection.heatmap import Heatmap, compute_heatmap, read_heatmap, write_heatmap
from histoscout.detection.pipeline import SlideSurvey, hide_excluded, smooth_classes
from histoscout.detection.postprocess import find_candidates
from histoscout.evaluation.lesions.compare import LocationKind, SlideLesions, compare_lesions
from histoscout.evaluation.pixels.counts import PixelCounts, count_pixels
from histoscout.evaluation.reference import Reference
from histoscout.evaluation.review import ReviewPlan, prepare_review, select_review_items
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.io.names import slide_key
from histoscout.network.engines import Engine
from histoscout.recipe_sections import ClassConfig
from histoscout.training.data import tuning_regions, tuning_windows
from histoscout.training.ensemble import TuningSlide
from histoscout.training.loop import TrainingContext


def heatmap_file(folder: Path, index: int) -> Path:
    """The file of the heatmap of a slide by index.

    Args:
        folder: The folder of heatmaps.
        index: Index of the slide.

    Returns:
        The file.
    """
    return folder / f"{index}.ome.tiff"


def compute_smoothed_heatmap(
    labeled: LabeledSlide,
    engine: Engine,
    boxes: Sequence[Box],
    *,
    views: int,
    on_window: Callable[[int, int], None] = lambda done, total: None,
) -> Heatmap:
    """Compute the heatmap of some windows of a slide, with class smoothing, as detection does.

    Args:
        labeled: The slide.
        engine: The networks.
        boxes: The windows, in level-0 px.
        views: Number of views averaged (test-time augmentation).
        on_window: Called with the number of windows done and in all.

    Returns:
        The heatmap.
    """
    plan = replace(WindowPlan.of(labeled.recipe), views=views)
    heatmap = compute_heatmap(labeled.slide, engine, boxes, plan, on_window=on_window, tissue=labeled.tissue)
    smooth_classes(heatmap, labeled.recipe.detection.class_smoothing_um)
    return heatmap


def count_tuning_pixels(
    context: TrainingContext, slides: Sequence[TuningSlide], folder: Path, *, views: int | None
) -> PixelCounts:
    """Compare the heatmaps of the tuning slides with their annotations, pixel by pixel.

    Args:
        context: The training.
        slides: The tuning slides.
        folder: Where the heatmaps are kept, see `heatmap_file`.
        views: Number of views averaged (test-time augmentation); None for as many as in detection.

    Returns:
        The pixels of all tuning slides, or of their tuning boxes.
    """
    counts = PixelCounts.empty()
    windows = [tuning_windows(slide.labeled, slide.boxes, context.recipe) for slide in slides]
    context.progress.start("choosing the threshold", sum(map(len, windows)))
    for index, (slide, boxes) in enumerate(zip(slides, windows, strict=True)):
        if boxes:
            heatmap = compute_smoothed_heatmap(
                slide.labeled,
                slide.engine,
                boxes,
                views=views or context.recipe.detection.tta_views,
                on_window=lambda done, total: context.progress.advance(),
            )
            counts = counts + count_pixels(slide.labeled, heatmap, context.recipe.classes.positive)
            hide_excluded(
                heatmap,
                SlideSurvey(
                    tissue=slide.labeled.tissue, boxes=boxes, within=tuning_regions(slide.boxes), notes=()
                ),
            )
            write_heatmap(heatmap, heatmap_file(folder, index))
    context.progress.done()
    return counts


def compare_tuning_lesions(
    slides: Sequence[TuningSlide], threshold: float, folder: Path
) -> list[SlideLesions]:
    """Compare what is detected on the tuning slides with their annotations, lesion by lesion.

    Args:
        slides: The tuning slides.
        threshold: The threshold of the model.
        folder: Where `count_tuning_pixels` kept their heatmaps.

    Returns:
        One comparison per slide.
    """
    compared = []
    for index, slide in enumerate(slides):
        recipe = slide.labeled.recipe
        reference = Reference.from_slide(slide.labeled)
        if slide.boxes is not None:
            blocks = shapely.union_all([shapely.box(*box.bounds) for box in slide.boxes])
            reference = replace(reference, regions=regions_in_blocks(reference.regions, blocks))
        detections = Regions()
        # no file if no window of the slide shows tissue
        if (path := heatmap_file(folder, index)).exists():
            heatmap = read_heatmap(path)
            detections = find_candidates(heatmap, recipe.classes.positive, threshold, recipe.detection)
        compared.append(compare_lesions(reference, detections, threshold))
    return compared


def regions_in_blocks(regions: Regions, blocks: BaseGeometry) -> Regions:
    """Select the regions in tuning blocks; those that cross the border of a block are ignored.

    Args:
        regions: The regions of a slide.
        blocks: The union of the blocks, in level-0 px.

    Returns:
        Regions that are inside as they are, regions that are cut with the label "ignore".
    """
    shapely.prepare(blocks)
    return Regions.of(
        region if blocks.covers(region.outline) else Region(region.outline, "ignore", id=region.id)
        for region in regions
        if blocks.intersects(region.outline)
    )


FOLDER = "unannotated"
"""Folder of the export in that of the training."""

OLD_FOLDER = "unmarked"
"""What histoscout 0.1.0 called it."""

MAX_SHOWN = 30
"""Detections that are exported at most, those with the highest scores."""

LOCATIONS: tuple[LocationKind, ...] = ("unannotated tissue",)
"""Where exported detections are."""


def export_folder(training: Path) -> Path:
    """The folder of the export in the folder of a training, also where histoscout 0.1.0 wrote it.

    Args:
        training: The folder of a training.

    Returns:
        The folder.
    """
    old = training / OLD_FOLDER
    return old if old.is_dir() and not (training / FOLDER).exists() else training / FOLDER


def export_unannotated(
    lesions: Mapping[SlideKey, SlideLesions], cases: Sequence[Case], classes: ClassConfig, folder: Path
) -> int:
    """Export the detections with the highest scores on unannotated tissue for review by a pathologist.

    Writes a review table, a picture of each, and for each slide a GeoJSON file for QuPath; nothing where
    there is no such detection.

    Args:
        lesions: The lesions of each tuning slide by its file, by networks that were not trained on the slide.
        cases: The tuning slides.
        classes: The recipe's section `classes`.
        folder: Where to write; what is there is replaced.

    Returns:
        The number of such detections.
    """
    # an earlier end of the same training may have written it
    shutil.rmtree(folder, ignore_errors=True)
    named_cases = dict(zip(unique_names(cases), cases, strict=True))
    by_name = {name: lesions[case.key] for name, case in named_cases.items() if case.key in lesions}
    plan = ReviewPlan(folder=folder, max_items=MAX_SHOWN, locations=LOCATIONS)
    count = len(select_review_items(by_name, replace(plan, max_items=sys.maxsize)))
    if count:
        prepare_review(by_name, named_cases, classes, plan)
    return count


def unique_names(cases: Sequence[Case]) -> list[str]:
    """Name each slide: its own name, and where several have it, also its folder and a number.

    Args:
        cases: The cases.

    Returns:
        A name for each case.
    """
    counts = Counter(slide_key(case.slide) for case in cases)
    return [
        case.name
        if counts[slide_key(case.slide)] == 1
        else f"{case.name} ({case.slide.parent.name}, {number})"
        for number, case in enumerate(cases, start=1)
    ]
