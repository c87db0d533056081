"""One run of the study: the ordinary loop, given the parts that the run's faults call for.

Read it beside `training/train.py`: what differs from there is what the study did differently.
"""

import copy
import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from histoscout.errors import TrainingError
from histoscout.files import write_text
from histoscout.network.losses import make_loss
from histoscout.recipe import Recipe
from histoscout.study import faults as faulty
from histoscout.study import paper
from histoscout.study.bench import Bench
from histoscout.study.examples import plain
from histoscout.study.faults import Batch
from histoscout.study.judging import judge_all_tiles, judge_sets, look_at_whole
from histoscout.study.prepare import Prepared, prepare_run, recipe_for, start_network
from histoscout.study.runs import Run
from histoscout.study.score import NOTHING, added, count, figures
from histoscout.training.checkpoint import State, load_state, save_weights
from histoscout.training.curves import forget_after, read_rows
from histoscout.training.loop import Job, Validation, fit
from histoscout.training.optimise import make_optimiser
from histoscout.training.validate import answers, validate
from histoscout.windows.examples import PlainExamples, SampledExamples
from histoscout.windows.sampler import WindowSampler


@dataclass(frozen=True)
class Accuracies:
    """The accuracy at each validation, in a file of its own: Figure 11 shows it."""

    path: Path

    def read(self) -> dict[str, float]:
        found: dict[str, float] = json.loads(self.path.read_text("utf-8")) if self.path.exists() else {}
        return found

    def watch(self, found: Iterable[tuple[Tensor, Tensor]], step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The same answers; their accuracy is noted when all have passed."""
        confusion = NOTHING
        for logits, targets in found:
            confusion = added(confusion, count(logits, targets))
            yield logits, targets
        value = figures(confusion)["accuracy"]
        write_text(self.path, json.dumps(self.read() | {str(step): value}) + "\n")


def make_job(
    run: Run, recipe: Recipe, prepared: Prepared, network: nn.Module, bench: Bench
) -> tuple[Job, State, faulty.LastBatch]:
    """The ordinary job and state; C replaces the validation batches, E the optimiser's network."""
    folder, loss, last = bench.out / "runs" / run.name / "training", make_loss(recipe), faulty.LastBatch()
    accuracies = Accuracies(folder / "accuracies.json")
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    owned = faulty.another(network) if "E" in run.faults else network
    state = State(network, average, make_optimiser(owned, recipe.training))

    def tests() -> Iterator[Batch]:
        batches = plain(prepared.test_pixels, run.faults, recipe)
        return last.instead_of(batches) if "C" in run.faults else batches

    def validation(shadow: nn.Module) -> Validation:
        found = answers(bench.fabric.setup_module(shadow), tests(), recipe, bench.fabric)
        seen = validate(accuracies.watch(found, state.step), loss)
        return Validation(seen.loss, None)  # the study kept the weights of the lowest test loss

    # only the ordinary guards and what follows an ordinary training look at these
    sampled, tuning = (
        SampledExamples((), WindowSampler((), recipe, {}), recipe),
        PlainExamples((), (), recipe),
    )
    told = (folder, bench.progress)
    batches = prepared.train.batches
    job = Job(recipe, bench.fabric, loss, None, sampled, tuning, batches, validation, *told)
    return job, state, last


def train_run(run: Run, bench: Bench) -> dict[str, Any]:
    """Train and judge a run, or read what was written when it was done; killed, it goes on where it was."""
    folder = bench.out / "runs" / run.name
    if (folder / "result.json").exists():
        found: dict[str, Any] = json.loads((folder / "result.json").read_text("utf-8"))
        return found
    began = time.monotonic()
    recipe = recipe_for(run, bench)
    prepared = prepare_run(run, recipe, bench)
    steps = [bench.scale.steps_for(epochs, len(prepared.train.order)) for epochs in run.epochs]
    recipe = timed(recipe, run, steps[0], bench)
    torch.manual_seed(run.seed)
    network = start_network(run, recipe, prepared, bench)
    network = bench.fabric.to_device(network.to(memory_format=torch.channels_last))
    (folder / "training").mkdir(parents=True, exist_ok=True)
    job, state, last = make_job(run, recipe, prepared, network, bench)
    result = about(run, recipe, prepared, steps) | {
        "epochs": _stages(run, steps, (job, state, last), prepared, bench)
    }
    shadow = _best(job, network)
    result |= {
        "curve": [_finite(row) for row in read_rows(job.curves)],
        "accuracies": Accuracies(job.folder / "accuracies.json").read(),
        "whole": look_at_whole(run, shadow, recipe, prepared, bench),
        "seconds": round(time.monotonic() - began, 1),
    }
    if run.model == "densenet121":
        save_weights(shadow.state_dict(), folder / "weights.safetensors")
        result["all tiles"] = judge_all_tiles(run, shadow, recipe, prepared, bench).to_dict()
    write_text(folder / "result.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    for path in (job.last, job.best):  # large, and nothing needs them any more
        path.unlink(missing_ok=True)
    return result


def timed(recipe: Recipe, run: Run, steps: int, bench: Bench) -> Recipe:
    """The recipe with the learning rate that these steps ask for, and validations as often as the scale says."""
    validations = bench.scale.points * run.epochs[0] / paper.EPOCHS[0]
    choices: dict[str, Any] = {"training.steps_per_epoch": max(1, round(steps / validations))}
    if "I" in run.faults:
        choices["training.learning_rate"] = bench.scale.rate(run.rate, run.epochs[0], steps)
    return recipe.with_choices(choices)


def about(run: Run, recipe: Recipe, prepared: Prepared, steps: list[int]) -> dict[str, Any]:
    """What was trained, on what, and what is held to the paper's values."""
    rate = recipe.training.learning_rate
    return {
        "model": run.model,
        "faults": run.letters,
        "seed": run.seed,
        "steps": steps,
        "learning_rate": rate,
        "rate_times_steps": [rate * count for count in steps],
        "paper_rate_times_steps": [paper.rate_times_steps(run.rate, epochs) for epochs in run.epochs],
        "tile_px": recipe.window_px,
        "tile_um": recipe.windows.side_um,
        "tiles": len(prepared.tiles),
        "tiles_with_mask": prepared.has_mask,
        "train_tiles": len(prepared.train_pixels.own),
        "test_tiles": len(prepared.test_pixels.own),
        "tiles_in_both": prepared.overlap,
    }


def _stages(
    run: Run, steps: list[int], parts: tuple[Job, State, faulty.LastBatch], prepared: Prepared, bench: Bench
) -> dict[str, Any]:
    """Train up to each of the paper's epochs, and judge the best weights so far there."""
    job, state, last = parts
    if job.last.exists():
        load_state(state, job.last)
    forget_after(job.curves, state.step)
    shadow, judged = copy.deepcopy(state.network), {}
    for epochs, until in zip(run.epochs, steps, strict=True):
        stage, stop = job.folder / f"judged-{epochs}.json", max(1, round(until * run.share))
        if not stage.exists():
            stopped = _fit(job, state, shadow, stop, last)
            found = judge_sets(run, _best(job, state.network), job.recipe, prepared, bench)
            write_text(stage, json.dumps({"stopped": stopped, "steps": stop, **found}) + "\n")
        judged[str(epochs)] = json.loads(stage.read_text("utf-8"))
    return judged


def _finite(row: dict[str, float]) -> dict[str, float]:
    """A row without what is no number: JSON has no word for it."""
    return {name: value for name, value in row.items() if math.isfinite(value)}


def _fit(job: Job, state: State, shadow: nn.Module, stop: int, last: faulty.LastBatch) -> str | None:
    """Train; why it ended early, if it did."""
    try:
        fit(job, state, shadow, stop, last.watch(job.batches(state.step, stop)))
    except TrainingError as error:  # the paper's largest learning rate does this
        return error.fault
    return None


def _best(job: Job, network: nn.Module) -> nn.Module:
    """A copy of the network with the weights of the lowest test loss, or as it is if no loss was a number."""
    best = copy.deepcopy(network)
    if job.best.exists():
        best.load_state_dict(load_file(job.best))
    return best
