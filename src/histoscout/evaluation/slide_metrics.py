"""One slide judged: what a finder found on it, and what the baselines would have found.

What is gained without looking: finders that any model must beat, and one that has the outlines for nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.detection.heatmap import LEVELS, Heatmap
from histoscout.detection.postprocess import candidates, with_fainter
from histoscout.evaluation.lesions.class_auroc import ScoredOutline, score_outlines
from histoscout.evaluation.lesions.compare import Drawn, SlideLesions, compare_lesions, drawn_on
from histoscout.evaluation.pixels.counts import PixelCounts, count_tiles
from histoscout.evaluation.reference import Found, FoundHeatmap, FoundRegions, Ground, Strip, strips
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from histoscout.geometry.regions import Region, Regions, polygonal
from histoscout.geometry.vectorize import trace
from histoscout.recipe import BACKGROUND

NOTHING, EVERYTHING, ALL_TISSUE = "nothing", "everything", "all tissue"
PREVALENCE = "prevalence everywhere"
OUTLINED = "perfect outlines of every annotated class"
PREVIOUS = "previous model"

BASELINES: Mapping[str, str] = MappingProxyType(
    {
        NOTHING: "finds nothing",
        EVERYTHING: "calls the whole slide one lesion; as only tissue counts, its pixels are those of all tissue",
        ALL_TISSUE: "calls each piece of tissue one lesion",
        PREVALENCE: "says of every place that it is lesion as often as tissue is on average; finds no regions",
        OUTLINED: "outlines every annotated region exactly, but cannot tell one class from another",
    }
)


def baseline_regions(name: str, ground: Ground) -> Regions:
    """The regions that a baseline finds on a slide."""
    if name == EVERYTHING:
        return Regions.of([Region(shapely.box(*ground.box.bounds), ground.recipe.classes.positive, 1.0)])
    if name == ALL_TISSUE:
        pieces = trace(ground.tissue.mask, ground.box, ground.tissue.scale)
        # to the width of a cell of the tissue's mask: stairs of thousands of corners would only take time
        smooth = [polygonal(piece.simplify(ground.tissue.scale)) or piece for piece in pieces]
        return Regions.of(Region(piece, ground.recipe.classes.positive, 1.0) for piece in smooth)
    if name == OUTLINED:
        return ground.annotated
    return Regions()


def outlined_levels(strip: Strip, ground: Ground) -> NDArray[np.uint8]:
    """The heatmap of whoever outlines every annotated region exactly: uint8 (h, w)."""
    drawn = strip.mask != BACKGROUND
    if len(ground.unlisted):
        drawn |= label_map(((ground.unlisted, 1),), strip.box, strip.box.width / drawn.shape[1]) > 0
    return np.where(drawn, LEVELS - 1, 0).astype(np.uint8)


@dataclass(frozen=True)
class Counted:
    """What one finder gets on one slide: pixels, tiles and lesions, from which all of its figures are made."""

    pixels: PixelCounts
    tiles: PixelCounts
    lesions: SlideLesions


@dataclass(frozen=True)
class SlideScores:
    """One slide: whose it is, what the finder judged gets on it, and what each baseline gets (by name).

    `outlined` are the annotated regions of all classes with the heatmap's opinion of each; empty without one.
    `audited` are the lesions after a reader has judged findings; None where nobody did.
    `box` is the slide in level-0 px, of `mpp` um each.
    """

    name: str
    patient: str
    site: str | None
    box: Box
    mpp: float
    found: Counted
    baselines: Mapping[str, Counted]
    outlined: tuple[ScoredOutline, ...] = ()
    audited: SlideLesions | None = None

    @property
    def pixels(self) -> PixelCounts:
        return self.found.pixels

    @property
    def tiles(self) -> PixelCounts:
        return self.found.tiles

    @property
    def lesions(self) -> SlideLesions:
        return self.found.lesions

    @property
    def tissue_mm2(self) -> float:
        return self.lesions.tissue_mm2


def judge_heatmap(
    ground: Ground,
    heatmap: Heatmap,
    regions: Regions,
    threshold: float,
    cut_off: float | None = None,
    model_hash: str = "",
) -> SlideScores:
    """Judge what a model says of a slide: its heatmap, and the regions outlined in it at the threshold in use.

    With a cut-off, lesions are judged by the regions that reach it, as detection keeps them (`regions` are some of
    the candidates, which are outlined again); pixels and tiles are judged at the threshold all the same.
    """
    label, choices = ground.recipe.classes.positive, ground.recipe.detection
    if cut_off is None:
        every = with_fainter(regions, heatmap, label, threshold, choices, model_hash)
    else:
        every = candidates(heatmap, label, threshold, choices, model_hash)
    shown = FoundHeatmap(heatmap, label, ground.recipe.patches.mpp)
    drawn = drawn_on(ground)
    scores = _judge(ground, shown, drawn, compare_lesions(ground, every, cut_off or threshold, drawn))
    return replace(scores, outlined=score_outlines(ground, heatmap))


def judge_regions(ground: Ground, regions: Regions) -> SlideScores:
    """Judge outlines alone, whoever found them; a region without a score counts as certain."""
    mpp = ground.recipe.patches.mpp
    drawn, shown = drawn_on(ground), FoundRegions(regions, mpp, mpp / ground.mpp)
    return _judge(ground, shown, drawn, compare_lesions(ground, regions, drawn=drawn))


def _judge(ground: Ground, found: Found, drawn: Drawn, lesions: SlideLesions) -> SlideScores:
    model, outlined = _count(ground, found)
    flat = {NOTHING: 0, EVERYTHING: LEVELS - 1, ALL_TISSUE: LEVELS - 1, PREVALENCE: 0}
    counts = {name: (model[0].moved_to(level), model[1].moved_to(level)) for name, level in flat.items()}
    counts[OUTLINED] = outlined
    baselines = {
        name: Counted(*counts[name], compare_lesions(ground, baseline_regions(name, ground), drawn=drawn))
        for name in BASELINES
    }
    return SlideScores(
        ground.name, ground.patient, None, ground.box, ground.mpp, Counted(*model, lesions), baselines
    )


def _count(ground: Ground, found: Found) -> tuple[tuple[PixelCounts, PixelCounts], ...]:
    """Pixels and tiles of what was found, and of perfect outlines of every class, in one pass over the slide."""
    totals = [PixelCounts.none() for _ in range(4)]
    for strip in strips(ground, found, ground.recipe.patch_px):
        outlined = replace(strip, levels=outlined_levels(strip, ground))
        for index, each in enumerate((strip, outlined)):
            totals[2 * index] += PixelCounts.in_strip(each)
            totals[2 * index + 1] += count_tiles(each, ground)
    return (totals[0], totals[1]), (totals[2], totals[3])
