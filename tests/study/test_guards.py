"""Each fault, switched on, makes a guard of the ordinary product speak; switched off, the same guard is content."""

from collections.abc import Callable

import numpy as np
import shapely
import torch
from torch import Tensor, nn

from histoscout.checks.alignment.windows import fits_at_the_door
from histoscout.cohort.annotated_slide import open_labeled
from histoscout.cohort.leakage import Fingerprint, enough_patients, named_after_its_set, sets_apart
from histoscout.detection.self_check import field_of_view
from histoscout.network.detector import prepare
from histoscout.network.losses import make_loss
from histoscout.network.unet import UNet
from histoscout.recipe import AugmentConfig
from histoscout.study import faults
from histoscout.study.bench import Bench
from histoscout.study.faults import LastBatch, flips, masks
from histoscout.study.tiles import TilePixels, draw_tiles, flipped, kept_tiles, plain, read_tiles, with_mask
from histoscout.training.loop import make_optimizer
from histoscout.training.sanity.data import (
    Place,
    Recorder,
    augmentation_rests,
    augmentation_varies,
    masks_are_whole,
    validation_sees,
    windows_apart,
)
from histoscout.training.sanity.network import base_loss, gives_logits, learns_by_heart, optimizer_owns
from histoscout.verdict import Verdict
from tests.study.toy_slides import SIDE, labeled, recipe

NOTHING = frozenset[str]()
SMALL = (4, 8)


def read(seed: int = 0) -> TilePixels:
    slide, choices = labeled(seed=seed), recipe()
    return read_tiles(kept_tiles([slide], choices), [slide], masks(NOTHING), choices)


def speaks(guard: Callable[[frozenset[str]], Verdict], letter: str) -> None:
    """The guard is content without the fault, and speaks with it."""
    assert guard(NOTHING).state == "good"
    verdict = guard(frozenset(letter))
    assert verdict.state in {"failed", "warning"}
    assert verdict.remedy


def test_displaced_masks_are_not_as_outlined() -> None:
    slide = labeled()
    speaks(lambda on: masks_are_whole(masks(on), [slide], 1.0), "A")


def test_displaced_masks_do_not_fit_their_pictures_at_the_door(bench: Bench) -> None:
    """The test for anybody's own windows, which knows neither outlines nor how masks were made; on the study's tiles.

    On so few windows it may only say that it cannot tell: a mask from the tile above still holds part of a lesion.
    """
    fine = bench.side_um / 64
    choices = bench.recipe("unet").with_choices({"patches.mpp": fine, "tissue.mpp": fine})
    slides = [open_labeled(case, choices)[0] for case in bench.cases]
    tiles = kept_tiles(slides, choices)

    def guard(on: frozenset[str]) -> Verdict:
        made = masks(on)
        chosen = [tiles[index] for index in np.flatnonzero(with_mask(tiles, slides, made, choices))]
        pixels = read_tiles(chosen, slides, made, choices)
        return fits_at_the_door(zip(pixels.pictures, pixels.own, strict=True), choices.patches.mpp)

    assert guard(NOTHING).state == "good"
    displaced = guard(frozenset("A"))
    assert displaced.state in {"failed", "cannot tell"}
    assert displaced.remedy


def test_the_last_polygon_is_not_all_that_is_outlined() -> None:
    ring = shapely.Polygon(
        shapely.box(142, 100, 180, 140).exterior, [shapely.box(150, 110, 170, 130).exterior]
    )
    near = [shapely.box(100, 100, 140, 140), ring]
    slide = labeled(near)
    speaks(lambda on: masks_are_whole(masks(on), [slide], 1.0), "B")


def test_stale_validation_does_not_see_the_validation_windows() -> None:
    choices, tests, training = recipe(), read(0), read(1)

    def guard(on: frozenset[str]) -> Verdict:
        last = LastBatch()
        assert list(last.watch(plain(training, NOTHING, choices)))

        def judge(network: nn.Module) -> None:
            batches = plain(tests, NOTHING, choices)
            for pictures, _ in last.instead_of(batches) if "C" in on else batches:
                network(prepare(pictures, 3))

        def wanted(number: int) -> Tensor:
            return prepare(torch.from_numpy(tests.pictures[number : number + 1]), 3)[0]

        return validation_sees(judge, Recorder(1, tile=False), wanted, len(tests.own))

    speaks(guard, "C")


def test_a_network_that_ends_in_a_sigmoid_gives_no_logits() -> None:
    images = prepare(torch.from_numpy(read().pictures[:8]), 3)

    def guard(on: frozenset[str]) -> Verdict:
        network: nn.Module = UNet(3, 1, SMALL, norm=True)
        return gives_logits(faults.with_sigmoid(network) if "D" in on else network, images)

    speaks(guard, "D")


def test_a_foreign_optimizer_does_not_own_the_network() -> None:
    def guard(on: frozenset[str]) -> Verdict:
        network = UNet(3, 1, SMALL)
        owned = faults.another(network) if "E" in on else network
        return optimizer_owns(network, make_optimizer(owned, recipe().training))

    speaks(guard, "E")


def test_a_constant_flip_does_not_vary() -> None:
    picture = read().pictures[0]

    def guard(on: frozenset[str]) -> Verdict:
        return augmentation_varies(
            lambda choices, number: flipped(picture, *flips(1, number, on)) if choices.flip else picture,
            AugmentConfig(rotate=False, scale=0, stain=0, brightness=0, blur=0, noise=0),
        )

    speaks(guard, "F")


def test_a_flip_in_testing_does_not_rest() -> None:
    pixels, choices = read(), recipe()
    seed = next(seed for seed in range(20) if any(flips(seed, 0, frozenset("F"))))
    choices = choices.with_choices({"seed": seed})

    def guard(on: frozenset[str]) -> Verdict:
        pictures, targets = (np.concatenate(parts) for parts in zip(*plain(pixels, on, choices), strict=True))
        wanted = [(pixels.pictures[number], pixels.own[number]) for number in range(2)]
        return augmentation_rests(lambda number: (pictures[number], targets[number]), wanted)

    speaks(guard, "F")


def test_tiles_in_both_sets_are_not_apart() -> None:
    slides = [labeled(seed=0, patient="A"), labeled(seed=1, patient="B")]
    tiles = kept_tiles(slides, recipe())
    marked = with_mask(tiles, slides, masks(NOTHING), recipe())
    patients = [slides[tile.slide].patient for tile in tiles]

    def guard(on: frozenset[str]) -> Verdict:
        drawn = draw_tiles(marked, patients, on | ({"J"} if on else set()), 0)
        learnt, judged = (
            [Place(tiles[index].slide, tiles[index].box) for index in part]
            for part in (drawn.train, drawn.test)
        )
        return windows_apart(learnt, judged)

    speaks(guard, "G")


def test_figures_over_training_patients_are_not_the_test_sets() -> None:
    def guard(on: frozenset[str]) -> Verdict:
        return named_after_its_set("test", ["A", "B"] if "H" in on else ["B"], ["A"])

    speaks(guard, "H")


def test_a_stalled_start_cannot_learn_a_batch_by_heart() -> None:
    pixels, stated = read(), recipe(**{"network.decoder_channels": (32, 16, 8)})
    chosen = np.argsort([-(mask == 1).mean() for mask in pixels.own])[:4]
    images = prepare(torch.from_numpy(pixels.pictures[chosen]), 3)
    targets = torch.from_numpy(pixels.own[chosen])

    def guard(on: frozenset[str]) -> Verdict:
        torch.manual_seed(0)
        choices = stated if "I" in on else faults.mended_start(stated)
        network, loss = UNet(3, 1, (8, 16, 32), norm="I" not in on), make_loss(choices)
        if "I" in on:
            faults.default_start(network)
        optimizer = make_optimizer(network, choices.training)

        def step() -> float:
            value = loss(network(images), targets)
            optimizer.zero_grad()
            torch.autograd.backward(value)
            optimizer.step()
            return float(value.detach())

        return learns_by_heart(step, base_loss(loss, targets, 1), seconds=20.0)

    speaks(guard, "I")


def test_two_patients_are_too_few_and_may_not_be_in_both_sets() -> None:
    slides = [labeled(seed=seed, patient=patient) for seed, patient in enumerate("AABB")]
    prints = [Fingerprint.of(slide.slide, slide.patient) for slide in slides]
    speaks(
        lambda on: sets_apart(prints[:2] if not on else prints[:3], prints[2:] if not on else prints[1:]), "J"
    )
    assert enough_patients(["A", "B"], blocks=False).state == "warning"
    assert enough_patients([f"patient {number}" for number in range(12)], blocks=False).state == "good"


def test_a_narrow_view_shows_a_part_of_the_lesions() -> None:
    drawn = [(labeled([shapely.box(100, 100, 100 + 2.2 * SIDE, 100 + 2.2 * SIDE)]).regions, 1.0)]
    speaks(lambda on: field_of_view(drawn, recipe() if on else faults.wide_view(recipe())), "K")
