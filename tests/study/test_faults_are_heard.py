"""Each fault of the study, switched on as the study has it, makes a guard of the ordinary product speak."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch
from torch import Tensor, nn

from histoscout.cohort.annotated_slide import LabeledSlide, open_labeled
from histoscout.cohort.cohort import read_cohort
from histoscout.cohort.leakage import enough_patients, named_after_its_set
from histoscout.detection.self_check import field_of_view
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.network.build import build_network
from histoscout.network.detector import prepare
from histoscout.network.losses import make_loss
from histoscout.recipe import AugmentConfig, Recipe
from histoscout.study import faults
from histoscout.study.tiles import flipped
from histoscout.training.loop import make_optimizer
from histoscout.training.sanity.data import (
    Picture,
    Place,
    Recorder,
    augmentation_varies,
    masks_are_whole,
    validation_sees,
    windows_apart,
)
from histoscout.training.sanity.network import (
    base_loss,
    gives_logits,
    learns_by_heart,
    one_sigmoid,
    optimizer_owns,
)
from histoscout.training.validation import positive_probability
from histoscout.verdict import Verdict
from tests.toy import RECIPE

PAPER = Recipe.from_dict(
    {
        "patches": {"size_um": 128.0, "mpp": 2.0},
        "network": {"architecture": "unet", "decoder_channels": [32, 16, 8]},
        "loss": {"name": "bce", "prior_bias": False},
        "training": {"epochs": 1, "optimizer": "adam", "learning_rate": 1e-6, "schedule": "constant"},
    }
)
SIDE = 64
TILES = [Box(128 * column, 128 * row, 128, 128) for row in range(4) for column in range(4)]


@pytest.fixture(scope="module")
def slide(table: Path) -> LabeledSlide:
    """A toy slide on which two lesions, one with a hole, lie in one tile."""
    labeled, _ = open_labeled(read_cohort(table).cases[0], RECIPE)
    outer, inner = (shapely.Point(60, 60).buffer(radius).exterior for radius in (30, 12))
    drawn = [Region(shapely.Polygon(outer, [inner]), "UDH"), Region(shapely.box(80, 80, 120, 120), "UDH")]
    return replace(labeled, regions=Regions.of(drawn))


@pytest.fixture(scope="module")
def pictures(slide: LabeledSlide) -> Tensor:
    """The tiles of the slide, uint8 (16, 64, 64, 3)."""
    return torch.from_numpy(np.stack([slide.picture(tile, 2.0) for tile in TILES]))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return build_network(PAPER)


def test_b_last_polygon_wins(slide: LabeledSlide) -> None:
    assert masks_are_whole(faults.masks(frozenset("B")), [slide], 2.0).state == "failed"
    assert masks_are_whole(faults.masks(frozenset()), [slide], 2.0).state == "good"


def test_a_displaced_masks_are_heard_where_outlines_end_within_a_window(slide: LabeledSlide) -> None:
    """The areas no longer agree; that outlines fit the tissue is tested at the network's door."""
    assert masks_are_whole(faults.masks(frozenset("A")), [slide], 2.0).state == "failed"


def validated(pictures: Tensor, last: faults.LastBatch | None) -> Verdict:
    def batches() -> Iterator[faults.Batch]:
        tests: list[faults.Batch] = [
            (pictures[start : start + 4], torch.zeros(4, SIDE, SIDE, dtype=torch.uint8))
            for start in range(8, 16, 4)
        ]
        return iter(tests) if last is None else last.instead_of(tests)

    def judge(shown: nn.Module) -> None:
        for images, _ in batches():
            shown(prepare(images, 3))

    return validation_sees(judge, Recorder(1, tile=False), lambda n: prepare(pictures[8 + n][None], 3)[0], 8)


def test_c_stale_validation(pictures: Tensor) -> None:
    last = faults.LastBatch()
    masks = torch.zeros(4, SIDE, SIDE, dtype=torch.uint8)
    assert list(last.watch([(pictures[:4], masks)]))
    assert validated(pictures, last).state == "failed"
    assert validated(pictures, None).state == "good"


def test_d_double_sigmoid(network: nn.Module, pictures: Tensor) -> None:
    images = prepare(pictures[:4], 3)
    assert gives_logits(faults.with_sigmoid(network), images).state == "failed"
    assert one_sigmoid(lambda logits: positive_probability(logits.sigmoid()), 1).state == "failed"
    assert gives_logits(network, images).state == "good"


def test_e_foreign_optimizer(network: nn.Module) -> None:
    of_another = make_optimizer(faults.another(network), PAPER.training)
    assert optimizer_owns(network, of_another).state == "failed"
    assert optimizer_owns(network, make_optimizer(network, PAPER.training)).state == "good"


@pytest.mark.parametrize(("letters", "state"), [("F", "failed"), ("", "good")])
def test_f_constant_flip(pictures: Tensor, letters: str, state: str) -> None:
    def look(choices: AugmentConfig, number: int) -> Picture:
        return flipped(pictures[0].numpy(), *faults.flips(0, number, frozenset(letters)))

    only_flips = AugmentConfig(flip=True, rotate=False, scale=0, stain=0, brightness=0, blur=0, noise=0)
    assert augmentation_varies(look, only_flips).state == state


@pytest.mark.parametrize(("letters", "state"), [("G", "failed"), ("", "good")])
def test_g_tiles_in_both_sets(letters: str, state: str) -> None:
    random, tiles = np.random.default_rng(0), np.arange(16)
    repeated = faults.grown(tiles, 0.5, random) if letters else tiles
    shuffled = random.permutation(repeated)
    cut = round(0.8 * len(shuffled))
    train, test = (
        [Place("slide", TILES[tile]) for tile in part] for part in (shuffled[:cut], shuffled[cut:])
    )
    assert windows_apart(train, test).state == state


def test_h_metrics_on_all() -> None:
    train, test = ["tile 1", "tile 2"], ["tile 3"]
    assert named_after_its_set("test", train + test, train).state == "failed"
    assert named_after_its_set("test", test, train).state == "good"


@pytest.mark.parametrize(("mend", "state"), [(False, "warning"), (True, "good")])
def test_i_stalled_start(pictures: Tensor, mend: bool, state: str) -> None:
    torch.manual_seed(0)
    recipe = faults.mended_start(PAPER) if mend else PAPER
    network, loss = build_network(recipe), make_loss(recipe)
    if not mend:
        faults.default_start(network)
    optimizer, images = make_optimizer(network, recipe.training), prepare(pictures[:4], 3)
    targets = (pictures[:4].float().mean(-1) < 140).to(torch.uint8)

    def step() -> float:
        found = loss(network(images), targets)
        optimizer.zero_grad()
        found.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(found.detach())

    assert learns_by_heart(step, base_loss(loss, targets, 1), seconds=60).state == state


def test_j_two_patients() -> None:
    assert enough_patients(["49", "49", "23"], blocks=False).state == "warning"  # 1494, 1496; 1286


@pytest.mark.parametrize(
    ("view", "state"), [(lambda recipe: recipe, "warning"), (faults.wide_view, "good")], ids=["K", "none"]
)
def test_k_narrow_view(view: Callable[[Recipe], Recipe], state: str) -> None:
    lesions = Regions.of(Region(shapely.Point(0, 0).buffer(145 / 0.25), "UDH") for _ in range(3))
    paper = PAPER.with_choices({"patches.mpp": 0.25})  # 512 px: 128 um, lesions of 290 um
    assert field_of_view([(lesions, 0.25)], view(paper)).state == state
