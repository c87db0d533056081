"""One run of the study: the ordinary training loop with the parts that its faults require.

Read it beside `training/train.py`: what differs from there is what the study did differently.
"""

import copy
import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from histoscout.errors import TrainingError
from histoscout.io.files import read_text, write_text
from histoscout.io.inputs import parse_json
from histoscout.io.locks import hold
from histoscout.network.losses import make_loss
from histoscout.recipe import Recipe
from histoscout.sampling.datasets import PlainExamples, SampledExamples
from histoscout.sampling.sampler import PatchSampler
from histoscout.study import protocol
from histoscout.study.context import StudyContext
from histoscout.study.evaluation import (
    TrainedRun,
    evaluate_all_tiles,
    evaluate_sets,
    evaluate_whole_slides,
)
from histoscout.study.faults import Batch, LastBatch, copy_network
from histoscout.study.metrics import EMPTY_CONFUSION, add_confusions, confusion_metrics, count_confusion
from histoscout.study.preparation import RunData, make_network, make_run_recipe, prepare_run
from histoscout.study.protocol import Run
from histoscout.study.tiles import iterate_batches
from histoscout.training.checkpoint import TrainingState, load_state, read_weights, save_weights
from histoscout.training.history import drop_rows_after, read_rows
from histoscout.training.loop import TrainingContext, ValidationResult, fit
from histoscout.training.optimizer import make_optimizer
from histoscout.training.validation import predict_logits, validate


@dataclass(frozen=True)
class AccuracyLog:
    """The accuracy at each validation, in a file of its own; Figure 11 shows it.

    Attributes:
        path: The JSON file.
    """

    path: Path

    def read(self) -> dict[str, float]:
        """Return the accuracies by step."""
        accuracies: dict[str, float] = parse_json(read_text(self.path)) if self.path.exists() else {}
        return accuracies

    def record(
        self, predictions: Iterable[tuple[Tensor, Tensor]], step: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the same predictions; their accuracy is written when all have passed."""
        # the predictions pass through: validation consumes them
        confusion = EMPTY_CONFUSION
        for logits, targets in predictions:
            confusion = add_confusions(confusion, count_confusion(logits, targets))
            yield logits, targets
        accuracy = confusion_metrics(confusion)["accuracy"]
        # a row that another process writes meanwhile stays
        with hold(self.path.parent, self.path.name):
            write_text(self.path, json.dumps(self.read() | {str(step): accuracy}) + "\n")


@dataclass(frozen=True)
class RunTraining:
    """A training that can be started or resumed.

    Attributes:
        context: The ordinary training context.
        state: The ordinary training state.
        last_batch: The last training batch, for C.
    """

    context: TrainingContext
    state: TrainingState
    last_batch: LastBatch = field(default_factory=LastBatch)

    def fit(self, shadow: nn.Module, stop: int) -> str | None:
        """Train up to a step; return why it stopped early, as at the paper's largest learning rate."""
        batches = self.context.make_batches(self.state.step, stop)
        try:
            fit(self.context, self.state, self.last_batch.remember(batches), shadow=shadow, steps=stop)
        except TrainingError as error:
            return error.fault
        return None

    def best_network(self) -> nn.Module:
        """Return a copy of the network with the weights of the lowest finite test loss, if any."""
        best = copy.deepcopy(self.state.network)
        if self.context.best.exists():
            best.load_state_dict(read_weights(self.context.best))
        return best


def train_run(run: Run, context: StudyContext) -> dict[str, Any]:
    """Train and evaluate a run, resume it, or read its result if it is finished.

    Args:
        run: The run.
        context: What all runs share.

    Returns:
        What result.json in the run's folder holds.
    """
    folder = context.out / "runs" / run.name
    if (folder / "result.json").exists():
        finished: dict[str, Any] = parse_json(read_text(folder / "result.json"))
        return finished
    started = time.monotonic()
    # data, and a learning rate and validations that fit its number of steps
    recipe = make_run_recipe(run, context)
    data = prepare_run(run, recipe, context)
    steps = [context.scale.count_steps(epochs, len(data.train.order)) for epochs in run.epochs]
    recipe = with_schedule(recipe, run, steps[0], context=context)
    # training
    torch.manual_seed(run.seed)
    network = make_network(run, recipe, data, context=context)
    network = context.fabric.to_device(network.to(memory_format=torch.channels_last))
    (folder / "training").mkdir(parents=True, exist_ok=True)
    training = make_training(run, recipe, data, network=network, context=context)
    epochs = _train_stages(run, steps, training, data=data, context=context)
    # evaluation of the best weights
    best = training.best_network()
    trained = TrainedRun(run=run, network=best, recipe=recipe, data=data, context=context)
    result = _describe_run(trained, steps) | {
        "epochs": epochs,
        "curve": [
            {name: value for name, value in row.items() if math.isfinite(value)}
            for row in read_rows(training.context.curves)
        ],
        "accuracies": AccuracyLog(training.context.folder / "accuracies.json").read(),
        "whole": evaluate_whole_slides(trained),
        "seconds": round(time.monotonic() - started, 1),
    }
    if run.model == "densenet121":
        save_weights(best.state_dict(), folder / "weights.safetensors")
        result["all tiles"] = evaluate_all_tiles(trained).to_dict()
    write_text(folder / "result.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    # the checkpoints are large, and nothing needs them any more
    for path in (training.context.last, training.context.best):
        path.unlink(missing_ok=True)
    return result


def with_schedule(recipe: Recipe, run: Run, steps: int, *, context: StudyContext) -> Recipe:
    """Return the recipe with learning rate and validations for a number of steps.

    Args:
        recipe: The run's recipe.
        run: The run.
        steps: Steps that replace the first of the run's epochs.
        context: What all runs share.

    Returns:
        The recipe; only with I does it keep the paper's learning rate times steps.
    """
    validations = context.scale.validations * run.epochs[0] / protocol.EPOCHS[0]
    choices: dict[str, Any] = {"training.steps_per_epoch": max(1, round(steps / validations))}
    if "I" in run.faults:
        choices["training.learning_rate"] = context.scale.learning_rate(run.rate, run.epochs[0], steps)
    return recipe.with_choices(choices)


def make_training(
    run: Run, recipe: Recipe, data: RunData, *, network: nn.Module, context: StudyContext
) -> RunTraining:
    """Make the ordinary training of a run; C replaces validation batches, E the optimizer's network.

    Args:
        run: The run.
        recipe: Its recipe.
        data: Its data.
        network: Its network.
        context: What all runs share.

    Returns:
        The training, ready to start or to resume.
    """
    folder = context.out / "runs" / run.name / "training"
    loss = make_loss(recipe)
    last_batch = LastBatch()
    accuracies = AccuracyLog(folder / "accuracies.json")
    # averaged weights, as the ordinary training has them
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    optimized = copy_network(network) if "E" in run.faults else network
    optimizer = make_optimizer(optimized, recipe.training)
    state = TrainingState(network=network, average=average, optimizer=optimizer)

    def test_batches() -> Iterator[Batch]:
        batches = iterate_batches(data.test_pixels, run.faults, recipe)
        return last_batch.replace_images(batches) if "C" in run.faults else batches

    def validate_network(shadow: nn.Module) -> ValidationResult:
        fabric = context.fabric
        predictions = predict_logits(fabric.setup_module(shadow), test_batches(), recipe, fabric)
        validation = validate(accuracies.record(predictions, state.step), loss)
        # without a score, the loop keeps the weights of the lowest loss, as the study did
        return ValidationResult(validation.loss, None)

    # the loop takes its tiles from `make_batches`; only sanity checks read the examples
    training_context = TrainingContext(
        recipe=recipe,
        fabric=context.fabric,
        loss=loss,
        class_shares=None,
        training_examples=SampledExamples((), PatchSampler((), recipe, {}), recipe),
        tuning_examples=PlainExamples(slides=(), patches=(), recipe=recipe),
        make_batches=data.train.batches,
        validate=validate_network,
        folder=folder,
        progress=context.progress,
    )
    return RunTraining(training_context, state, last_batch)


def _describe_run(trained: TrainedRun, steps: list[int]) -> dict[str, Any]:
    """Return what was trained, on what, and what is held to the paper's values."""
    run, recipe, data = trained.run, trained.recipe, trained.data
    # rate times steps stands beside the paper's, since both cannot be kept on a smaller scale
    rate = recipe.training.learning_rate
    return {
        "model": run.model,
        "faults": run.letters,
        "seed": run.seed,
        "steps": steps,
        "learning_rate": rate,
        "rate_times_steps": [rate * count for count in steps],
        "paper_rate_times_steps": [protocol.rate_times_steps(run.rate, epochs) for epochs in run.epochs],
        "tile_px": recipe.patch_px,
        "tile_um": recipe.patches.size_um,
        "tiles": len(data.tiles),
        "tiles_with_mask": data.masked_count,
        "train_tiles": len(data.train_pixels.own),
        "test_tiles": len(data.test_pixels.own),
        "tiles_in_both": data.overlap,
    }


def _train_stages(
    run: Run, steps: list[int], training: RunTraining, *, data: RunData, context: StudyContext
) -> dict[str, Any]:
    """Train up to each of the paper's epochs, and evaluate the best weights so far there."""
    training_context, state = training.context, training.state
    # resume from the checkpoint
    if training_context.last.exists():
        load_state(state, training_context.last)
    drop_rows_after(training_context.curves, state.step)
    shadow = copy.deepcopy(state.network)
    results = {}
    for epochs, stage_steps in zip(run.epochs, steps, strict=True):
        stage = training_context.folder / f"judged-{epochs}.json"
        stop = max(1, round(stage_steps * run.step_share))
        if not stage.exists():
            stopped = training.fit(shadow, stop)
            trained = TrainedRun(
                run=run,
                network=training.best_network(),
                recipe=training_context.recipe,
                data=data,
                context=context,
            )
            stage_result = {"stopped": stopped, "steps": stop, **evaluate_sets(trained)}
            write_text(stage, json.dumps(stage_result) + "\n")
        results[str(epochs)] = parse_json(read_text(stage))
    return results
