"""What is gained without looking: finders that any model must beat, and one that has the outlines for nothing."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.detection.heatmap import LEVELS
from histoscout.evaluation.ground import Ground, Strip
from histoscout.geometry.raster import label_map
from histoscout.geometry.regions import Region, Regions, polygonal
from histoscout.geometry.trace import trace
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
