"""Fainter findings, below the threshold in use: what a lower threshold would find besides."""

from dataclasses import replace

import numpy as np
import shapely

from histoscout.detection.heatmap import LEVELS, Heatmap
from histoscout.detection.outline import outline
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Detection

FAINTER = (1 / 2, 1 / 4)
"""Shares of the threshold at which more is outlined."""


def with_fainter(
    found: Regions, heatmap: Heatmap, label: str, threshold: float, choices: Detection
) -> Regions:
    """The regions found at the threshold in use, and those that only lower thresholds find, with lower scores.

    What is found at the threshold stays as it is. A fainter region that touches none found before it joins them,
    so that the curve over thresholds goes on below the one in use. Scores of the first are at least the threshold,
    of the others below it.
    """
    kept = [replace(region, score=max(region.score or 0.0, threshold)) for region in found]
    below = threshold - 0.5 / (LEVELS - 1)
    for share in FAINTER:
        fainter = outline(heatmap, label, share * threshold, choices)
        new = _touching_none(fainter, kept)
        kept += [replace(region, score=min(region.score or 0.0, below)) for region in new]
    return Regions.of(kept)


def _touching_none(regions: Regions, others: list[Region]) -> list[Region]:
    """The regions that meet none of the others."""
    if not len(regions) or not others:
        return list(regions)
    tree = shapely.STRtree([other.outline for other in others])
    met = set(
        np.unique(tree.query([region.outline for region in regions], predicate="intersects")[0]).tolist()
    )
    return [region for index, region in enumerate(regions) if index not in met]
