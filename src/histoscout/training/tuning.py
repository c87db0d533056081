"""What is found on the tuning slides once the threshold is chosen, against what was drawn there."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.detection.class_smoothing import decide_together
from histoscout.detection.grid import WindowPlan
from histoscout.detection.heatmap import Heatmap, compute_heatmap, read_heatmap
from histoscout.detection.postprocess import candidates
from histoscout.evaluation.lesions.compare import SlideLesions, compare_lesions
from histoscout.evaluation.reference import Ground
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.network.engines import Engine
from histoscout.training.ensemble import Tuned


def kept_heatmap(folder: Path, index: int) -> Path:
    """Where the heatmap of a tuning slide lies until the threshold is known."""
    return folder / f"{index}.ome.tiff"


def look_through(
    labeled: LabeledSlide,
    engine: Engine,
    boxes: Sequence[Box],
    views: int,
    tell: Callable[[int, int], None],
) -> Heatmap:
    """What an engine says of a slide's windows in so many views, neighbours agreed; `tell(done, total)` as windows are finished."""
    plan = replace(WindowPlan.of(labeled.recipe), flips=views)
    heatmap = compute_heatmap(labeled.slide, engine, boxes, plan, on_window=tell, tissue=labeled.tissue)
    decide_together(heatmap, labeled.recipe.detection.class_smoothing_um)
    return heatmap


def tune_lesions(slides: Sequence[Tuned], threshold: float, folder: Path) -> list[SlideLesions]:
    """Compare what is found on the tuning slides with their outlines; `folder` holds their heatmaps."""
    return [_lesions(tuned, kept_heatmap(folder, index), threshold) for index, tuned in enumerate(slides)]


def _lesions(tuned: Tuned, path: Path, threshold: float) -> SlideLesions:
    recipe = tuned.labeled.recipe
    ground = Ground.of(tuned.labeled)
    if tuned.blocks is not None:
        blocks = shapely.union_all([shapely.box(*box.bounds) for box in tuned.blocks])
        ground = replace(ground, regions=inside_blocks(ground.regions, blocks))
    found = Regions()
    if path.exists():  # else no window of the slide shows tissue
        positive = recipe.classes.positive
        found = candidates(read_heatmap(path), positive, threshold, recipe.detection)
    return compare_lesions(ground, found, threshold)


def inside_blocks(regions: Regions, blocks: BaseGeometry) -> Regions:
    """The regions that lie in blocks; those that blocks cut count neither for nor against."""
    shapely.prepare(blocks)
    return Regions.of(
        region if blocks.covers(region.outline) else Region(region.outline, "ignore", id=region.id)
        for region in regions
        if blocks.intersects(region.outline)
    )
