"""How long the study takes on this machine: timed training steps, and the plan of a dry run."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from histoscout.cohort.case import open_case
from histoscout.io.files import read_text, write_text
from histoscout.io.inputs import parse_json
from histoscout.network.build import build_network
from histoscout.network.detector import count_outputs, normalize
from histoscout.network.losses import make_loss
from histoscout.recipe import Recipe
from histoscout.study import protocol
from histoscout.study.context import StudyContext, read_study_recipe
from histoscout.study.preparation import make_run_recipe
from histoscout.study.protocol import Run
from histoscout.study.slides import Scale
from histoscout.training.optimizer import make_optimizer
from histoscout.training.setup import make_fabric

TIMED_SIDES = (64, 128, 256, 512)
TIMED_BATCHES = (4, 8, 16)
"""Input sizes in px and batch sizes that the paper tried."""

ONE_SLIDE_TILES = round(
    protocol.TILES_ONE_WITH_MASK * (1 + protocol.NEGATIVES_PER_POSITIVE) * (1 - protocol.TEST_SHARE)
)
"""Training tiles of an epoch over one slide, as the paper timed it on a laptop."""

FORWARD_COST = 1 / 3
"""Time of a prediction without training, per training step."""

EVALUATION_COST = 0.4
"""Time to tune and evaluate our recipe, per time of its training."""

KEPT_SHARE = 1 / 1.4
"""Share of all tiles that the filter keeps."""

TILES_PER_LESION = 10.5
"""Tiles that a lesion touches, in the paper and here."""


@dataclass(frozen=True)
class ExpectedTiles:
    """Expected numbers of tiles.

    Attributes:
        kept: Tiles that the filter keeps.
        with_mask: Tiles with a mask.
        whole_slides: Windows of the slides that are evaluated as a whole.
    """

    kept: float
    with_mask: float
    whole_slides: float


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run that the study would make.

    Attributes:
        name: Its name in the report.
        run: The run.
        steps: Training steps.
        minutes: Expected time; 0 if the run is finished.
    """

    name: str
    run: Run
    steps: int
    minutes: float


def time_epochs(context: StudyContext) -> list[dict[str, Any]]:
    """Time one epoch of the paper's U-Net over one slide, for each input size and batch size.

    A step that would take longer than the scale allows is estimated from the largest measured one, by its pixels.

    Args:
        context: What all runs share; epoch-times.json in its folder keeps the times.

    Returns:
        One row per size: "px", "batch", "seconds" and whether they were "measured".
    """
    times_file = context.out / "epoch-times.json"
    if times_file.exists():
        earlier: list[dict[str, Any]] = parse_json(read_text(times_file))
        return earlier
    recipe = read_study_recipe("unet")
    # the network is narrower only in tests
    if context.scale.name not in {"quick", "full"}:
        channels = context.scale.channels(recipe.network.decoder_channels)
        recipe = recipe.with_choices({"network.decoder_channels": channels})
    network = context.fabric.to_device(build_network(recipe))
    rows = []
    per_pixel = 0.0
    context.progress.start("timing the paper's U-Net", len(TIMED_SIDES) * len(TIMED_BATCHES))
    for side in TIMED_SIDES:
        for batch in TIMED_BATCHES:
            pixels = side * side * batch
            # too long a step is estimated from the last measured one
            measured = per_pixel * pixels <= context.scale.max_step_seconds
            if measured:
                per_pixel = time_step(network, recipe, (batch, side), fabric=context.fabric) / pixels
            seconds = per_pixel * pixels * -(-ONE_SLIDE_TILES // batch)
            rows.append({"px": side, "batch": batch, "seconds": round(seconds, 1), "measured": measured})
            context.progress.advance()
    context.progress.done()
    write_text(times_file, json.dumps(rows, indent=1) + "\n")
    return rows


def time_step(
    network: nn.Module, recipe: Recipe, shape: tuple[int, int], *, fabric: Fabric, steps: int = 1
) -> float:
    """Time a training step.

    Args:
        network: The network; it is trained on black images.
        recipe: Its recipe.
        shape: Batch size, and side of the images in px.
        fabric: Device and precision.
        steps: Number of steps to time; small images get one more to warm up.

    Returns:
        The seconds of the fastest step.
    """
    batch, side = shape
    optimizer = make_optimizer(network, recipe.training)
    loss = make_loss(recipe)
    pixels = fabric.to_device(torch.zeros((batch, side, side, 3), dtype=torch.uint8))
    seconds = []
    for _ in range(steps + (side <= TIMED_SIDES[0])):
        # a full training step, as the loop makes it
        started = time.perf_counter()
        images = normalize(pixels, recipe.network.input_channels)
        logits = network(images.contiguous(memory_format=torch.channels_last))
        target_shape = (batch,) if logits.dim() == 2 else (batch, side, side)
        target = torch.zeros(target_shape, dtype=torch.uint8, device=logits.device)
        fabric.backward(loss(logits, target))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        # kernels run asynchronously on a GPU
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    assert logits.shape[1] == count_outputs(recipe)
    return min(seconds)


def plan_runs(runs: Iterable[tuple[str, Run]], context: StudyContext) -> list[PlannedRun]:
    """Estimate steps and minutes of some runs from two timed steps of each network.

    Args:
        runs: Names and runs.
        context: What all runs share; with no cases, the slides are the synthetic ones.

    Returns:
        The planned runs, in the same order.
    """
    expected = expect_tiles(context)
    planned = []
    step_seconds: dict[tuple[str, int, int], float] = {}
    for name, run in runs:
        recipe = make_run_recipe(run, context)
        shape = (recipe.training.batch_size, recipe.patch_px)
        key = (recipe.network.architecture + recipe.network.encoder, *shape)
        if key not in step_seconds:
            network = build_network(recipe)
            step_seconds[key] = time_step(network, recipe, shape, fabric=context.fabric, steps=2)
        # tiles without K are four times as wide: a sixteenth of them, more of which have a mask
        density = 1.0 if "K" in run.faults else 1 / 16
        sampled = expected.with_mask * (1 + protocol.NEGATIVES_PER_POSITIVE)
        sampled *= density * 2 if density < 1 else 1
        training_tiles = round(sampled * (1 - protocol.TEST_SHARE) * (1 + protocol.REPEATED_SHARE))
        steps = context.scale.count_steps(run.epochs[-1], training_tiles)
        # predictions without training: validations, evaluation of the sets, all tiles, whole slides
        validations = context.scale.validations * run.epochs[-1] / protocol.EPOCHS[0] * run.step_share
        evaluations = (2 + protocol.REPEATED_SHARE) * len(run.epochs)
        predicted = sampled * (protocol.TEST_SHARE * validations + evaluations)
        predicted += expected.kept if run.model == "densenet121" else 0.0
        whole_share = {"none": 0.0, "referee": 0.35, "all": 1.0}[run.whole_slides]
        predicted += whole_share * expected.whole_slides * density
        minutes = step_seconds[key] * (steps * run.step_share + FORWARD_COST * predicted / shape[0]) / 60
        # finished runs take no time
        done = (context.out / "runs" / run.name / "result.json").exists()
        planned_steps = max(1, round(steps * run.step_share))
        planned.append(PlannedRun(name=name, run=run, steps=planned_steps, minutes=0.0 if done else minutes))
    return planned


def working_recipe_minutes(scale: Scale, device: str) -> float:
    """Estimate the minutes of our recipe: its training, tuning and evaluation.

    Args:
        scale: Scale of the study.
        device: The device.
    """
    recipe = read_study_recipe("working").with_choices(dict(scale.working_choices))
    choices = recipe.training
    # a time budget is its own estimate; a number of steps is timed
    if choices.minutes is not None:
        return choices.minutes * (1 + EVALUATION_COST)
    assert choices.epochs is not None
    shape = (choices.batch_size, recipe.patch_px)
    fabric = make_fabric(device, choices.precision)
    seconds = time_step(build_network(recipe), recipe, shape, fabric=fabric, steps=2)
    return seconds * choices.epochs * choices.steps_per_epoch * (1 + EVALUATION_COST) / 60


def expect_tiles(context: StudyContext) -> ExpectedTiles:
    """Estimate the numbers of tiles, of the slides or of the mosaics that will be drawn.

    Args:
        context: Context of the study.
    """
    if not context.cases:
        mosaic = context.scale.mosaic
        fragments = mosaic.rows * mosaic.columns
        tiles = 3 * fragments * mosaic.mm2 * 1e6 / context.tile_um**2
        # the first three slides are the study, the fourth is the referee
        with_mask = sum(mosaic.lesions[:3]) * TILES_PER_LESION
        return ExpectedTiles(tiles * KEPT_SHARE, with_mask, tiles * KEPT_SHARE * 0.5)
    tiles = 0.0
    for case in context.cases:
        with open_case(case) as slide:
            tiles += slide.box.area * slide.mpp**2 / context.tile_um**2
    # as many tiles with lesions as in the paper
    with_mask = protocol.TILES_WITH_MASK / protocol.TILES * tiles
    return ExpectedTiles(tiles * KEPT_SHARE, with_mask, tiles * KEPT_SHARE / 2)
