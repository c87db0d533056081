"""Slides in memory for the faults: toy tissue, outlines of one's own choice."""

from collections.abc import Sequence

import numpy as np
import shapely

from histoscout.cohort.annotated_slide import LabelledSlide
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
        "windows.side_um": float(SIDE),
        "windows.mpp": 1.0,
        "tissue.mpp": 1.0,
        "network.widths": (8, 4, 4),
    }
    return own_recipe("unet").with_choices(choices | more)


def labelled(
    outlines: Sequence[shapely.Polygon] | None = None, seed: int = 0, patient: str = "A"
) -> LabelledSlide:
    """A toy slide of 8 x 8 tiles with its own regions, or with these outlines as UDH."""
    pixels, regions = toy.draw(seed)
    if outlines is not None:
        regions = Regions.of(Region(outline, "UDH") for outline in outlines)
    slide, choices = in_memory(pixels, 1.0, f"toy {seed}"), recipe()
    tissue = find_tissue(slide, choices.tissue, choices.windows)
    return LabelledSlide(slide, patient, regions, tissue, choices)


def whole_mask(slide: LabelledSlide) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The mask of the whole slide at 1 um/px."""
    return slide.mask(slide.slide.box, 1.0)
