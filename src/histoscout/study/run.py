"""One run of the study: the ordinary loop, given the parts that the run's faults call for.

Read it beside `training/train.py`: what differs from there is what the study did differently.

What a run of the study begins with: its recipe, its tiles and its network, as the run had them.

What a trained run is worth: on its tiles, on all tiles, and on whole slides.
"""

import copy
import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.errors import TrainingError
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.io.files import write_text
from histoscout.network.build import build_network
from histoscout.network.losses import make_loss, set_prior
from histoscout.network.weights import transfer_encoder
from histoscout.recipe import Recipe
from histoscout.registry import ARCHITECTURES
from histoscout.sampling.datasets import PlainExamples, SampledExamples
from histoscout.sampling.sampler import WindowSampler
from histoscout.study import faults as faulty
from histoscout.study import protocol
from histoscout.study.bench import Bench
from histoscout.study.faults import Batch
from histoscout.study.metrics import (
    NOTHING,
    Judgement,
    Stretch,
    Stretched,
    added,
    count,
    count_whole,
    figures,
    judge,
)
from histoscout.study.protocol import MODELS, Run
from histoscout.study.tiles import (
    Tile,
    TileExamples,
    TilePixels,
    balanced,
    draw_tiles,
    kept_tiles,
    plain,
    read_tiles,
    targets_of,
    with_mask,
)
from histoscout.training.checkpoint import State, load_state, save_weights
from histoscout.training.history import forget_after, read_rows
from histoscout.training.loop import Job, Validation, fit, make_optimizer
from histoscout.training.validation import answers, validate


@dataclass(frozen=True)
class Prepared:
    """What a run learns from and is judged on."""

    slides: tuple[LabeledSlide, ...]
    tiles: list[Tile]  # all that the filter kept
    has_mask: int  # how many of them have a mask, as the run's masks are made
    train: TileExamples
    train_pixels: TilePixels  # each training tile as often as it is learnt from
    test_pixels: TilePixels
    overlap: int  # distinct tiles that are in both sets


def recipe_for(run: Run, bench: Bench) -> Recipe:
    """The run's recipe: the paper's at this scale, with what I and K change."""
    recipe = bench.recipe(MODELS[run.model].recipe).with_choices(
        {"seed": run.seed, "network.input_channels": run.channels}
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
    if recipe.loss.prior_bias:
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


AT_ONCE = 256  # tiles read before they are judged
LOOKED_AT = 4  # batches from which the spread of a network's answers is taken


def judge_sets(
    run: Run, network: nn.Module, recipe: Recipe, prepared: Prepared, bench: Bench
) -> dict[str, Any]:
    """The figures on training and test tiles; H: what is called "test" is both together."""
    stretch = spread(network, prepared.test_pixels, run, recipe, bench)
    train, test = (
        _judged(network, pixels, run, recipe, (bench, stretch))
        for pixels in (prepared.train_pixels, prepared.test_pixels)
    )
    return {
        "train": train.to_dict(),
        "test": (train + test if "H" in run.faults else test).to_dict(),
        "test tiles only": test.to_dict(),
        "test loss": _loss(network, prepared.test_pixels, recipe, bench),
    }


def _loss(network: nn.Module, pixels: TilePixels, recipe: Recipe, bench: Bench) -> float | None:
    """The loss over the test tiles themselves, unflipped, whatever the run's own validation looked at; None if no number."""
    found = answers(network, plain(pixels, frozenset(), recipe), recipe, bench.fabric)
    value = validate(found, make_loss(recipe)).loss
    return value if math.isfinite(value) else None


def judge_all_tiles(
    run: Run, network: nn.Module, recipe: Recipe, prepared: Prepared, bench: Bench
) -> Judgement:
    """The figures over every tile that the filter kept, as Table 3 has them."""
    stretch, made = spread(network, prepared.test_pixels, run, recipe, bench), faulty.masks(run.faults)
    judgement = Judgement.none()
    bench.progress.start("all tiles", len(prepared.tiles))
    for start in range(0, len(prepared.tiles), AT_ONCE):
        pixels = read_tiles(prepared.tiles[start : start + AT_ONCE], prepared.slides, made, recipe)
        judgement = judgement + _judged(network, pixels, run, recipe, (bench, stretch))
        bench.progress.advance(len(pixels.own))
    bench.progress.done()
    return judgement


def _judged(
    network: nn.Module, pixels: TilePixels, run: Run, recipe: Recipe, means: tuple[Bench, Stretch]
) -> Judgement:
    bench, stretch = means
    found = answers(network, plain(pixels, run.faults, recipe), recipe, bench.fabric)
    return judge(found, plain(pixels, run.faults, recipe, truth=True), stretch)


def spread(network: nn.Module, pixels: TilePixels, run: Run, recipe: Recipe, bench: Bench) -> Stretch:
    """How far the network's answers lie apart on the first test tiles."""
    few = pixels.at(np.arange(min(len(pixels.own), LOOKED_AT * recipe.training.batch_size)))
    found = answers(network, plain(few, run.faults, recipe), recipe, bench.fabric)
    return Stretch.of([logits.cpu() for logits, _ in found])


def look_at_whole(
    run: Run, network: nn.Module, recipe: Recipe, prepared: Prepared, bench: Bench
) -> dict[str, Any]:
    """AP against the outlines over all tissue of whole slides: the referee's, and the left-out patient's."""
    if run.whole == "none":
        return {}
    engine = Stretched(
        network, recipe, bench.fabric, spread(network, prepared.test_pixels, run, recipe, bench)
    )
    sets = {"referee": bench.referee()} if bench.referees else {}
    if run.whole == "all" or not sets:
        sets["left out"] = bench.last_patient()
    return {name: _figures(count_whole(engine, slides, bench.progress)) for name, slides in sets.items()}


def _figures(counts: PixelCounts) -> dict[str, float | None]:
    return {"ap": counts.ap, "prevalence": counts.prevalence}


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
    state = State(network, average, make_optimizer(owned, recipe.training))

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
    validations = bench.scale.points * run.epochs[0] / protocol.EPOCHS[0]
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
        "paper_rate_times_steps": [protocol.rate_times_steps(run.rate, epochs) for epochs in run.epochs],
        "tile_px": recipe.patch_px,
        "tile_um": recipe.patches.size_um,
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
