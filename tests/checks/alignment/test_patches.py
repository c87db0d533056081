"""Masks of patches belong to their images, or the mistake is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.checks.alignment.patch_scoring import straightness
from histoscout.checks.alignment.patches import (
    RECTANGLES,
    PatchFit,
    check_cohort_patches,
    check_patch_alignment,
    check_training_patches,
    patch_verdict,
)
from histoscout.checks.integrity import load_case
from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.cohort.cohort import read_cohort
from histoscout.geometry.box import Box
from histoscout.recipe import Recipe
from histoscout.sampling.datasets import SampledExamples
from histoscout.sampling.sampler import PatchSampler
from histoscout.slides.image_reader import slide_from_array
from histoscout.tissue.mask import find_tissue
from tests import toy
from tests.checks.test_run import RECIPE as COHORT_RECIPE

Mask = NDArray[np.uint8]
RECIPE = Recipe.from_dict({**toy.CHOICES, "patches": {"mpp": 2.0, "size_um": 128.0}})
STILL = RECIPE.with_choices({"augment.rotate": False, "augment.flip": False, "augment.scale": 0.0})
COUNT = 64


class Misread(LabeledSlide):
    """A slide whose masks come from the tile above, upside down: a fault of the study."""

    def mask(self, box: Box, mpp: float) -> Mask:
        return np.flipud(super().mask(box.translate(0, -box.height), mpp)).copy()


@pytest.fixture(scope="module")
def slides() -> list[LabeledSlide]:
    made = []
    for seed in range(4):
        pixels, regions = toy.draw(seed)
        slide = slide_from_array(pixels, toy.MPP, f"toy {seed}")
        tissue = find_tissue(slide, RECIPE.tissue, RECIPE.patches)
        made.append(LabeledSlide(slide, f"{seed}", regions, tissue, RECIPE))
    return made


def examples(slides: list[LabeledSlide], recipe: Recipe = RECIPE) -> SampledExamples:
    return SampledExamples(slides, PatchSampler(slides, recipe, {}), recipe)


def misread(slides: list[LabeledSlide]) -> list[LabeledSlide]:
    return [Misread(one.slide, one.patient, one.regions, one.tissue, one.recipe) for one in slides]


@pytest.mark.parametrize("recipe", [RECIPE, STILL], ids=["turned", "still"])
def test_masks_that_fit_are_good(slides: list[LabeledSlide], recipe: Recipe) -> None:
    made = examples(slides, recipe)
    assert check_training_patches(made, COUNT).state == "good"
    assert (
        check_patch_alignment([made[number] for number in range(COUNT)], recipe.patches.mpp).state == "good"
    )


@pytest.mark.parametrize("recipe", [RECIPE, STILL], ids=["turned", "still"])
def test_masks_of_the_tile_above_are_found(slides: list[LabeledSlide], recipe: Recipe) -> None:
    made = examples(misread(slides), recipe)
    assert check_training_patches(made, COUNT).state == "failed"


def changed(change: Callable[..., Mask]) -> Callable[[list[tuple[Mask, Mask]]], list[tuple[Mask, Mask]]]:
    return lambda pairs: [(picture, np.ascontiguousarray(change(mask))) for picture, mask in pairs]


FAULTS: dict[str, Callable[[list[tuple[Mask, Mask]]], list[tuple[Mask, Mask]]]] = {
    "mirrored top to bottom": changed(np.flipud),
    "mirrored left to right": changed(np.fliplr),
    "rows and columns swapped": changed(np.transpose),
    "shifted right by 0.25 of a patch": changed(lambda mask: np.roll(mask, mask.shape[1] // 4, 1)),
    "no better than": lambda pairs: [
        (picture, pairs[(place + 5) % len(pairs)][1]) for place, (picture, _) in enumerate(pairs)
    ],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_happened_to_masks_is_found_and_named(slides: list[LabeledSlide], fault: str) -> None:
    made = examples(slides, STILL)
    pairs = FAULTS[fault]([made[number] for number in range(COUNT)])
    verdict = check_patch_alignment(pairs, STILL.patches.mpp)
    assert verdict.state == "failed"
    assert fault in verdict.message


def boxed(mask: Mask) -> Mask:
    """The mask with each of its lesions as the rectangle round it."""
    pieces, _ = ndimage.label(mask)
    drawn = np.zeros_like(mask)
    for number, places in enumerate(ndimage.find_objects(pieces), 1):
        drawn[places] = mask[pieces == number].max()
    return drawn


def test_rectangles_that_fit_nothing_are_not_called_faulty(slides: list[LabeledSlide]) -> None:
    made = examples(slides, STILL)
    pairs = [(picture, boxed(mask)) for picture, mask in (made[number] for number in range(COUNT))]
    assert straightness(mask for _, mask in pairs) > RECTANGLES
    strangers = FAULTS["no better than"](pairs)
    verdict = check_patch_alignment(strangers, STILL.patches.mpp)
    assert verdict.state == "cannot tell"
    assert "rectangles" in verdict.message
    assert check_patch_alignment(pairs, STILL.patches.mpp).state == "good"
    mirrored = FAULTS["mirrored top to bottom"](pairs)
    assert check_patch_alignment(mirrored, STILL.patches.mpp).state == "failed"


@pytest.mark.parametrize(("fit", "state"), [(50.0, "good"), (20.0, "cannot tell"), (1.0, "failed")])
def test_more_windows_must_fit_better(fit: float, state: str) -> None:
    assert patch_verdict(PatchFit(given=fit, patches=100)).state == state


def test_too_few_windows_cannot_tell(slides: list[LabeledSlide]) -> None:
    made = examples(slides)
    assert check_patch_alignment([made[number] for number in range(8)], 2.0).state == "cannot tell"
    tiles = [(made[number][0], np.array(1, np.uint8)) for number in range(COUNT)]
    assert check_patch_alignment(tiles, 2.0).state == "cannot tell"


def test_lesions_that_look_like_all_else_stop_no_training(slides: list[LabeledSlide]) -> None:
    random = np.random.default_rng(0)
    gray = [
        replace(
            one, slide=slide_from_array(random.integers(150, 200, (512, 512, 3)).astype(np.uint8), toy.MPP)
        )
        for one in slides
    ]
    assert check_training_patches(examples(gray), COUNT).state != "failed"


def test_masks_that_lose_their_lesions_on_the_way_are_found(slides: list[LabeledSlide]) -> None:
    made = examples(slides)
    pairs = [made[number] for number in range(COUNT)]
    empty = [(picture, mask if place < 8 else mask * 0) for place, (picture, mask) in enumerate(pairs)]
    verdict = check_patch_alignment(empty, RECIPE.patches.mpp, pairs)
    assert verdict.state == "failed"
    assert "directly from the slides" in verdict.message


# ---------------------------------------------------------------- cohorts


def test_patches_of_a_cohort_fit_also_for_a_class_that_does_not_occur(table: Path) -> None:
    cases = [load_case(case) for case in read_cohort(table).cases]
    assert check_cohort_patches(cases, COHORT_RECIPE).state == "good"
    absent = COHORT_RECIPE.with_choices({"classes.positive": "DCIS"})
    assert check_cohort_patches(cases, absent).state == "good"


def test_strong_colors_are_no_displacement(table: Path) -> None:
    cases = [load_case(case) for case in read_cohort(table).cases]
    strong = {"augment.stain": 0.1, "augment.brightness": 0.2}
    assert check_cohort_patches(cases, COHORT_RECIPE.with_choices(strong)).state == "good"


def test_a_cohort_without_annotations_cannot_tell(table: Path) -> None:
    bare = [load_case(replace(case, annotations=None)) for case in read_cohort(table).cases]
    assert check_cohort_patches(bare, Recipe()).state == "cannot tell"
