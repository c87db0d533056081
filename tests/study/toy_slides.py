"""Slides in memory for the faults: toy tissue with any outlines."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import shapely

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe
from histoscout.slides.image_reader import slide_from_array
from histoscout.study.context import read_study_recipe
from histoscout.tissue.mask import find_tissue
from tests import toy

SIDE = 64
"""Side of a tile: in um, in px of the toy slides, and in px of the network's input."""


def make_recipe(**more: object) -> Recipe:
    """The study's U-Net recipe for toy slides of 1 um/px, as narrow as can be."""
    choices = {
        "patches.size_um": float(SIDE),
        "patches.mpp": 1.0,
        "tissue.mpp": 1.0,
        "network.decoder_channels": (8, 4, 4),
    }
    return read_study_recipe("unet").with_choices(choices | more)


def labeled(
    outlines: Sequence[shapely.Polygon] | None = None, seed: int = 0, patient: str = "A"
) -> LabeledSlide:
    """A toy slide of 8 x 8 tiles with its own regions, or with these outlines as UDH."""
    slide = replace(_toy_slide(seed), patient=patient)
    if outlines is None:
        return slide
    return replace(slide, regions=Regions.of(Region(outline, "UDH") for outline in outlines))


@cache
def _toy_slide(seed: int) -> LabeledSlide:
    pixels, regions = toy.draw(seed)
    slide, recipe = slide_from_array(pixels, 1.0, f"toy {seed}"), make_recipe()
    tissue = find_tissue(slide, recipe.tissue, recipe.patches)
    return LabeledSlide(slide, "A", regions, tissue, recipe)
