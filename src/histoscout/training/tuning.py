"""What is found on the tuning slides once the threshold is chosen, against what was drawn there."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from histoscout.detection.candidates import candidates
from histoscout.detection.heatmap import read_heatmap
from histoscout.evaluation.compare import SlideLesions, compare_lesions
from histoscout.evaluation.ground import Ground
from histoscout.geometry.regions import Region, Regions
from histoscout.training.members import Tuned


def kept_heatmap(folder: Path, index: int) -> Path:
    """Where the heatmap of a tuning slide lies until the threshold is known."""
    return folder / f"{index}.ome.tiff"


def tune_lesions(slides: Sequence[Tuned], threshold: float, folder: Path) -> list[SlideLesions]:
    """Compare what is found on the tuning slides with their outlines; `folder` holds their heatmaps."""
    return [_lesions(tuned, kept_heatmap(folder, index), threshold) for index, tuned in enumerate(slides)]


def _lesions(tuned: Tuned, path: Path, threshold: float) -> SlideLesions:
    recipe = tuned.labelled.recipe
    ground = Ground.of(tuned.labelled)
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
