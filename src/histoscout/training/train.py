"""From a cohort and a recipe to a model folder: the training chain on one page.

recipe, cohort -> split by patient -> windows -> read image + rasterise outlines -> augment -> network -> loss
               -> guards -> steps
               -> tuning patients: best weights, temperature, threshold -> model folder

With several members all of this but the first two is done for each in turn, with other tuning patients.
"""

import copy
import itertools
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.errors import TrainingError
from histoscout.network.losses import make_loss
from histoscout.network.model_folder import ModelFolder
from histoscout.progress import Progress, Silent
from histoscout.recipe import Recipe
from histoscout.sampling.datasets import PlainExamples, SampledExamples, Sampler
from histoscout.sampling.sampler import ImageSampler, WindowSampler, evenly, grid_windows
from histoscout.training.budget import (
    LEAST_STEPS,
    Budget,
    Clock,
    Timed,
    budget_for,
    overtime,
    rehearse,
    time_validation,
)
from histoscout.training.checkpoint import State, load_state
from histoscout.training.data import Sets, count_tuning_windows, open_image_sets, open_sets, turned
from histoscout.training.ensemble import Course, Member, members_of
from histoscout.training.finalize import finish, finish_images
from histoscout.training.history import draw_curves, forget_after, read_rows
from histoscout.training.loop import (
    Batches,
    Job,
    Validation,
    fit,
    make_optimizer,
    plain_batches,
    sampled_batches,
)
from histoscout.training.planning.plan import Plan, PlanOptions, kept_in, plan_for
from histoscout.training.pseudo_labels import LOOKS, SHARE, SecondLook, count_looked_at, looks_again
from histoscout.training.run_folder import RunFolder, open_run, settle
from histoscout.training.sanity.run import guard, guard_division
from histoscout.training.setup import choose_fabric, first_network, known_to, patients_met
from histoscout.training.validation import answers, validate

MOST_STEPS = 10_000_000  # what the batches are drawn up to while the number of steps is not known yet


@dataclass(frozen=True)
class TrainOptions:
    """What is not part of the recipe: where to compute, what to start from, who is told."""

    device: str = "auto"
    start: Path | None = None  # a model folder whose weights are the start
    overwrite: bool = False
    sanity_checks: str = (
        "all"  # "quick": without learning a batch by heart; "tell": failures are told, training goes on
    )
    progress: Progress = field(default_factory=Silent)


def train(
    cohort: Cohort | Path, out: Path, recipe: Recipe | Plan | None = None, options: TrainOptions | None = None
) -> ModelFolder:
    """Teach a network to find the outlined lesions; what it learnt goes to the model folder `out`.

    Without a recipe, one is planned for this cohort and machine (`training.plan`); a plan is kept, with its reasons, as
    training/plan.toml in the model folder.
    Slides whose split is "test" are never opened. Started again after an interruption, it goes on where it was and
    ends with the same weights; if `out` is finished already, its model is returned. Raises CohortError,
    TrainingError, RecipeError or OutputError; SlideError or AnnotationError for what cannot be read; ModelError for weights
    to begin with that do not fit. What was done is kept in `out`/training.
    """
    begun = time.monotonic()
    options = options or TrainOptions()
    cohort = read_cohort(cohort) if isinstance(cohort, Path) else cohort
    if recipe is None:
        planning = PlanOptions(progress=options.progress, notes=False)
        recipe = plan_for(cohort, out, planning, overwrite=options.overwrite)
    try:
        return _train(cohort, out, recipe, options, begun)
    finally:
        settle(out)  # a model that was to be overwritten is there again if the new training was refused


def _train(
    cohort: Cohort, out: Path, recipe: Recipe | Plan, options: TrainOptions, begun: float
) -> ModelFolder:
    """Train by a recipe, or by a plan, which is kept; `begun` is when, by the monotonic clock."""
    planned, recipe = (recipe, recipe.recipe) if isinstance(recipe, Plan) else (None, recipe)
    run = open_run(out, cohort, recipe, options.start, overwrite=options.overwrite)
    if planned is not None and not kept_in(out).exists():
        planned.write(kept_in(out))
    if run.finished is not None:
        options.progress.note(f"{out} is finished already; --overwrite trains it anew")
        return run.finished
    opened = open_image_sets if cohort.by_class else open_sets
    sets = opened(cohort, recipe, run.split, options.progress)
    clock = Clock(recipe.network.ensemble_size, begun)
    clock.share()
    members = []
    for number, member in enumerate(members_of(recipe)):
        clock.begin()
        place = run.member(number)
        own = turned(sets, cohort, recipe, number, place.split)
        refuse_known(options, own, cohort)
        for note in own.notes if own is not sets else ():
            options.progress.note(note)
        members.append(learn(own, member, place, options, clock))
    ended = finish_images if cohort.by_class else finish
    return ended(members, recipe, out)


def refuse_known(options: TrainOptions, sets: Sets, cohort: Cohort) -> None:
    """TrainingError (or a note, if failures are only told) if the model to begin with knows patients it is to be judged by."""
    if options.start is None or not (met := patients_met(known_to(options.start), sets, cohort)):
        return
    fault = f"has learnt from patients who are to judge what is made of it: {', '.join(met)}"
    remedy = "Give these patients the split train, begin with another model, or train without --from"
    if options.sanity_checks != "warn":
        raise TrainingError(options.start, fault, remedy)
    options.progress.note(f"failed: {options.start} {fault}")


def learn(sets: Sets, recipe: Recipe, run: RunFolder, options: TrainOptions, clock: Clock) -> Member:
    """Teach one network. Of further members, which differ by their seed and by who tunes, guards ask about the division only.

    The first one's guards are asked for all, and take an equal share of everybody's minutes.
    """
    job, state = prepare_job(sets, recipe, run, options)
    guarding = options.sanity_checks
    verdicts = guard(job, state, sets, guarding) if run.first else guard_division(job, sets, guarding)
    if run.first:
        clock.share()
    shadow = copy.deepcopy(state.network)
    budget, batches = plan_steps(job, state, run, clock)
    if looks_again(sets, recipe):
        batches = SecondLook(job, sets, budget.steps).batches(state, batches)
    fit(job, state, shadow, budget.steps, batches)
    title = f"{recipe.network.architecture} {recipe.network.encoder}"
    draw_curves(read_rows(job.curves), job.folder / "curves.png", title)
    shadow.load_state_dict(load_file(job.best))
    return Member(job, shadow, sets, Course(budget, verdicts))


def prepare_job(sets: Sets, recipe: Recipe, run: RunFolder, options: TrainOptions) -> tuple[Job, State]:
    """Everything the loop is given: data, network, loss, validation, optimiser."""
    torch.manual_seed(recipe.seed)
    fabric = choose_fabric(options.device, recipe.training.precision)
    examples = SampledExamples(sets.train, sampler_of(sets, recipe), recipe)
    grid = grid_windows(sets.tune, recipe, sets.tune_boxes)
    tuning = PlainExamples(sets.tune, evenly(grid, recipe.training.validation_patches, recipe.seed), recipe)
    loss = make_loss(recipe)
    judged = range(1, len(recipe.classes.labels) + 1) if sets.by_class else (1,)

    def batches(start: int, stop: int) -> Batches:
        return sampled_batches(examples, recipe, start, stop)

    def judge(shadow: nn.Module) -> Validation:
        found = answers(fabric.setup_module(shadow), plain_batches(tuning, recipe), recipe, fabric)
        return validate(found, loss, judged)

    network, prior = first_network(recipe, options.start, examples)
    network = fabric.to_device(network.to(memory_format=torch.channels_last))
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    state = State(network, average, make_optimizer(network, recipe.training))
    told = (run.folder, options.progress)
    asked = count_tuning_windows(sets, recipe)
    again = count_looked_at(sets, recipe)
    known = known_to(options.start)
    return Job(
        recipe, fabric, loss, prior, examples, tuning, batches, judge, *told, asked, again, known
    ), state


def sampler_of(sets: Sets, recipe: Recipe) -> Sampler:
    """What draws training windows: over lesions, look-alikes and tissue, or over images by their class."""
    if sets.by_class:
        return ImageSampler(sets.train, recipe)
    return WindowSampler(sets.train, recipe, sets.kept_out)


def plan_steps(job: Job, state: State, run: RunFolder, clock: Clock) -> tuple[Budget, Batches]:
    """How many steps, and the batches that are left; a training that was begun keeps the number it was given then."""
    choices = job.recipe.training
    if run.budget.exists():
        budget = Budget.read(run.budget)
        if run.last.exists():
            load_state(state, run.last)
            job.progress.note(f"going on at step {state.step} of {budget.steps}")
        forget_after(job.curves, state.step)
        return budget, job.batches(state.step, budget.steps)
    if choices.epochs is not None:
        budget = Budget(choices.epochs * choices.steps_per_epoch)
        budget.write(run.budget)
        return budget, job.batches(0, budget.steps)
    assert choices.minutes is not None
    ahead = job.batches(0, MOST_STEPS)
    step_seconds, used = rehearse(job, state.network, ahead)
    validation_seconds, reading = time_validation(job, state.network)
    window = reading + validation_seconds / max(1, len(job.tuning))
    timed = Timed(
        step_seconds,
        validation_seconds,
        tuning=job.tuning_windows * window,
        again=LOOKS * job.again_windows * window,
        most_again=LOOKS * SHARE * choices.batch_size * window,
    )
    budget = budget_for(choices.minutes, clock.spent(), timed, job.recipe)
    if late := overtime(choices.minutes, budget, timed):
        message = f"the tuning slides are large: choosing the threshold will take {late:.0f} minutes more than were given"
        job.progress.note(message)
    if budget.steps <= LEAST_STEPS:
        message = f"the minutes are too few for this cohort on this machine: {budget.steps} steps are made all the same. Give more"
        job.progress.note(message)
    budget.write(run.budget)
    return budget, itertools.islice(itertools.chain(used, ahead), budget.steps)
