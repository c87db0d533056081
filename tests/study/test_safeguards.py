"""Each fault, switched on, makes a check of the ordinary product fail or warn; switched off, the check is good."""

from collections.abc import Callable

import numpy as np
import pytest
import shapely
import torch
from torch import Tensor, nn

from histoscout.checks.alignment.patches import check_patch_alignment
from histoscout.cohort.annotated_slide import open_labeled_slide
from histoscout.cohort.duplicates import Fingerprint
from histoscout.cohort.leakage import (
    check_disjoint_sets,
    check_known_patients,
    check_patient_count,
)
from histoscout.detection.self_check import check_field_of_view
from histoscout.network.detector import normalize
from histoscout.network.losses import make_loss
from histoscout.network.unet import UNet
from histoscout.recipe_sections import AugmentConfig
from histoscout.study.context import StudyContext
from histoscout.study.faults import (
    LastBatch,
    add_sigmoid,
    copy_network,
    draw_flips,
    mask_function,
    reset_to_default_init,
    with_repaired_start,
    with_wide_view,
)
from histoscout.study.tiles import (
    TilePixels,
    filter_tiles,
    find_masked_tiles,
    flip,
    iterate_batches,
    read_tiles,
    sample_tiles,
)
from histoscout.training.optimizer import make_optimizer
from histoscout.training.sanity.data import (
    InputRecorder,
    PatchLocation,
    check_augmentation_varies,
    check_masks,
    check_patch_overlap,
    check_validation_batches,
    check_validation_unaugmented,
)
from histoscout.training.sanity.network import (
    base_rate_loss,
    check_network_logits,
    check_optimizer_parameters,
    check_overfits_one_batch,
    check_single_sigmoid,
)
from histoscout.training.validation import positive_probability
from histoscout.verdict import Verdict
from tests.study.toy_slides import SIDE, labeled, make_recipe

NO_FAULTS = frozenset[str]()
CHANNELS = (4, 8)

Check = Callable[[frozenset[str]], Verdict]
"""A check of the ordinary product, given the faults that are switched on."""


def read_toy_tiles(seed: int = 0) -> TilePixels:
    slide, recipe = labeled(seed=seed), make_recipe()
    return read_tiles(filter_tiles([slide], recipe), [slide], mask_function(NO_FAULTS), recipe=recipe)


def assert_reported(check: Check, letter: str) -> None:
    """The check is good without the fault, and fails or warns with it."""
    assert check(NO_FAULTS).state == "good"
    verdict = check(frozenset(letter))
    assert verdict.state in {"failed", "warning"}
    assert verdict.remedy


def test_a_displaced_masks_differ_from_the_annotations() -> None:
    slide = labeled()
    assert_reported(lambda faults: check_masks(mask_function(faults), [slide], mpp=1.0), "A")


def test_a_displaced_masks_do_not_align_with_their_images(context: StudyContext) -> None:
    """The patch alignment check knows neither annotations nor how masks were made.

    On so few tiles it may only state that it cannot tell: the mask of the tile above still holds part of a lesion.
    """
    mpp = context.tile_um / 64
    recipe = context.recipe("unet").with_choices({"patches.mpp": mpp, "tissue.mpp": mpp})
    slides = [open_labeled_slide(case, recipe)[0] for case in context.cases]
    tiles = filter_tiles(slides, recipe)

    def check(faults: frozenset[str]) -> Verdict:
        make_mask = mask_function(faults)
        has_mask = find_masked_tiles(tiles, slides, make_mask, recipe=recipe)
        masked = [tiles[index] for index in np.flatnonzero(has_mask)]
        pixels = read_tiles(masked, slides, make_mask, recipe=recipe)
        return check_patch_alignment(zip(pixels.images, pixels.own, strict=True), mpp)

    assert check(NO_FAULTS).state == "good"
    displaced = check(frozenset("A"))
    assert displaced.state in {"failed", "cannot tell"}
    assert displaced.remedy


def test_b_the_last_polygon_is_less_than_all_annotations() -> None:
    outer, hole = shapely.box(142, 100, 180, 140).exterior, shapely.box(150, 110, 170, 130).exterior
    slide = labeled([shapely.box(100, 100, 140, 140), shapely.Polygon(outer, [hole])])
    assert_reported(lambda faults: check_masks(mask_function(faults), [slide], mpp=1.0), "B")


def test_c_stale_validation_does_not_see_the_validation_tiles() -> None:
    recipe = make_recipe()
    tests, training = read_toy_tiles(0), read_toy_tiles(1)

    def check(faults: frozenset[str]) -> Verdict:
        last_batch = LastBatch()
        assert list(last_batch.remember(iterate_batches(training, NO_FAULTS, recipe)))

        def validate(network: nn.Module) -> None:
            batches = iterate_batches(tests, NO_FAULTS, recipe)
            for images, _ in last_batch.replace_images(batches) if "C" in faults else batches:
                network(normalize(images, 3))

        def expected_input(number: int) -> Tensor:
            return normalize(torch.from_numpy(tests.images[number : number + 1]), 3)[0]

        return check_validation_batches(
            validate, InputRecorder(1, predicts_tiles=False), expected_input, count=len(tests.own)
        )

    assert_reported(check, "C")


def test_d_a_network_that_ends_in_a_sigmoid_returns_no_logits() -> None:
    images = normalize(torch.from_numpy(read_toy_tiles().images[:8]), 3)

    def check(faults: frozenset[str]) -> Verdict:
        network: nn.Module = UNet(3, 1, CHANNELS, norm=True)
        return check_network_logits(add_sigmoid(network) if "D" in faults else network, images)

    assert_reported(check, "D")


def test_d_a_second_sigmoid_in_the_evaluation_is_reported() -> None:
    def check(faults: frozenset[str]) -> Verdict:
        def probability(logits: Tensor) -> Tensor:
            return positive_probability(logits.sigmoid() if "D" in faults else logits)

        return check_single_sigmoid(probability, 1)

    assert_reported(check, "D")


def test_e_a_foreign_optimizer_does_not_hold_the_networks_weights() -> None:
    def check(faults: frozenset[str]) -> Verdict:
        network = UNet(3, 1, CHANNELS)
        optimized = copy_network(network) if "E" in faults else network
        return check_optimizer_parameters(network, make_optimizer(optimized, make_recipe().training))

    assert_reported(check, "E")


def test_f_a_constant_flip_does_not_vary() -> None:
    image = read_toy_tiles().images[0]
    only_flips = AugmentConfig(rotate=False, scale=0, stain=0, brightness=0, blur=0, noise=0)

    def check(faults: frozenset[str]) -> Verdict:
        def augment(choices: AugmentConfig, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
            return flip(image, *draw_flips(1, number, faults)) if choices.flip else image

        return check_augmentation_varies(augment, only_flips)

    assert_reported(check, "F")


def test_f_a_flip_in_testing_is_augmentation() -> None:
    pixels = read_toy_tiles()
    seed = next(seed for seed in range(20) if any(draw_flips(seed, 0, frozenset("F"))))
    recipe = make_recipe(seed=seed)

    def check(faults: frozenset[str]) -> Verdict:
        batches = iterate_batches(pixels, faults, recipe)
        images, targets = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        expected = [(pixels.images[number], pixels.own[number]) for number in range(2)]
        return check_validation_unaugmented(lambda number: (images[number], targets[number]), expected)

    assert_reported(check, "F")


def test_g_tiles_in_both_sets_overlap() -> None:
    slides = [labeled(seed=0, patient="A"), labeled(seed=1, patient="B")]
    recipe = make_recipe()
    tiles = filter_tiles(slides, recipe)
    has_mask = find_masked_tiles(tiles, slides, mask_function(NO_FAULTS), recipe=recipe)
    patients = [slides[tile.slide].patient for tile in tiles]

    def check(faults: frozenset[str]) -> Verdict:
        split = sample_tiles(has_mask, patients, faults | ({"J"} if faults else set()), seed=0)
        train, test = (
            [PatchLocation(tiles[index].slide, tiles[index].box) for index in indices]
            for indices in (split.train, split.test)
        )
        return check_patch_overlap(train, test)

    assert_reported(check, "G")


def test_h_a_test_set_with_training_patients_is_refused() -> None:
    def check(faults: frozenset[str]) -> Verdict:
        return check_known_patients("test", ["A", "B"] if "H" in faults else ["B"], ["A"])

    assert_reported(check, "H")


def test_i_a_stalled_start_cannot_overfit_one_batch() -> None:
    pixels = read_toy_tiles()
    stated = make_recipe(**{"network.decoder_channels": (32, 16, 8)})
    chosen = np.argsort([-(mask == 1).mean() for mask in pixels.own])[:4]
    images = normalize(torch.from_numpy(pixels.images[chosen]), 3)
    targets = torch.from_numpy(pixels.own[chosen])

    def check(faults: frozenset[str]) -> Verdict:
        torch.manual_seed(0)
        recipe = stated if "I" in faults else with_repaired_start(stated)
        network = UNet(3, 1, (8, 16, 32), norm="I" not in faults)
        if "I" in faults:
            reset_to_default_init(network)
        loss = make_loss(recipe)
        optimizer = make_optimizer(network, recipe.training)

        def step() -> float:
            value = loss(network(images), targets)
            optimizer.zero_grad()
            torch.autograd.backward(value)
            optimizer.step()
            return float(value.detach())

        return check_overfits_one_batch(step, base_rate_loss(loss, targets, 1), seconds=20.0)

    assert_reported(check, "I")


def test_j_a_patient_may_not_be_in_both_sets() -> None:
    slides = [labeled(seed=seed, patient=patient) for seed, patient in enumerate("AABB")]
    prints = [Fingerprint.of(slide.slide, slide.patient) for slide in slides]

    def check(faults: frozenset[str]) -> Verdict:
        return (
            check_disjoint_sets(prints[:3], prints[1:])
            if "J" in faults
            else check_disjoint_sets(prints[:2], prints[2:])
        )

    assert_reported(check, "J")


@pytest.mark.parametrize(
    ("patients", "state"), [(["49", "49", "23"], "warning"), ([f"patient {n}" for n in range(12)], "good")]
)
def test_j_two_patients_are_too_few(patients: list[str], state: str) -> None:
    assert check_patient_count(patients, tuned_on_blocks=False).state == state


def test_k_a_narrow_view_shows_a_part_of_the_lesions() -> None:
    side = 2.2 * SIDE
    regions = [(labeled([shapely.box(100, 100, 100 + side, 100 + side)]).regions, 1.0)]
    recipe = make_recipe()
    assert_reported(
        lambda faults: check_field_of_view(regions, recipe if "K" in faults else with_wide_view(recipe)), "K"
    )
