"""One slide judged: what a finder found on it, and what the baselines would have found."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from histoscout.detection.candidates import candidates, with_fainter
from histoscout.detection.heatmap import LEVELS, Heatmap
from histoscout.evaluation.baselines import (
    ALL_TISSUE,
    BASELINES,
    EVERYTHING,
    NOTHING,
    OUTLINED,
    PREVALENCE,
    baseline_regions,
    outlined_levels,
)
from histoscout.evaluation.compare import SlideLesions, compare_lesions
from histoscout.evaluation.drawn import Drawn, drawn_on
from histoscout.evaluation.ground import Found, FoundHeatmap, FoundRegions, Ground, strips
from histoscout.evaluation.outlined import ScoredOutline, score_outlines
from histoscout.evaluation.pixels import PixelCounts
from histoscout.evaluation.tiles import count_tiles
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions


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
    shown = FoundHeatmap(heatmap, label, ground.recipe.windows.mpp)
    drawn = drawn_on(ground)
    scores = _judge(ground, shown, drawn, compare_lesions(ground, every, cut_off or threshold, drawn))
    return replace(scores, outlined=score_outlines(ground, heatmap))


def judge_regions(ground: Ground, regions: Regions) -> SlideScores:
    """Judge outlines alone, whoever found them; a region without a score counts as certain."""
    mpp = ground.recipe.windows.mpp
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
    for strip in strips(ground, found, ground.recipe.window_px):
        outlined = replace(strip, levels=outlined_levels(strip, ground))
        for index, each in enumerate((strip, outlined)):
            totals[2 * index] += PixelCounts.in_strip(each)
            totals[2 * index + 1] += count_tiles(each, ground)
    return (totals[0], totals[1]), (totals[2], totals[3])
