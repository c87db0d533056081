"""Each check of patches, masks and validation fails on its fault, and is good on sound data."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import shapely
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.regions import Region, Regions
from histoscout.network.detector import normalize
from histoscout.recipe import Recipe
from histoscout.recipe_sections import AugmentConfig
from histoscout.sampling.augment import draw_pose, read_augmented, vary_colors
from histoscout.sampling.datasets import Example, SampledExamples
from histoscout.training.loop import TrainingContext, ValidationResult, validation_batches
from histoscout.training.sanity.data import (
    NO_AUGMENTATION,
    InputRecorder,
    PatchLocation,
    Pixels,
    check_augmentation_varies,
    check_masks,
    check_patch_overlap,
    check_validation_batches,
    check_validation_unaugmented,
)
from histoscout.training.sanity.run import FixedSampler
from histoscout.training.validation import predict_logits, validate
from tests.toy import CHOICES, RECIPE
from tests.training.conftest import Parts

FLIPS = AugmentConfig(flip=True, rotate=False, scale=0, stain=0, brightness=0, blur=0, noise=0)


@pytest.fixture(scope="module")
def context(parts: Parts) -> TrainingContext:
    return parts[0]


@pytest.fixture(scope="module")
def slide(parts: Parts) -> LabeledSlide:
    return parts[2].train[0]


# ---------------------------------------------------------------- augmentation


def augmented(
    context: TrainingContext, random_of: Callable[[int], list[int]]
) -> Callable[[AugmentConfig, int], Pixels]:
    """One window as example `number` shows it, with the random state of `random_of(number)`."""
    window = context.training_examples.sampler.draw(0)
    labeled = context.training_examples.slides[window.slide]

    def read(choices: AugmentConfig, number: int) -> Pixels:
        random = np.random.default_rng(random_of(number))
        pose = draw_pose(choices, random)
        reads = (labeled.picture, labeled.mask)
        picture, _ = read_augmented(reads, window.box, mpp=context.recipe.patches.mpp, pose=pose)
        return vary_colors(picture, choices, random)

    return read


@pytest.mark.parametrize(
    "choices", [AugmentConfig(), FLIPS, NO_AUGMENTATION, NO_AUGMENTATION.model_copy(update={"stain": 0.05})]
)
def test_varied_examples_are_good(context: TrainingContext, choices: AugmentConfig) -> None:
    assert (
        check_augmentation_varies(augmented(context, lambda number: [0, number, 1]), choices).state == "good"
    )


@pytest.mark.parametrize("choices", [AugmentConfig(), FLIPS])
def test_constant_geometry_fails(context: TrainingContext, choices: AugmentConfig) -> None:
    verdict = check_augmentation_varies(augmented(context, lambda number: [0]), choices)
    assert verdict.state == "failed"
    assert "flips" in verdict.message


def test_varying_colors_do_not_hide_constant_geometry(context: TrainingContext) -> None:
    posed, colored = augmented(context, lambda number: [0]), augmented(context, lambda number: [number])

    def read(choices: AugmentConfig, number: int) -> Pixels:
        only_colors = not (choices.flip or choices.rotate or choices.scale)
        return (colored if only_colors else posed)(choices, number)

    verdict = check_augmentation_varies(read, AugmentConfig())
    assert verdict.state == "failed"
    assert "colors" not in verdict.message


def test_training_examples_are_varied(context: TrainingContext) -> None:
    window = context.training_examples.sampler.draw(0)

    def read(choices: AugmentConfig, number: int) -> Pixels:
        recipe = context.recipe.model_copy(update={"augment": choices})
        return replace(context.training_examples, sampler=FixedSampler(window), recipe=recipe)[number][0]

    assert check_augmentation_varies(read, context.recipe.augment).state == "good"


def test_plain_validation_is_good_and_flipped_validation_fails(context: TrainingContext) -> None:
    plain = [context.tuning_examples[number] for number in range(2)]
    assert check_validation_unaugmented(context.tuning_examples.__getitem__, plain).state == "good"

    def flipped(number: int) -> Example:
        picture, mask = context.tuning_examples[number]
        return picture[::-1], mask[::-1]

    assert check_validation_unaugmented(flipped, plain).state == "failed"


def test_validation_that_varies_sometimes_fails(context: TrainingContext) -> None:
    times = iter(range(100))

    def sometimes_flipped(number: int) -> Example:
        picture, mask = context.tuning_examples[number]
        return (picture[:, ::-1], mask[:, ::-1]) if next(times) % 2 else (picture, mask)

    assert check_validation_unaugmented(sometimes_flipped, [context.tuning_examples[0]]).state == "failed"


# ---------------------------------------------------------------- validation


def prepared(context: TrainingContext) -> Callable[[int], Tensor]:
    return lambda number: normalize(
        torch.from_numpy(context.tuning_examples[number][0])[None], context.recipe.network.input_channels
    )[0]


def validate_on(
    context: TrainingContext, batches: Callable[[], Iterator[tuple[Tensor, Tensor]]]
) -> Callable[[nn.Module], ValidationResult]:
    return lambda network: validate(
        predict_logits(network, batches(), context.recipe, context.fabric), context.loss
    )


def test_the_loop_validates_on_the_tuning_patches(context: TrainingContext) -> None:
    recorder = InputRecorder(3, predicts_tiles=False)
    verdict = check_validation_batches(
        context.validate, recorder, prepared(context), count=len(context.tuning_examples)
    )
    assert verdict.state == "good"
    assert len(recorder.recorded) == len(context.tuning_examples) == 8


def test_stale_validation_fails(context: TrainingContext) -> None:
    """As in the study: the network gets the last training batch, compared with the masks of the test patches."""
    stale, _ = next(context.make_batches(0, 1))

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _, masks in validation_batches(context.tuning_examples, context.recipe):
            yield stale, masks

    verdict = check_validation_batches(
        validate_on(context, batches),
        InputRecorder(3, predicts_tiles=False),
        prepared(context),
        count=len(context.tuning_examples),
    )
    assert verdict.state == "failed"


def test_a_repeated_or_missing_validation_batch_fails(context: TrainingContext) -> None:
    every = list(validation_batches(context.tuning_examples, context.recipe))
    for faulty in ([every[0]] * len(every), every[:-1]):
        validation = validate_on(context, lambda faulty=faulty: iter(faulty))  # type: ignore[misc]
        verdict = check_validation_batches(
            validation,
            InputRecorder(3, predicts_tiles=False),
            prepared(context),
            count=len(context.tuning_examples),
        )
        assert verdict.state == "failed"


def test_validation_without_patches_cannot_tell(context: TrainingContext) -> None:
    validation = validate_on(context, lambda: iter(()))
    assert (
        check_validation_batches(
            validation, InputRecorder(3, predicts_tiles=False), prepared(context), count=0
        ).state
        == "cannot tell"
    )


# ---------------------------------------------------------------- patch overlap


def test_tiles_in_both_sets_fail() -> None:
    tiles = [PatchLocation("slide", Box(100 * number, 0, 100, 100)) for number in range(10)]
    assert check_patch_overlap(tiles[:5], tiles[5:]).state == "good"  # neighbours touch, and share nothing
    verdict = check_patch_overlap(tiles[:6], tiles[5:])
    assert verdict.state == "failed"
    assert verdict.message.startswith("1 of 6")


def test_the_same_place_on_two_slides_is_no_leakage() -> None:
    box = Box(0, 0, 100, 100)
    assert check_patch_overlap([PatchLocation("a", box)], [PatchLocation("b", box)]).state == "good"


def test_partial_overlap_fails() -> None:
    first, second = PatchLocation("a", Box(0, 0, 100, 100)), PatchLocation("a", Box(99, 99, 100, 100))
    assert check_patch_overlap([first], [second]).state == "failed"


# ---------------------------------------------------------------- masks


def ring(x: float, y: float) -> Region:
    outer, inner = (shapely.Point(x, y).buffer(radius) for radius in (40, 20))
    return Region(shapely.Polygon(outer.exterior, [inner.exterior]), "UDH")


@pytest.fixture
def ringed(slide: LabeledSlide) -> list[LabeledSlide]:
    """Rings beside each other, and one crossed by an ignored area."""
    drawn = [ring(100, 100), ring(190, 100), ring(150, 180), ring(350, 350)]
    unsure = Region(shapely.box(350, 300, 400, 400), "ignore")
    return [replace(slide, regions=Regions.of([*drawn, unsure]))]


def test_masks_of_histoscout_match(ringed: list[LabeledSlide], parts: Parts) -> None:
    verdict = check_masks(LabeledSlide.mask, ringed, mpp=2.0)
    assert verdict.state == "good"
    assert check_masks(LabeledSlide.mask, parts[2].train, mpp=4.0).state == "good"


def last_wins(labeled: LabeledSlide, box: Box, mpp: float) -> NDArray[np.uint8]:
    """Fault B: each region starts a new mask."""
    mask = np.zeros(box.shape(mpp / labeled.slide.mpp), np.uint8)
    for region in labeled.regions.with_labels("UDH").intersecting(box):
        mask = polygon_to_mask(region.outline, box, mpp / labeled.slide.mpp).astype(np.uint8)
    return mask


def holes_filled(labeled: LabeledSlide, box: Box, mpp: float) -> NDArray[np.uint8]:
    """Fault B, the other half: holes are filled."""
    filled = [
        replace(region, outline=shapely.Polygon(region.outline.exterior))  # type: ignore[union-attr]
        for region in labeled.regions.with_labels("UDH")
    ]
    return replace(labeled, regions=Regions.of(filled)).mask(box, mpp)


@pytest.mark.parametrize("faulty", [last_wins, holes_filled])
def test_last_polygon_wins_fails(
    ringed: list[LabeledSlide], faulty: Callable[[LabeledSlide, Box, float], NDArray[np.uint8]]
) -> None:
    verdict = check_masks(faulty, ringed, mpp=2.0)
    assert verdict.state == "failed"


def test_a_mask_at_the_wrong_place_fails(ringed: list[LabeledSlide]) -> None:
    """Fault A: a mask that is mirrored within its patch has the right area."""
    verdict = check_masks(lambda labeled, box, mpp: labeled.mask(box, mpp)[::-1], ringed, mpp=2.0)
    assert verdict.state == "failed"


def test_masks_without_annotations_cannot_tell(slide: LabeledSlide) -> None:
    assert check_masks(LabeledSlide.mask, [replace(slide, regions=Regions())], mpp=2.0).state == "cannot tell"


def test_no_augmentation_means_that_nothing_varies(context: TrainingContext) -> None:
    recipe = Recipe.from_dict({**CHOICES, "augment": NO_AUGMENTATION.model_dump()})
    examples = SampledExamples(
        context.training_examples.slides, FixedSampler(context.training_examples.sampler.draw(0)), recipe
    )
    assert np.array_equal(examples[0][0], examples[1][0])
    assert RECIPE.augment != NO_AUGMENTATION
