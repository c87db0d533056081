"""Toy slides, prepared for the alignment check."""

from collections.abc import Callable

import pytest

from histoscout.checks.alignment.slides import AlignmentSubject, prepare_subject
from histoscout.slides.image_reader import slide_from_array
from histoscout.tissue.mask import find_tissue
from tests import toy

TILE_UM = 128.0


def toy_subject(seed: int) -> AlignmentSubject:
    """A toy slide with nine lesions and look-alikes, and the outlines that fit them."""
    pixels, regions = toy.draw(seed, lesions=5)
    slide = slide_from_array(pixels, toy.MPP, f"toy {seed}")
    tissue = find_tissue(slide, toy.RECIPE.tissue, toy.RECIPE.patches)
    return prepare_subject(slide, regions, tissue, tile_um=TILE_UM)


@pytest.fixture(scope="session")
def subjects() -> Callable[[int], AlignmentSubject]:
    """Toy slides by their seeds, each measured once."""
    known: dict[int, AlignmentSubject] = {}

    def subject(seed: int) -> AlignmentSubject:
        if seed not in known:
            known[seed] = toy_subject(seed)
        return known[seed]

    return subject
