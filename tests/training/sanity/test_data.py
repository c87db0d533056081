"""Each guard over windows, masks and validation speaks when its fault is put in, and is silent on a sound chain."""

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
from histoscout.geometry.rasterize import mask_of
from histoscout.geometry.regions import Region, Regions
from histoscout.network.detector import prepare
from histoscout.recipe import AugmentConfig, Recipe
from histoscout.sampling.augment import draw_pose, read_posed, vary_colors
from histoscout.sampling.datasets import Example, SampledExamples
from histoscout.training.loop import Job, Validation, plain_batches
from histoscout.training.sanity.data import (
    STILL,
    Picture,
    Place,
    Recorder,
    augmentation_rests,
    augmentation_varies,
    masks_are_whole,
    validation_sees,
    windows_apart,
)
from histoscout.training.sanity.run import Always
from histoscout.training.validation import answers, validate
from tests.toy import CHOICES, RECIPE
from tests.training.conftest import Parts

FLIPS = AugmentConfig(flip=True, rotate=False, scale=0, stain=0, brightness=0, blur=0, noise=0)


@pytest.fixture(scope="module")
def job(parts: Parts) -> Job:
    return parts[0]


@pytest.fixture(scope="module")
def slide(parts: Parts) -> LabeledSlide:
    return parts[2].train[0]


# ---------------------------------------------------------------- augmentation


def look_of(job: Job, random_of: Callable[[int], list[int]]) -> Callable[[AugmentConfig, int], Picture]:
    """One window as example `number` shows it, with the random state of `random_of(number)`."""
    window = job.learning.sampler.draw(0)
    labeled = job.learning.slides[window.slide]

    def look(choices: AugmentConfig, number: int) -> Picture:
        random = np.random.default_rng(random_of(number))
        pose = draw_pose(choices, random)
        reads = (labeled.picture, labeled.mask)
        picture, _ = read_posed(reads, window.box, job.recipe.patches.mpp, pose)
        return vary_colors(picture, choices, random)

    return look


@pytest.mark.parametrize("choices", [AugmentConfig(), FLIPS, STILL, STILL.model_copy(update={"stain": 0.05})])
def test_varied_examples_are_good(job: Job, choices: AugmentConfig) -> None:
    assert augmentation_varies(look_of(job, lambda number: [0, number, 1]), choices).state == "good"


@pytest.mark.parametrize("choices", [AugmentConfig(), FLIPS])
def test_f_constant_flip_is_heard(job: Job, choices: AugmentConfig) -> None:
    verdict = augmentation_varies(look_of(job, lambda number: [0]), choices)
    assert verdict.state == "failed"
    assert "turning" in verdict.message


def test_colors_that_vary_do_not_hide_a_constant_flip(job: Job) -> None:
    posed, colored = look_of(job, lambda number: [0]), look_of(job, lambda number: [number])

    def look(choices: AugmentConfig, number: int) -> Picture:
        only_colors = not (choices.flip or choices.rotate or choices.scale)
        return (colored if only_colors else posed)(choices, number)

    verdict = augmentation_varies(look, AugmentConfig())
    assert verdict.state == "failed"
    assert "colours" not in verdict.message


def test_the_examples_of_training_are_varied(job: Job) -> None:
    window = job.learning.sampler.draw(0)

    def look(choices: AugmentConfig, number: int) -> Picture:
        recipe = job.recipe.model_copy(update={"augment": choices})
        return replace(job.learning, sampler=Always(window), recipe=recipe)[number][0]

    assert augmentation_varies(look, job.recipe.augment).state == "good"


def test_validation_rests_and_one_that_flips_is_heard(job: Job) -> None:
    plain = [job.tuning[number] for number in range(2)]
    assert augmentation_rests(job.tuning.__getitem__, plain).state == "good"

    def flipped(number: int) -> Example:
        picture, mask = job.tuning[number]
        return picture[::-1], mask[::-1]

    assert augmentation_rests(flipped, plain).state == "failed"


def test_validation_that_varies_from_time_to_time_is_heard(job: Job) -> None:
    times = iter(range(100))

    def now_and_then(number: int) -> Example:
        picture, mask = job.tuning[number]
        return (picture[:, ::-1], mask[:, ::-1]) if next(times) % 2 else (picture, mask)

    assert augmentation_rests(now_and_then, [job.tuning[0]]).state == "failed"


# ---------------------------------------------------------------- validation


def prepared(job: Job) -> Callable[[int], Tensor]:
    return lambda number: prepare(
        torch.from_numpy(job.tuning[number][0])[None], job.recipe.network.input_channels
    )[0]


def judge_with(
    job: Job, batches: Callable[[], Iterator[tuple[Tensor, Tensor]]]
) -> Callable[[nn.Module], Validation]:
    return lambda network: validate(answers(network, batches(), job.recipe, job.fabric), job.loss)


def test_the_loop_validates_on_the_validation_windows(job: Job) -> None:
    recorder = Recorder(3, tile=False)
    verdict = validation_sees(job.validate, recorder, prepared(job), len(job.tuning))
    assert verdict.state == "good"
    assert len(recorder.seen) == len(job.tuning) == 8


def test_c_stale_validation_is_heard(job: Job) -> None:
    """As in the study: the last training batch goes through the network, beside the masks of the test windows."""
    stale, _ = next(job.batches(0, 1))

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _, masks in plain_batches(job.tuning, job.recipe):
            yield stale, masks

    verdict = validation_sees(
        judge_with(job, batches), Recorder(3, tile=False), prepared(job), len(job.tuning)
    )
    assert verdict.state == "failed"
    assert "never shown" in verdict.message


def test_a_validation_that_repeats_its_first_batch_or_forgets_the_last_is_heard(job: Job) -> None:
    every = list(plain_batches(job.tuning, job.recipe))
    for faulty in ([every[0]] * len(every), every[:-1]):
        judge = judge_with(job, lambda faulty=faulty: iter(faulty))  # type: ignore[misc]
        verdict = validation_sees(judge, Recorder(3, tile=False), prepared(job), len(job.tuning))
        assert verdict.state == "failed"


def test_a_validation_without_windows_cannot_be_judged(job: Job) -> None:
    judge = judge_with(job, lambda: iter(()))
    assert validation_sees(judge, Recorder(3, tile=False), prepared(job), 0).state == "cannot tell"


# ---------------------------------------------------------------- two sets


def test_g_tiles_in_both_sets_are_heard() -> None:
    tiles = [Place("slide", Box(100 * number, 0, 100, 100)) for number in range(10)]
    assert windows_apart(tiles[:5], tiles[5:]).state == "good"  # neighbours touch, and share nothing
    verdict = windows_apart(tiles[:6], tiles[5:])
    assert verdict.state == "failed"
    assert verdict.message.startswith("1 of 6")


def test_the_same_place_on_two_slides_is_no_leak() -> None:
    box = Box(0, 0, 100, 100)
    assert windows_apart([Place("a", box)], [Place("b", box)]).state == "good"


def test_overlap_by_a_part_is_heard() -> None:
    one, other = Place("a", Box(0, 0, 100, 100)), Place("a", Box(99, 99, 100, 100))
    assert windows_apart([one], [other]).state == "failed"


# ---------------------------------------------------------------- masks


def ring(x: float, y: float) -> Region:
    outer, inner = (shapely.Point(x, y).buffer(radius) for radius in (40, 20))
    return Region(shapely.Polygon(outer.exterior, [inner.exterior]), "UDH")


@pytest.fixture
def ringed(slide: LabeledSlide) -> list[LabeledSlide]:
    """Rings beside one another, and one crossed by an area to be ignored."""
    drawn = [ring(100, 100), ring(190, 100), ring(150, 180), ring(350, 350)]
    unsure = Region(shapely.box(350, 300, 400, 400), "ignore")
    return [replace(slide, regions=Regions.of([*drawn, unsure]))]


def test_masks_of_the_house_are_whole(ringed: list[LabeledSlide], parts: Parts) -> None:
    verdict = masks_are_whole(LabeledSlide.mask, ringed, 2.0)
    assert verdict.state == "good"
    assert "with several" in verdict.message
    assert masks_are_whole(LabeledSlide.mask, parts[2].train, 4.0).state == "good"


def last_wins(labeled: LabeledSlide, box: Box, mpp: float) -> NDArray[np.uint8]:
    """B: the mask is made anew for each outline."""
    mask = np.zeros(box.shape(mpp / labeled.slide.mpp), np.uint8)
    for region in labeled.regions.labeled("UDH").touching(box):
        mask = mask_of(region.outline, box, mpp / labeled.slide.mpp).astype(np.uint8)
    return mask


def holes_filled(labeled: LabeledSlide, box: Box, mpp: float) -> NDArray[np.uint8]:
    """B, the other half: a hole is taken for a lesion."""
    filled = [
        replace(region, outline=shapely.Polygon(region.outline.exterior))  # type: ignore[union-attr]
        for region in labeled.regions.labeled("UDH")
    ]
    return replace(labeled, regions=Regions.of(filled)).mask(box, mpp)


@pytest.mark.parametrize("faulty", [last_wins, holes_filled])
def test_b_last_polygon_wins_is_heard(
    ringed: list[LabeledSlide], faulty: Callable[[LabeledSlide, Box, float], NDArray[np.uint8]]
) -> None:
    verdict = masks_are_whole(faulty, ringed, 2.0)
    assert verdict.state == "failed"
    assert "not as outlined" in verdict.message


def test_a_mask_of_the_right_area_at_the_wrong_place_is_heard(ringed: list[LabeledSlide]) -> None:
    """A: what mirroring within the window does to masks, whatever their area."""
    verdict = masks_are_whole(lambda labeled, box, mpp: labeled.mask(box, mpp)[::-1], ringed, 2.0)
    assert verdict.state == "failed"


def test_without_outlines_masks_cannot_be_judged(slide: LabeledSlide) -> None:
    assert masks_are_whole(LabeledSlide.mask, [replace(slide, regions=Regions())], 2.0).state == "cannot tell"


def test_still_means_that_nothing_varies(job: Job) -> None:
    recipe = Recipe.from_dict({**CHOICES, "augment": STILL.model_dump()})
    examples = SampledExamples(job.learning.slides, Always(job.learning.sampler.draw(0)), recipe)
    assert np.array_equal(examples[0][0], examples[1][0])
    assert RECIPE.augment != STILL
