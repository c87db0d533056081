"""What every score is worth as a cut-off, tried on the tuning slides once the threshold is chosen."""

from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from histoscout.detection.candidates import candidates
from histoscout.detection.heatmap import read_heatmap
from histoscout.detection.labelled import LabelledSlide
from histoscout.detection.operating import Operating, Source
from histoscout.evaluation.compare import SlideLesions, compare_lesions
from histoscout.evaluation.ground import Ground
from histoscout.evaluation.operating import Owner, measure_operating
from histoscout.geometry.regions import Region, Regions
from histoscout.training.sets import Sets


def kept_heatmap(folder: Path, index: int) -> Path:
    """Where the heatmap of a tuning slide lies until the threshold is known."""
    return folder / f"{index}.ome.tiff"


def tune_operating(sets: Sets, threshold: float, folder: Path) -> Operating:
    """Compare what every score finds on the tuning slides with their outlines; `folder` holds their heatmaps."""
    slides = [_lesions(index, labelled, sets, threshold, folder) for index, labelled in enumerate(sets.tune)]
    patients = [labelled.patient for labelled in sets.tune]
    source: Source = "blocks of the training slides" if sets.split.blocks else "tuning patients"
    return measure_operating(slides, patients, Owner(source, threshold))


def _lesions(index: int, labelled: LabelledSlide, sets: Sets, threshold: float, folder: Path) -> SlideLesions:
    recipe, path = labelled.recipe, kept_heatmap(folder, index)
    ground = Ground.of(labelled)
    if index in sets.tune_boxes:
        blocks = shapely.union_all([shapely.box(*box.bounds) for box in sets.tune_boxes[index]])
        ground = Ground(
            ground.name,
            ground.patient,
            inside_blocks(ground.regions, blocks),
            ground.tissue,
            ground.mpp,
            recipe,
        )
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
