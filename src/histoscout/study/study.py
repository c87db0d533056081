"""The study, whole: slides, every run as it was and as it is stated, our recipe, and one report of it all.

Every step keeps its result in the folder when it is done, so that a study which was stopped goes on where it was.

What a study would do, and about how long it would take on this machine: nothing is written.

How long an epoch takes: the paper's U-Net at every input size and batch that was tried there, on this machine.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from histoscout.cohort.cohort import Cohort
from histoscout.errors import OutputError
from histoscout.io.files import write_text
from histoscout.network.build import build_network
from histoscout.network.detector import count_outputs, prepare
from histoscout.network.losses import make_loss
from histoscout.progress import Progress, Silent
from histoscout.recipe import Recipe
from histoscout.slides.open import open_slide
from histoscout.study import protocol
from histoscout.study.ablation import run_ablation
from histoscout.study.bench import Bench, lesion_um, own_recipe, side_for, study_cases
from histoscout.study.ours import our_recipe
from histoscout.study.protocol import Run, ablation_runs, main_runs
from histoscout.study.report.figures import mask_agreement
from histoscout.study.report.page import write_report
from histoscout.study.run import recipe_for, train_run
from histoscout.study.slides import SCALES, Scale, bracs, built_in
from histoscout.training.loop import make_optimizer
from histoscout.training.setup import choose_fabric

SIDES, BATCHES = (64, 128, 256, 512), (4, 8, 16)
ONE_SLIDE = round(protocol.TILES_ONE_WITH_MASK * (1 + protocol.NEGATIVES) * (1 - protocol.TEST_SHARE))
"""Training tiles of an epoch when the laptop was tried: one slide."""


def epoch_times(bench: Bench) -> list[dict[str, Any]]:
    """Seconds of one epoch over one slide's tiles for each input size and batch, and whether they were measured.

    A step that would take longer than the scale allows is worked out from the largest measured one, by its pixels.
    The network is narrower only in tests.
    """
    written = bench.out / "epoch-times.json"
    if written.exists():
        earlier: list[dict[str, Any]] = json.loads(written.read_text("utf-8"))
        return earlier
    recipe = own_recipe("unet")
    if bench.scale.name not in {"quick", "full"}:
        recipe = recipe.with_choices(
            {"network.decoder_channels": bench.scale.widths(recipe.network.decoder_channels)}
        )
    network = bench.fabric.to_device(build_network(recipe))
    rows, per_pixel = [], 0.0
    bench.progress.start("timing the paper's U-Net", len(SIDES) * len(BATCHES))
    for side in SIDES:
        for batch in BATCHES:
            pixels = side * side * batch
            measured = per_pixel * pixels <= bench.scale.most_seconds
            if measured:
                per_pixel = step_seconds(network, recipe, (batch, side), bench.fabric) / pixels
            seconds = per_pixel * pixels * -(-ONE_SLIDE // batch)
            rows.append({"px": side, "batch": batch, "seconds": round(seconds, 1), "measured": measured})
            bench.progress.advance()
    bench.progress.done()
    write_text(written, json.dumps(rows, indent=1) + "\n")
    return rows


def step_seconds(
    network: nn.Module, recipe: Recipe, shape: tuple[int, int], fabric: Fabric, steps: int = 1
) -> float:
    """Seconds of a training step on `shape` (batch, side in px), the fastest of some, after one to warm up."""
    batch, side = shape
    optimizer, loss = make_optimizer(network, recipe.training), make_loss(recipe)
    pictures = fabric.to_device(torch.zeros((batch, side, side, 3), dtype=torch.uint8))
    found = []
    for _ in range(steps + (side <= SIDES[0])):  # a long step needs no warming up
        begun = time.perf_counter()
        images = prepare(pictures, recipe.network.input_channels).contiguous(
            memory_format=torch.channels_last
        )
        logits = network(images)
        shape_of_target = (batch,) if logits.dim() == 2 else (batch, side, side)
        target = torch.zeros(shape_of_target, dtype=torch.uint8, device=logits.device)
        fabric.backward(loss(logits, target))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - begun)
    assert logits.shape[1] == count_outputs(recipe)
    return min(found)


FORWARD = 1 / 3  # of a step's time: an answer without learning
JUDGING = 0.4  # of the time that our recipe is trained
KEPT = 1 / 1.4  # of all tiles, by the filter
TILES_A_LESION = 10.5  # tiles that a lesion touches, in the paper and here


@dataclass(frozen=True)
class Expected:
    """How many tiles a run would meet."""

    kept: float
    with_mask: float
    whole: float  # windows of the slides that are judged as a whole


@dataclass(frozen=True)
class PlannedRun:
    """A run that would be made: its steps, and minutes."""

    name: str
    run: Run
    steps: int
    minutes: float


def plan_runs(runs: Iterable[tuple[str, Run]], bench: Bench, expected: Expected) -> list[PlannedRun]:
    """Time two steps of each network at its size, and multiply; runs that are there already take no time."""
    planned, seconds = [], dict[tuple[str, int, int], float]()
    for name, run in runs:
        recipe = recipe_for(run, bench)
        shape = (recipe.training.batch_size, recipe.patch_px)
        key = (recipe.network.architecture + recipe.network.encoder, *shape)
        if key not in seconds:
            seconds[key] = step_seconds(build_network(recipe), recipe, shape, bench.fabric, 2)
        narrow = 1.0 if "K" in run.faults else 1 / 16
        drawn = expected.with_mask * (1 + protocol.NEGATIVES) * (narrow * 2 if narrow < 1 else 1)
        steps = bench.scale.steps_for(
            run.epochs[-1], round(drawn * (1 - protocol.TEST_SHARE) * (1 + protocol.GROWTH))
        )
        minutes = (
            seconds[key]
            * (steps * run.share + _answers(run, bench, expected, (drawn, narrow)) / shape[0])
            / 60
        )
        done = (bench.out / "runs" / run.name / "result.json").exists()
        planned.append(PlannedRun(name, run, max(1, round(steps * run.share)), 0.0 if done else minutes))
    return planned


def our_minutes(scale: Scale, device: str) -> float:
    """Minutes of our recipe: its training, and as much again by `JUDGING` for tuning and judging it."""
    recipe = own_recipe("ours").with_choices(dict(scale.ours))
    choices = recipe.training
    if choices.minutes is not None:
        return choices.minutes * (1 + JUDGING)
    assert choices.epochs is not None
    shape = (choices.batch_size, recipe.patch_px)
    fabric = choose_fabric(device, choices.precision)
    seconds = step_seconds(build_network(recipe), recipe, shape, fabric, 2)
    return seconds * choices.epochs * choices.steps_per_epoch * (1 + JUDGING) / 60


def _answers(run: Run, bench: Bench, expected: Expected, tiles: tuple[float, float]) -> float:
    """How many steps' worth of tiles are answered for without learning: validations, judgement, whole slides."""
    drawn, narrow = tiles
    validations = bench.scale.points * run.epochs[-1] / protocol.EPOCHS[0] * run.share
    judged = drawn * (protocol.TEST_SHARE * validations + (2 + protocol.GROWTH) * len(run.epochs))
    every = expected.kept if run.model == "densenet121" else 0.0
    whole = {"none": 0.0, "referee": 0.35, "all": 1.0}[run.whole] * expected.whole * narrow
    return FORWARD * (judged + every + whole)


@dataclass(frozen=True)
class StudyOptions:
    """On which slides (none given: the built-in ones), how large, with how much beside the main table."""

    data: Path | None = None  # a BRACS download
    cohort: Cohort | None = None
    scale: Scale = SCALES["quick"]
    faults: bool = False  # also the ablation
    seeds: int = 3
    weights: str | None = None  # where the ResNet50 starts; None: as the scale says
    device: str = "auto"
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True)
class Study:
    """Everything that was found, as it stands in study.json, and the report."""

    found: dict[str, Any]
    report: Path


def repeat_study(out: Path, options: StudyOptions | None = None) -> Study:
    """Make the whole study in the folder `out`, or what is missing of it; study.json and report.html are written last.

    Raises OutputError if the folder holds something else, CohortError if slides are missing.
    """
    options = options or StudyOptions()
    given = given_slides(options)  # before the folder is claimed: slides may be missing
    if given is not None:
        study_cases(given)
    claim(out, options)
    bench = open_bench(out, options, given)
    results = {}
    runs = main_runs()
    for number, (name, run) in enumerate(runs.items(), start=1):
        bench.progress.note(f"run {number} of {len(runs)}: {name}")
        results[name] = train_run(run, bench)
    found: dict[str, Any] = {
        "paper": protocol.TITLE,
        "scale": about_scale(bench),
        "slides": about_slides(bench, results["unet, as stated"]),
        "masks": mask_agreement(bench.slides(bench.recipe("unet")), bench.recipe("unet")),
        "runs": results,
        "ours": our_recipe(bench, options.device),
        "epoch times": epoch_times(bench),
        "ablation": run_ablation(bench, options.seeds) if options.faults else earlier_ablation(out),
    }
    write_text(out / "study.json", json.dumps(found, indent=1) + "\n")
    report = out / "report.html"
    write_report(found, bench, report)
    return Study(found, report)


def claim(out: Path, options: StudyOptions) -> None:
    """Note in the folder what is studied there, or find that it is the same; OutputError if it is not."""
    marker = out / "plan.json"
    source = options.data or (options.cohort.where if options.cohort else "built-in")
    wanted = {
        "slides": str(source),
        "scale": options.scale.name,
        "weights": options.weights or options.scale.weights,
    }
    if marker.exists():
        if json.loads(marker.read_text("utf-8")) != wanted:
            fault = "holds a study of other slides or of another scale"
            raise OutputError(out, fault, "Give another folder with -o")
        return
    if out.is_dir() and any(out.iterdir()):
        raise OutputError(out, "is not empty and holds no study", "Give a new folder with -o")
    write_text(marker, json.dumps(wanted) + "\n")


def open_bench(out: Path, options: StudyOptions, given: Cohort | None = None) -> Bench:
    """The slides, the built-in ones if none are given, and what all runs share."""
    cases, referees = study_cases(given or drawn_slides(out, options))
    scale, weights = options.scale, options.weights or options.scale.weights
    fabric = choose_fabric(options.device, "float32")
    return Bench(cases, referees, scale, side_for(cases, scale), weights, fabric, out, options.progress)


def given_slides(options: StudyOptions) -> Cohort | None:
    """BRACS or the user's own cohort; None for the built-in slides."""
    return bracs(options.data) if options.data is not None else options.cohort


def drawn_slides(out: Path, options: StudyOptions) -> Cohort:
    """The built-in slides, drawn if they are not there yet."""
    options.progress.start("drawing the built-in slides", 4)
    cohort = built_in(out / "cohort", options.scale.mosaic, options.progress.advance)
    options.progress.done()
    return cohort


def earlier_ablation(out: Path) -> dict[str, Any] | None:
    """The ablation of an earlier call into the same folder, if there was one."""
    written = out / "study.json"
    found = json.loads(written.read_text("utf-8")) if written.exists() else {}
    ablation: dict[str, Any] | None = found.get("ablation")
    return ablation


def about_scale(bench: Bench) -> dict[str, Any]:
    """What is made smaller, and what is held to the paper's values."""
    lesion, scale = lesion_um(bench.cases), bench.scale
    steps = scale.steps_for(protocol.EPOCHS[0], protocol.TRAINING_TILES)
    return {
        "name": scale.name,
        "tile_px": [protocol.TILE_PX, scale.tile_px],
        "tile_um": [protocol.SIDE_UM, bench.side_um],
        "lesion_um": [protocol.LESION_UM, round(lesion, 1)],
        "view_per_lesion": [round(protocol.VIEW, 3), round(bench.side_um / lesion, 3)],
        "narrower": scale.narrower,
        "steps_for_50_epochs": [protocol.EPOCHS[0] * protocol.STEPS_PER_EPOCH, steps],
        "learning_rate": [protocol.RATE, scale.rate(protocol.RATE, protocol.EPOCHS[0], steps)],
        "rate_times_steps": [
            protocol.rate_times_steps(protocol.RATE, protocol.EPOCHS[0]),
            scale.rate(protocol.RATE, protocol.EPOCHS[0], steps) * steps,
        ],
        "batch": [protocol.BATCH, protocol.BATCH],
        "resnet50_weights": ["imagenet", bench.weights],
        "device": str(bench.fabric.device),
    }


def about_slides(bench: Bench, stated: dict[str, Any]) -> dict[str, Any]:
    """How many tiles there are, how many with lesions, and how much of the drawn tiles is lesion; the paper's beside."""
    side = bench.side_um
    grid = 0
    for case in bench.cases:
        with open_slide(case.slide, case.mpp) as slide:
            grid += int(slide.box.width * slide.mpp // side) * int(slide.box.height * slide.mpp // side)
    judged = list(stated["epochs"].values())[-1]
    return {
        "names": [case.name for case in bench.cases],
        "patients": list(bench.patients),
        "left_out": bench.left_out,
        "referees": [case.name for case in bench.referees],
        "built_in": any(case.site == "built-in" for case in bench.cases),
        "tiles": [protocol.TILES, grid],
        "kept": [protocol.KEPT_RATIO * protocol.TILES_WITH_MASK, stated["tiles"]],
        "with_mask": [protocol.TILES_WITH_MASK, stated["tiles_with_mask"]],
        "tile_share": [protocol.TILES_WITH_MASK / protocol.TILES, stated["tiles_with_mask"] / max(1, grid)],
        "kept_share": [1 / protocol.KEPT_RATIO, stated["tiles_with_mask"] / max(1, stated["tiles"])],
        "pixel_share": [protocol.PREVALENCE["Table 1"], judged["train"]["truth"]["prevalence"]],
    }


def plan_study(out: Path, options: StudyOptions) -> tuple[list[PlannedRun], float]:
    """What would be trained, with steps and minutes, and the minutes of all else; writes nothing, draws nothing."""
    given = given_slides(options)
    cases, referees = study_cases(given) if given else ((), ())
    side = side_for(cases, options.scale) if cases else protocol.SIDE_UM
    weights = "none"  # the same arithmetic, and nothing is downloaded to plan
    fabric = choose_fabric(options.device, "float32")
    bench = Bench(cases, referees, options.scale, side, weights, fabric, out, options.progress)
    expected = expected_tiles(bench)
    named: Iterable[tuple[str, Any]] = main_runs().items()
    ablation = [(run.name, run) for run in ablation_runs(options.seeds)] if options.faults else []
    planned = plan_runs([*named, *ablation], bench, expected)
    mosaic = options.scale.mosaic
    drawing = mosaic.rows * mosaic.columns * 3.5 * mosaic.mm2 * 0.45 / 60 if given is None else 0.0
    return planned, drawing + our_minutes(options.scale, options.device) + len(planned) * 0.1


def expected_tiles(bench: Bench) -> Expected:
    """How many tiles there will be: of the slides if they are there, else of the mosaics that will be drawn."""
    if not bench.cases:
        mosaic = bench.scale.mosaic
        fragments = mosaic.rows * mosaic.columns
        tiles = 3 * fragments * mosaic.mm2 * 1e6 / bench.side_um**2
        lesions = sum(mosaic.lesions[:3])
        return Expected(tiles * KEPT, lesions * TILES_A_LESION, tiles * KEPT * 0.5)
    grid = 0.0
    for case in bench.cases:
        with open_slide(case.slide, case.mpp) as slide:
            grid += slide.box.area * slide.mpp**2 / bench.side_um**2
    with_mask = protocol.TILES_WITH_MASK / protocol.TILES * grid
    return Expected(grid * KEPT, with_mask, grid * KEPT / 2)
