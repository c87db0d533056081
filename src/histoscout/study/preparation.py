"""What a run of the study starts from: its recipe, its tiles and its network."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.errors import TrainingError
from histoscout.network.build import build_network
from histoscout.network.losses import set_prior_bias
from histoscout.network.weights import copy_encoder
from histoscout.recipe import Recipe
from histoscout.study.context import StudyContext
from histoscout.study.faults import (
    add_sigmoid,
    mask_function,
    reset_to_default_init,
    with_repaired_start,
    with_wide_view,
)
from histoscout.study.protocol import MODELS, Run
from histoscout.study.tiles import (
    Tile,
    TileExamples,
    TilePixels,
    balance_classes,
    filter_tiles,
    find_masked_tiles,
    make_targets,
    read_tiles,
    sample_tiles,
)
from histoscout.training.checkpoint import read_weights


@dataclass(frozen=True, kw_only=True)
class RunData:
    """What a run is trained and evaluated on.

    Attributes:
        slides: The slides that the run uses.
        tiles: All tiles that the filter kept.
        masked_count: Number of them that have a mask, as the run's masks are made.
        train: Training tiles by number.
        train_pixels: Each training tile as often as it is trained on.
        test_pixels: The test tiles.
        overlap: Number of distinct tiles in both sets.
    """

    slides: tuple[LabeledSlide, ...]
    tiles: list[Tile]
    masked_count: int
    train: TileExamples
    train_pixels: TilePixels
    test_pixels: TilePixels
    overlap: int


def make_run_recipe(run: Run, context: StudyContext) -> Recipe:
    """Return the recipe of a run: the paper's at this scale, with the changes of I and K.

    Args:
        run: The run.
        context: Context of the study.
    """
    choices = {"seed": run.seed, "network.input_channels": run.channels}
    recipe = context.recipe(MODELS[run.model].recipe).with_choices(choices)
    recipe = recipe if "K" in run.faults else with_wide_view(recipe)
    return recipe if "I" in run.faults else with_repaired_start(recipe)


def prepare_run(run: Run, recipe: Recipe, context: StudyContext) -> RunData:
    """Read tiles and masks, and sample and split them as the run did.

    Args:
        run: The run.
        recipe: Its recipe.
        context: What all runs share.

    Returns:
        The run's data.

    Raises:
        TrainingError: The slides have too few tiles, or none with a mask.
    """
    slides = context.study_slides(recipe)[: run.slides]
    tiles = filter_tiles(slides, recipe)
    make_mask = mask_function(run.faults)
    has_mask = find_masked_tiles(tiles, slides, make_mask, recipe=recipe)
    if not has_mask.any():
        raise TrainingError(
            run.name, "no tile has a mask", "Give slides with annotations of the positive class"
        )
    # one patient cannot be split by patient
    patients = [slides[tile.slide].patient for tile in tiles]
    faults = run.faults | ({"J"} if len(set(patients)) < 2 else set())
    split = sample_tiles(has_mask, patients, faults, seed=run.seed)
    if not len(split.train) or not len(split.test):
        raise TrainingError(run.name, "there are too few tiles to train and to test on", "Give larger slides")
    # read every tile once; the sets are rows of what was read
    used = np.unique(np.concatenate([split.train, split.test]))
    pixels = read_tiles([tiles[index] for index in used], slides, make_mask, recipe=recipe)
    train_rows = np.searchsorted(used, split.train)
    test_rows = np.searchsorted(used, split.test)
    order = train_rows
    if recipe.network.predicts_tiles:
        order = order[balance_classes(make_targets(pixels.own[order], recipe))]
    return RunData(
        slides=slides,
        tiles=tiles,
        masked_count=int(has_mask.sum()),
        train=TileExamples(pixels=pixels, order=order, faults=run.faults, recipe=recipe),
        train_pixels=pixels.select(train_rows),
        test_pixels=pixels.select(test_rows),
        overlap=len(np.intersect1d(split.train, split.test)),
    )


def make_network(run: Run, recipe: Recipe, data: RunData, *, context: StudyContext) -> nn.Module:
    """Return the network of a run before its first step.

    Args:
        run: The run.
        recipe: Its recipe.
        data: Its data, for the share of positive pixels.
        context: What all runs share.

    Returns:
        The network; with D it ends in a sigmoid.
    """
    network = build_network(recipe)
    if "I" in run.faults and recipe.network.architecture == "unet":
        reset_to_default_init(network)
    if run.classifier is not None:
        copy_encoder(_load_classifier(run.classifier, context), network)
    if recipe.loss.prior_bias:
        # tiles of a classifier are balanced by repetition
        share = 0.5 if recipe.network.predicts_tiles else float((data.train_pixels.own == 1).mean())
        set_prior_bias(network, [1 - share, share])
    return add_sigmoid(network) if "D" in run.faults else network


def _load_classifier(run: Run, context: StudyContext) -> nn.Module:
    """Return the tile classifier of an earlier run."""
    network = build_network(make_run_recipe(run, context))
    network.load_state_dict(read_weights(context.out / "runs" / run.name / "weights.safetensors"))
    return network
