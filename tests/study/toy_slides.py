"""Slides in memory for the faults: toy tissue, outlines of one's own choice."""

from collections.abc import Sequence

import numpy as np
import shapely

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe
from histoscout.slides.image_reader import in_memory
from histoscout.study.bench import own_recipe
from histoscout.tissue.mask import find_tissue
from tests import toy

SIDE = 64  # of a tile, in um, in px of the toy slides and as networks see it


def recipe(**more: object) -> Recipe:
    """The study's U-Net recipe for toy slides of 1 um/px, as narrow as can be."""
    choices = {
        "patches.size_um": float(SIDE),
        "patches.mpp": 1.0,
        "tissue.mpp": 1.0,
        "network.decoder_channels": (8, 4, 4),
    }
    return own_recipe("unet").with_choices(choices | more)


def labeled(
    outlines: Sequence[shapely.Polygon] | None = None, seed: int = 0, patient: str = "A"
) -> LabeledSlide:
    """A toy slide of 8 x 8 tiles with its own regions, or with these outlines as UDH."""
    pixels, regions = toy.draw(seed)
    if outlines is not None:
        regions = Regions.of(Region(outline, "UDH") for outline in outlines)
    slide, choices = in_memory(pixels, 1.0, f"toy {seed}"), recipe()
    tissue = find_tissue(slide, choices.tissue, choices.patches)
    return LabeledSlide(slide, patient, regions, tissue, choices)


def whole_mask(slide: LabeledSlide) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The mask of the whole slide at 1 um/px."""
    return slide.mask(slide.slide.box, 1.0)
