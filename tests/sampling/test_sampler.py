"""Patches are seeded, balanced, and outside the tuning blocks, whatever the number of workers."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from histoscout.cohort.annotated_slide import LabeledSlide, intersects_any, open_labeled_slide
from histoscout.cohort.cohort import read_cohort
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import BACKGROUND, IGNORE, Recipe
from histoscout.sampling.datasets import PlainExamples, SampledExamples, class_shares, make_target
from histoscout.sampling.sampler import PatchSampler, choose_evenly, grid_patches
from histoscout.training.loop import training_batches
from tests import toy

RECIPE = Recipe.from_dict(
    {
        "patches": {"mpp": 2.0, "size_um": 128.0},
        "classes": {"other": ["ADH"]},
        "tissue": {"artifacts": False},
        "training": {"batch_size": 4, "epochs": 1},
    }
)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[LabeledSlide]:
    cohort = read_cohort(toy.write_cohort(tmp_path_factory.mktemp("toy")))
    return [open_labeled_slide(case, RECIPE)[0] for case in cohort.cases]


def test_a_patch_depends_on_seed_and_number_alone(slides: list[LabeledSlide]) -> None:
    forwards = [PatchSampler(slides, RECIPE, {}).draw(number) for number in range(30)]
    backwards = [PatchSampler(slides, RECIPE, {}).draw(number) for number in reversed(range(30))]
    assert forwards == backwards[::-1]
    other_seed = PatchSampler(slides, RECIPE.with_choices({"seed": 1}), {})
    assert forwards != [other_seed.draw(number) for number in range(30)]


def test_kinds_have_the_shares_of_the_recipe_and_patients_are_balanced(slides: list[LabeledSlide]) -> None:
    sampler = PatchSampler(slides, RECIPE, {})
    patches = [sampler.draw(number) for number in range(600)]
    kinds = Counter(patch.kind for patch in patches)
    assert kinds["positive"] / 600 == pytest.approx(0.4, abs=0.08)
    assert kinds["other"] / 600 == pytest.approx(0.2, abs=0.08)
    assert min(Counter(patch.slide for patch in patches).values()) > 600 / 4 * 0.7


def test_positive_patches_show_the_class(slides: list[LabeledSlide]) -> None:
    sampler = PatchSampler(slides, RECIPE, {})
    patches = [patch for number in range(80) if (patch := sampler.draw(number)).kind == "positive"]
    shown = [(slides[patch.slide].mask(patch.box, 2.0) == 1).any() for patch in patches]
    assert np.mean(shown) > 0.9


def test_patches_of_tissue_are_outside_ignored_regions(slides: list[LabeledSlide]) -> None:
    left = Region(shapely.box(0, 0, 256, 512), "ignore")
    half = [replace(slide, regions=Regions.of([*slide.regions, left])) for slide in slides]
    sampler = PatchSampler(half, RECIPE.with_choices({"sampler.jitter": 0.0}), {})
    patches = [patch for number in range(300) if (patch := sampler.draw(number)).kind == "tissue"]
    assert min(patch.box.center[0] for patch in patches) >= 256


def test_no_patch_touches_an_excluded_box(slides: list[LabeledSlide]) -> None:
    excluded = {index: [Box(0, 0, 250, 512)] for index in range(4)}
    sampler = PatchSampler(slides, RECIPE, excluded)
    assert not any(intersects_any(excluded[0], sampler.draw(number).box) for number in range(200))


def test_validation_patches_are_the_grid_and_never_vary(slides: list[LabeledSlide]) -> None:
    patches = grid_patches(slides, RECIPE, {})
    assert len(patches) == 4 * 16
    examples = PlainExamples(slides=slides, patches=patches, recipe=RECIPE)
    image, mask = examples[5]
    assert np.array_equal(image, PlainExamples(slides=slides, patches=patches, recipe=RECIPE)[5][0])
    assert image.shape == (64, 64, 3)
    assert mask.shape == (64, 64)
    assert len(choose_evenly(patches, 10, 0)) == 10
    assert choose_evenly(patches, 10, 0) == choose_evenly(patches, 10, 0)


def test_validation_patches_are_read_once_while_the_cache_has_space(
    slides: list[LabeledSlide], monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = grid_patches(slides, RECIPE, {})
    monkeypatch.setattr("histoscout.sampling.datasets.CACHE_BYTES", 3 * 64 * 64 * 4)
    examples = PlainExamples(slides=slides, patches=patches, recipe=RECIPE)
    first, again = ([examples[number] for number in range(5)] for _ in range(2))
    assert sorted(examples.cache) == [0, 1, 2]
    assert first[2] is again[2]
    assert all(np.array_equal(before[0], after[0]) for before, after in zip(first, again, strict=True))


def test_grid_patches_are_in_the_tuning_blocks(slides: list[LabeledSlide]) -> None:
    block = [Box(0, 0, 200, 200)]
    patches = grid_patches(slides, RECIPE, {0: block, 1: block, 2: block, 3: block})
    assert patches
    assert all(intersects_any(block, patch.box) for patch in patches)


def test_image_and_mask_show_the_same_place(slides: list[LabeledSlide]) -> None:
    calm = RECIPE.with_choices({f"augment.{name}": 0 for name in ("stain", "brightness", "blur", "noise")})
    examples = SampledExamples(slides, PatchSampler(slides, calm, {}), calm)
    dark, light = [], []
    for number in range(40):
        image, mask = examples[number]
        assert image.dtype == mask.dtype == np.uint8
        red = image[..., 0].astype(float)
        dark.extend(red[mask == 1])
        light.extend(red[mask == BACKGROUND])
    assert np.mean(dark) < 135 < 190 < np.mean(light)


def test_batches_are_the_same_whatever_the_number_of_workers(slides: list[LabeledSlide]) -> None:
    examples = SampledExamples(slides, PatchSampler(slides, RECIPE, {}), RECIPE)
    seen = []
    for workers in (0, 2):
        recipe = RECIPE.with_choices({"training.workers": workers})
        seen.append(list(training_batches(examples, recipe, start=1, stop=4)))
    assert len(seen[0]) == len(seen[1]) == 3
    for alone, shared in zip(*seen, strict=True):
        assert all(bool((first == second).all()) for first, second in zip(alone, shared, strict=True))


def test_a_tile_has_the_class_that_covers_enough_of_it() -> None:
    recipe = RECIPE.with_choices({"network.architecture": "timm", "network.encoder": "densenet121"})
    mask = np.zeros((10, 10), np.uint8)
    assert make_target(mask, recipe) == BACKGROUND
    mask[0] = 1
    assert make_target(mask, recipe) == IGNORE
    mask[:3] = 1
    assert make_target(mask, recipe) == 1
    assert make_target(np.full((10, 10), IGNORE, np.uint8), recipe) == IGNORE
    any_cover = recipe.with_choices({"patches.tile_coverage": 0.0})
    mask = np.zeros((10, 10), np.uint8)
    mask[4, 4] = 2
    assert make_target(mask, any_cover) == 2
    assert make_target(np.zeros((10, 10), np.uint8), any_cover) == BACKGROUND


def test_class_shares_are_those_of_the_patches(slides: list[LabeledSlide]) -> None:
    examples = SampledExamples(slides, PatchSampler(slides, RECIPE, {}), RECIPE)
    shares = class_shares(examples, 30)
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(1)
    assert 0.05 < shares[1] < 0.6


def test_slides_are_pickled_by_their_path(slides: list[LabeledSlide], tmp_path: Path) -> None:
    import pickle

    again: LabeledSlide = pickle.loads(pickle.dumps(slides[0]))  # noqa: S301
    box = Box(10, 20, 64, 64)
    assert np.array_equal(again.picture(box, 1.0), slides[0].picture(box, 1.0))
    assert len(pickle.dumps(slides[0].slide)) < 5000


def test_the_grid_leaves_out_ignored_regions(slides: list[LabeledSlide]) -> None:
    left = Region(shapely.box(0, 0, 256, 512), "ignore")
    half = [replace(slide, regions=Regions.of([*slide.regions, left])) for slide in slides]
    assert min(patch.box.right for patch in grid_patches(half, RECIPE, {})) > 256


def test_no_rotated_patch_shows_an_excluded_box(slides: list[LabeledSlide]) -> None:
    """Rotated by 45 degrees and with structures shrunk, a patch shows more than its box."""
    excluded = {index: [Box(0, 0, 150, 512)] for index in range(4)}
    sampler = PatchSampler(slides, RECIPE, excluded)
    farthest = (math.sqrt(2) * (1 + RECIPE.augment.scale) - 1) / 2
    for number in range(100):
        box = sampler.draw(number).box
        assert box.x - farthest * box.width >= 150 - 1e-6
    still = RECIPE.with_choices({"augment.rotate": False, "augment.scale": 0.0})
    nearest = min(PatchSampler(slides, still, excluded).draw(number).box.x for number in range(400))
    assert nearest < 150 + farthest * 64
