"""Metrics of one slide: what a method, and each trivial baseline, counts on it.

Baselines are methods that any model must beat, and one that is given the annotations but not their classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.detection.heatmap import LEVELS, Heatmap
from histoscout.detection.postprocess import add_fainter_regions, find_candidates
from histoscout.evaluation.lesions.compare import (
    ReferenceLesions,
    SlideLesions,
    compare_lesions,
    find_reference_lesions,
)
from histoscout.evaluation.lesions.summary import ScoredAnnotation, score_annotations
from histoscout.evaluation.pixels.counts import PixelCounts, count_tiles
from histoscout.evaluation.pixels.tile_table import TileSet, count_tile_set
from histoscout.evaluation.reference import (
    HeatmapRaster,
    PredictionRaster,
    Reference,
    RegionRaster,
    Strip,
    iterate_strips,
)
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from histoscout.geometry.regions import Region, Regions, valid_outline
from histoscout.geometry.vectorize import mask_to_polygons
from histoscout.recipe import BACKGROUND

NOTHING = "nothing"
EVERYTHING = "everything"
ALL_TISSUE = "all tissue"
PREVALENCE = "prevalence everywhere"
PERFECT_OUTLINES = "perfect outlines of every annotated class"
PREVIOUS = "previous model"
"""Name of the model that is compared with."""

BASELINES: Mapping[str, str] = MappingProxyType(
    {
        NOTHING: "detects nothing",
        EVERYTHING: "detects the whole slide as one lesion; its pixels are those of all tissue",
        ALL_TISSUE: "detects each piece of tissue as one lesion",
        PREVALENCE: "predicts the mean prevalence of lesion everywhere; detects no regions",
        PERFECT_OUTLINES: "outlines every annotated region exactly, but cannot tell one class from another",
    }
)
"""The baselines by name, with what they do."""


def baseline_regions(name: str, reference: Reference) -> Regions:
    """Make the regions that a baseline detects.

    Args:
        name: A name from `BASELINES`.
        reference: The annotations and tissue of the slide.

    Returns:
        The regions, level-0 px.
    """
    positive = reference.recipe.classes.positive
    if name == EVERYTHING:
        return Regions.of([Region(shapely.box(*reference.box.bounds), positive, 1.0)])
    if name == ALL_TISSUE:
        scale = reference.tissue.scale
        pieces = mask_to_polygons(reference.tissue.mask, reference.box, scale)
        # simplified to the width of a mask cell: stairs of thousands of corners would only take time
        simplified = [valid_outline(piece.simplify(scale)) or piece for piece in pieces]
        return Regions.of(Region(piece, positive, 1.0) for piece in simplified)
    if name == PERFECT_OUTLINES:
        return reference.annotated
    return Regions()


def perfect_outline_levels(strip: Strip, reference: Reference) -> NDArray[np.uint8]:
    """Make the heatmap of `PERFECT_OUTLINES` on a strip: (H, W) uint8.

    Args:
        strip: A strip of the slide.
        reference: Its annotations.

    Returns:
        Levels 0 or 255, (H, W) uint8.
    """
    annotated = strip.mask != BACKGROUND
    if len(reference.unlisted):
        scale = strip.box.width / annotated.shape[1]
        annotated |= label_map(((reference.unlisted, 1),), strip.box, scale) > 0
    return np.where(annotated, LEVELS - 1, 0).astype(np.uint8)


@dataclass(frozen=True)
class MethodCounts:
    """What one method counts on one slide, from which all of its metrics are made.

    Attributes:
        pixels: Histograms of pixels.
        tiles: Histograms of tiles.
        lesions: Lesions and detections.
    """

    pixels: PixelCounts
    tiles: PixelCounts
    lesions: SlideLesions


@dataclass(frozen=True, kw_only=True)
class SlideScores:
    """The scores of one slide: of the evaluated method, and of each baseline.

    Attributes:
        name: Name of the slide.
        patient: The patient of the slide.
        site: Where the slide comes from, if the cohort says so.
        box: The slide in level-0 px.
        mpp: um per level-0 px.
        counts: What the method counts.
        baselines: What each baseline, and the previous model if there is one, counts, by name.
        scored_annotations: The annotations of all classes, scored by the heatmap; empty without one.
        reviewed: Lesions and detections after an expert review; None without one.
        tile_set: Histograms of the tiles of `TileSet`; None without one.
    """

    name: str
    patient: str
    site: str | None
    box: Box
    mpp: float
    counts: MethodCounts
    baselines: Mapping[str, MethodCounts]
    scored_annotations: tuple[ScoredAnnotation, ...] = ()
    reviewed: SlideLesions | None = None
    tile_set: PixelCounts | None = None

    @property
    def pixels(self) -> PixelCounts:
        """Histograms of pixels."""
        return self.counts.pixels

    @property
    def tiles(self) -> PixelCounts:
        """Histograms of tiles."""
        return self.counts.tiles

    @property
    def lesions(self) -> SlideLesions:
        """Lesions and detections."""
        return self.counts.lesions

    @property
    def tissue_mm2(self) -> float:
        """Tissue that is not ignored, mm2."""
        return self.lesions.tissue_mm2


def score_slide_heatmap(
    reference: Reference,
    heatmap: Heatmap,
    regions: Regions,
    *,
    threshold: float,
    score_threshold: float | None = None,
    model_hash: str = "",
    tile_set: TileSet | None = None,
) -> SlideScores:
    """Score a model on one slide: its heatmap, and the regions outlined in it.

    Args:
        reference: The annotations and tissue of the slide.
        heatmap: The heatmap of the slide.
        regions: The regions that detection outlined in it, level-0 px.
        threshold: The probability threshold, for pixels, tiles and outlines.
        score_threshold: For an operating target: lesions are scored by the regions that reach this score, as
            detection keeps them (`regions` are some of the candidates, which are outlined again). Pixels and
            tiles are scored at `threshold` all the same.
        model_hash: Hash of the model, which is part of the regions' ids.
        tile_set: Tiles of a fixed size to score as well.

    Returns:
        The scores; `site` is None.
    """
    # all regions from which the curve over thresholds is made
    label = reference.recipe.classes.positive
    config = reference.recipe.detection
    if score_threshold is None:
        detected = add_fainter_regions(regions, heatmap, label, threshold, config, model_hash)
    else:
        detected = find_candidates(heatmap, label, threshold, config, model_hash)

    # pixels, tiles and lesions; then annotations of all classes, for the class AUROC
    predictions = HeatmapRaster(heatmap, label, reference.recipe.patches.mpp)
    annotated = find_reference_lesions(reference)
    lesions = compare_lesions(reference, detected, score_threshold or threshold, lesions=annotated)
    scores = _score_slide(reference, predictions, annotated=annotated, lesions=lesions)
    return replace(
        scores,
        scored_annotations=score_annotations(reference, heatmap),
        tile_set=None if tile_set is None else count_tile_set(tile_set, reference, predictions),
    )


def score_slide_regions(
    reference: Reference, regions: Regions, tile_set: TileSet | None = None
) -> SlideScores:
    """Score detected regions on one slide, whatever detected them.

    Args:
        reference: The annotations and tissue of the slide.
        regions: The regions, level-0 px; one without a score counts as certain.
        tile_set: Tiles of a fixed size to score as well.

    Returns:
        The scores; `site` is None.
    """
    mpp = reference.recipe.patches.mpp
    predictions = RegionRaster(regions, mpp, mpp / reference.mpp)
    annotated = find_reference_lesions(reference)
    lesions = compare_lesions(reference, regions, lesions=annotated)
    scores = _score_slide(reference, predictions, annotated=annotated, lesions=lesions)
    counts = None if tile_set is None else count_tile_set(tile_set, reference, predictions)
    return replace(scores, tile_set=counts)


def _score_slide(
    reference: Reference,
    predictions: PredictionRaster,
    *,
    annotated: ReferenceLesions,
    lesions: SlideLesions,
) -> SlideScores:
    """Add the pixels and tiles of the predictions, and the baselines, to the compared lesions."""
    # the method and perfect outlines are counted in one pass over the slide
    pixels = PixelCounts.empty()
    tiles = PixelCounts.empty()
    outlined_pixels = PixelCounts.empty()
    outlined_tiles = PixelCounts.empty()
    for strip in iterate_strips(reference, predictions, reference.recipe.patch_px):
        pixels += PixelCounts.from_strip(strip)
        tiles += count_tiles(strip, reference)
        outlined = replace(strip, levels=perfect_outline_levels(strip, reference))
        outlined_pixels += PixelCounts.from_strip(outlined)
        outlined_tiles += count_tiles(outlined, reference)

    # other baselines predict one level everywhere; `prevalence_statistic` corrects that of the prevalence
    levels = {NOTHING: 0, EVERYTHING: LEVELS - 1, ALL_TISSUE: LEVELS - 1, PREVALENCE: 0}
    histograms = {
        name: (pixels.with_constant_level(level), tiles.with_constant_level(level))
        for name, level in levels.items()
    }
    histograms[PERFECT_OUTLINES] = (outlined_pixels, outlined_tiles)
    baselines = {
        name: MethodCounts(
            *histograms[name],
            compare_lesions(reference, baseline_regions(name, reference), lesions=annotated),
        )
        for name in BASELINES
    }
    return SlideScores(
        name=reference.name,
        patient=reference.patient,
        site=None,
        box=reference.box,
        mpp=reference.mpp,
        counts=MethodCounts(pixels, tiles, lesions),
        baselines=baselines,
    )
