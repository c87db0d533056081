"""What to annotate next: slides on which the model is unsure and that look unlike those it knows.

Uncertainty is the area of tissue for which the heatmap says neither yes nor no. Novelty is the distance, in the measures of
`domain_shift`, to the nearest slide that is known or stands higher in the list, so that alike slides do not follow each
other. Sener & Savarese (2018, ICLR) choose by coverage in this way; here it is added to the uncertainty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoscout.cohort.case import Case, open_case
from histoscout.detection.domain_shift import MEASURES, measure_appearance
from histoscout.detection.heatmap import LEVELS, Heatmap, read_heatmap
from histoscout.detection.results import ResultFolder
from histoscout.geometry.regions import Region
from histoscout.io.tables import write_csv
from histoscout.recipe import Recipe
from histoscout.review.review import Review
from histoscout.tissue.mask import find_tissue

LEAST = 0.1
"""Probability from which a place counts as uncertain; below, all tissue of a slide would add up to much."""

SLIDE_COLUMNS = ("rank", "slide", "uncertain_mm2", "novelty", "open_findings", "most_uncertain_finding")
REGION_COLUMNS = ("rank", "slide", "id", "score", "uncertainty", "x_px", "y_px")


@dataclass(frozen=True, kw_only=True)
class SlideEvidence:
    """What a ranking goes by.

    Attributes:
        slide: Name of the slide.
        uncertain_mm2: Area for which the model says neither yes nor no, each place weighted by 4 p (1 - p).
        appearance: `domain_shift.MEASURES` of its tissue; None if the slide could not be measured.
        findings: Findings that nobody judged, the most uncertain first.
    """

    slide: str
    uncertain_mm2: float
    appearance: Mapping[str, float] | None = None
    findings: tuple[Region, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RankedSlide:
    """A slide in the order of annotation.

    Attributes:
        evidence: What it is ranked by.
        novelty: Distance to the nearest slide that is known or ranks higher, in standard deviations; None for the first
            slide of all, and for slides that could not be measured.
    """

    evidence: SlideEvidence
    novelty: float | None


def uncertainty(score: float) -> float:
    """How unsure a score is: 1 at 0.5, 0 at 0 and 1.

    Args:
        score: A probability.

    Example:
        >>> uncertainty(0.5), uncertainty(1.0)
        (1.0, 0.0)
    """
    return 4 * score * (1 - score)


def uncertain_area(heatmap: Heatmap) -> float:
    """The area for which a heatmap says neither yes nor no, in mm2.

    Args:
        heatmap: The heatmap; its first class counts.
    """
    counts = np.bincount(heatmap.levels(heatmap.labels[0]).ravel(), minlength=LEVELS)
    probabilities = np.arange(LEVELS) / (LEVELS - 1)
    weights = np.where(probabilities >= LEAST, 4 * probabilities * (1 - probabilities), 0.0)
    return float(counts @ weights) * heatmap.mpp * heatmap.mpp * 1e-6


def measure_evidence(case: Case, output: ResultFolder, review: Review) -> SlideEvidence:
    """Measure what a slide is ranked by.

    Args:
        case: The slide; where it is gone, its appearance is not measured.
        output: The results.
        review: The review.

    Returns:
        The evidence.

    Raises:
        OutputError: The heatmap cannot be read.
        SlideError: The slide cannot be read.
    """
    heatmap = read_heatmap(output.heatmap(case.name))
    state = review.slide(case.name)
    unjudged = [region for region in review.findings(case.name) if state.outcome(region.id) == "open"]
    unjudged.sort(key=lambda region: (-uncertainty(region.score or 0.0), region.id))
    return SlideEvidence(
        slide=case.name,
        uncertain_mm2=uncertain_area(heatmap),
        appearance=measure_slide(case, heatmap.mpp) if case.slide.exists() else None,
        findings=tuple(unjudged),
    )


def measure_slide(case: Case, mpp: float) -> Mapping[str, float] | None:
    """Measure how the tissue of a slide looks.

    Args:
        case: The slide.
        mpp: Resolution in um/px.

    Returns:
        `domain_shift.MEASURES`; None without tissue.

    Raises:
        SlideError: The slide cannot be read.
    """
    usual = Recipe()
    with open_case(case) as slide:
        return measure_appearance(slide, find_tissue(slide, usual.tissue, usual.patches), mpp)


def rank_slides(
    candidates: Sequence[SlideEvidence], known: Sequence[Mapping[str, float]] = ()
) -> list[RankedSlide]:
    """Rank slides by uncertainty and novelty, each slide after the ones above it.

    Args:
        candidates: The slides.
        known: Appearance of slides that are annotated already.

    Returns:
        The slides, the one to annotate first at the front; the order of `candidates` does not matter.

    Example:
        >>> unsure, sure = (SlideEvidence(slide=name, uncertain_mm2=area) for name, area in (("A", 2.0), ("B", 0.1)))
        >>> [ranked.evidence.slide for ranked in rank_slides([sure, unsure])]
        ['A', 'B']
    """
    left = sorted(candidates, key=lambda one: (-one.uncertain_mm2, one.slide))
    share = {one.slide: 1 - place / len(left) for place, one in enumerate(left)}
    points = _normalized([*(one.appearance for one in left), *known])
    place = {one.slide: points[number] for number, one in enumerate(left)}
    reached = [point for point in points[len(left) :] if point is not None]
    ranked: list[RankedSlide] = []
    while left:
        novelty = {one.slide: _distance(place[one.slide], reached) for one in left}
        farthest = max((value for value in novelty.values() if value), default=1.0)
        best = max(left, key=lambda one: share[one.slide] + (novelty[one.slide] or 0.0) / farthest)
        ranked.append(RankedSlide(evidence=best, novelty=novelty[best.slide]))
        left.remove(best)
        if (point := place[best.slide]) is not None:
            reached.append(point)
    return ranked


Point = NDArray[np.float64]
"""The measures of a slide, each in standard deviations: (N,) float64."""


def _normalized(appearances: Sequence[Mapping[str, float] | None]) -> list[Point | None]:
    """Measures in standard deviations over all slides; one that hardly varies in steps that can be seen."""
    rows = [None if one is None else np.array([one[name] for name in MEASURES]) for one in appearances]
    present = [row for row in rows if row is not None]
    if not present:
        return [None] * len(rows)
    spread = np.maximum(np.std(present, axis=0), [step for _, step in MEASURES.values()])
    return [None if row is None else row / spread for row in rows]


def _distance(point: Point | None, reached: Sequence[Point]) -> float | None:
    if point is None or not reached:
        return None
    return min(float(np.linalg.norm(point - other)) for other in reached)


def write_ranking(ranked: Sequence[RankedSlide], folder: Path) -> tuple[Path, Path]:
    """Write a ranking: the slides, and their findings, the most uncertain first.

    Args:
        ranked: The slides in their order.
        folder: The folder; existing tables are replaced.

    Returns:
        rank_slides.csv and rank_regions.csv.

    Raises:
        OutputError: A file cannot be written.
    """
    slides, regions = folder / "rank_slides.csv", folder / "rank_regions.csv"
    write_csv(slides, SLIDE_COLUMNS, [slide_row(number, one) for number, one in enumerate(ranked, 1)])
    findings = [(one.evidence.slide, region) for one in ranked for region in one.evidence.findings]
    findings.sort(key=lambda pair: -uncertainty(pair[1].score or 0.0))
    rows = []
    for number, (slide, region) in enumerate(findings, 1):
        center = region.outline.centroid
        score = region.score or 0.0
        numbers = (f"{score:.4f}", f"{uncertainty(score):.4f}", f"{center.x:.6g}", f"{center.y:.6g}")
        rows.append((number, slide, region.id, *numbers))
    write_csv(regions, REGION_COLUMNS, rows)
    return slides, regions


def slide_row(number: int, ranked: RankedSlide) -> tuple[object, ...]:
    """The row of a slide in a table.

    Args:
        number: Its rank, from 1.
        ranked: The slide.
    """
    evidence = ranked.evidence
    first = evidence.findings[0].id if evidence.findings else ""
    novelty = "" if ranked.novelty is None else f"{ranked.novelty:.2f}"
    return number, evidence.slide, f"{evidence.uncertain_mm2:.4f}", novelty, len(evidence.findings), first
