"""The tuning slides after the last step: their heatmaps, pixel counts for the threshold, and lesions."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.detection.class_smoothing import smooth_classes
from histoscout.detection.grid import WindowPlan
from histoscout.detection.heatmap import Heatmap, compute_heatmap, read_heatmap, write_heatmap
from histoscout.detection.pipeline import SlideSurvey, hide_excluded
from histoscout.detection.postprocess import find_candidates
from histoscout.evaluation.lesions.compare import SlideLesions, compare_lesions
from histoscout.evaluation.pixels.counts import PixelCounts, count_pixels
from histoscout.evaluation.reference import Reference
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.network.engines import Engine
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
