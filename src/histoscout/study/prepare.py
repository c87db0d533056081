"""What a run of the study begins with: its recipe, its tiles and its network, as the run had them."""

from dataclasses import dataclass

import numpy as np
from safetensors.torch import load_file
from torch import nn

from histoscout.detection.labelled import LabelledSlide
from histoscout.errors import TrainingError
from histoscout.names import ARCHITECTURES
from histoscout.network.build import build_network
from histoscout.network.losses import set_prior
from histoscout.network.transfer import transfer_encoder
from histoscout.recipe import Recipe
from histoscout.study import faults as faulty
from histoscout.study.bench import Bench
from histoscout.study.examples import TileExamples
from histoscout.study.runs import MODELS, Run
from histoscout.study.tiles import (
    Tile,
    TilePixels,
    balanced,
    draw_tiles,
    kept_tiles,
    read_tiles,
    targets_of,
    with_mask,
)


@dataclass(frozen=True)
class Prepared:
    """What a run learns from and is judged on."""

    slides: tuple[LabelledSlide, ...]
    tiles: list[Tile]  # all that the filter kept
    has_mask: int  # how many of them have a mask, as the run's masks are made
    train: TileExamples
    train_pixels: TilePixels  # each training tile as often as it is learnt from
    test_pixels: TilePixels
    overlap: int  # distinct tiles that are in both sets


def recipe_for(run: Run, bench: Bench) -> Recipe:
    """The run's recipe: the paper's at this scale, with what I and K change."""
    recipe = bench.recipe(MODELS[run.model].recipe).with_choices(
        {"seed": run.seed, "network.channels": run.channels}
    )
    recipe = recipe if "K" in run.faults else faulty.wide_view(recipe)
    return recipe if "I" in run.faults else faulty.mended_start(recipe)


def prepare_run(run: Run, recipe: Recipe, bench: Bench) -> Prepared:
    """Tiles, masks, sampling and split, as the run had them."""
    slides = bench.slides(recipe)[: run.slides]
    tiles, made = kept_tiles(slides, recipe), faulty.masks(run.faults)
    has_mask = with_mask(tiles, slides, made, recipe)
    if not has_mask.any():
        raise TrainingError(run.name, "no tile has a mask", "Give slides with outlines of the positive class")
    patients = [slides[tile.slide].patient for tile in tiles]
    drawn = draw_tiles(
        has_mask, patients, run.faults | ({"J"} if len(set(patients)) < 2 else set()), run.seed
    )
    if not len(drawn.train) or not len(drawn.test):
        raise TrainingError(run.name, "too few tiles to learn from and to test on", "Give larger slides")
    used = np.unique(np.concatenate([drawn.train, drawn.test]))
    pixels = read_tiles([tiles[index] for index in used], slides, made, recipe)
    rows = [np.searchsorted(used, part) for part in (drawn.train, drawn.test)]
    order = rows[0]
    if ARCHITECTURES[recipe.network.architecture].answers == "tile":
        order = order[balanced(targets_of(pixels.own[order], recipe))]
    return Prepared(
        slides,
        tiles,
        int(has_mask.sum()),
        TileExamples(pixels, order, run.faults, recipe),
        pixels.at(rows[0]),
        pixels.at(rows[1]),
        len(np.intersect1d(drawn.train, drawn.test)),
    )


def start_network(run: Run, recipe: Recipe, prepared: Prepared, bench: Bench) -> nn.Module:
    """The network before its first step."""
    network = build_network(recipe)
    if "I" in run.faults and recipe.network.architecture == "unet":
        faulty.default_start(network)
    if run.classifier is not None:
        transfer_encoder(trained_classifier(run.classifier, bench), network)
    if recipe.loss.prior:
        share = float((prepared.train_pixels.own == 1).mean())
        if ARCHITECTURES[recipe.network.architecture].answers == "tile":
            share = 0.5  # balanced by repetition
        set_prior(network, [1 - share, share])
    return faulty.with_sigmoid(network) if "D" in run.faults else network


def trained_classifier(run: Run, bench: Bench) -> nn.Module:
    """The tile classifier of an earlier run."""
    network = build_network(recipe_for(run, bench))
    network.load_state_dict(load_file(bench.out / "runs" / run.name / "weights.safetensors"))
    return network
