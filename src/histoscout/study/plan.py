"""What a study would do, and about how long it would take on this machine: nothing is written."""

from collections.abc import Iterable
from dataclasses import dataclass

from histoscout.network.build import build_network
from histoscout.study import paper
from histoscout.study.bench import Bench, own_recipe
from histoscout.study.prepare import recipe_for
from histoscout.study.runs import Run
from histoscout.study.scale import Scale
from histoscout.study.stopwatch import step_seconds
from histoscout.training.device import choose_fabric

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
        shape = (recipe.training.batch, recipe.window_px)
        key = (recipe.network.architecture + recipe.network.encoder, *shape)
        if key not in seconds:
            seconds[key] = step_seconds(build_network(recipe), recipe, shape, bench.fabric, 2)
        narrow = 1.0 if "K" in run.faults else 1 / 16
        drawn = expected.with_mask * (1 + paper.NEGATIVES) * (narrow * 2 if narrow < 1 else 1)
        steps = bench.scale.steps_for(
            run.epochs[-1], round(drawn * (1 - paper.TEST_SHARE) * (1 + paper.GROWTH))
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
    shape = (choices.batch, recipe.window_px)
    fabric = choose_fabric(device, choices.precision)
    seconds = step_seconds(build_network(recipe), recipe, shape, fabric, 2)
    return seconds * choices.epochs * choices.steps_per_epoch * (1 + JUDGING) / 60


def _answers(run: Run, bench: Bench, expected: Expected, tiles: tuple[float, float]) -> float:
    """How many steps' worth of tiles are answered for without learning: validations, judgement, whole slides."""
    drawn, narrow = tiles
    validations = bench.scale.points * run.epochs[-1] / paper.EPOCHS[0] * run.share
    judged = drawn * (paper.TEST_SHARE * validations + (2 + paper.GROWTH) * len(run.epochs))
    every = expected.kept if run.model == "densenet121" else 0.0
    whole = {"none": 0.0, "referee": 0.35, "all": 1.0}[run.whole] * expected.whole * narrow
    return FORWARD * (judged + every + whole)
