"""Training from top to bottom: from a cohort and a recipe to a model folder.

cohort, recipe -> split by patient -> patches -> augmentation -> network -> loss
               -> sanity checks -> steps
               -> tuning set: best weights, calibration, threshold -> model folder

With several ensemble members, the split and all that follows is done for each in turn, with another tuning
set.
"""

import copy
import itertools
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from histoscout.cohort.case import check_unchanged, file_states
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.cohort.leakage import find_start_model_overlap
from histoscout.errors import TrainingError
from histoscout.io.files import StrPath
from histoscout.io.locks import claim_folder
from histoscout.io.replacement import Replacement, finish_replacement
from histoscout.network.losses import make_loss
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.progress import NoProgress, Progress
from histoscout.recipe import Recipe
from histoscout.sampling.datasets import PlainExamples, SampledExamples, Sampler
from histoscout.sampling.sampler import ImageSampler, PatchSampler, choose_evenly, grid_patches
from histoscout.training.budget import (
    MIN_STEPS,
    Budget,
    Timings,
    TrainingClock,
    describe_minutes,
    make_budget,
    overtime_minutes,
    time_steps,
    time_validation,
)
from histoscout.training.checkpoint import TrainingState, load_state, read_weights
from histoscout.training.data import (
    TrainingData,
    count_tuning_windows,
    open_training_images,
    open_training_slides,
    rotate_tuning_set,
)
from histoscout.training.early_end import EarlyEndRequest
from histoscout.training.ensemble import EnsembleMember, member_recipes
from histoscout.training.finalize import finalize, finalize_images
from histoscout.training.history import drop_rows_after, plot_curves, read_rows
from histoscout.training.loop import (
    Batches,
    TrainingContext,
    ValidationResult,
    fit,
    training_batches,
    validation_batches,
)
from histoscout.training.optimizer import make_optimizer
from histoscout.training.planning.plan import Plan, PlanOptions, load_or_make_plan, plan_file
from histoscout.training.pseudo_labels import (
    MAX_WINDOW_SHARE,
    ROUNDS,
    PseudoLabeler,
    count_pseudo_label_windows,
    uses_pseudo_labels,
)
from histoscout.training.run_folder import (
    RunFolder,
    has_started,
    needs_replacement,
    open_run,
    remove_training_leftovers,
    restore_replaced,
    training_fingerprint,
)
from histoscout.training.sanity.run import check_member_split, run_sanity_checks
from histoscout.training.setup import make_fabric, make_network
from histoscout.training.start import keep_splits, start_recipe
from histoscout.training.validation import predict_logits, validate

MAX_STEPS = 10_000_000
"""Number of steps for which batches are made while the number of steps is not known yet."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of a training that are not part of the recipe.

    Attributes:
        device: "auto", "cpu", "cuda" or "mps".
        start: A model folder whose weights are the start (fine-tuning).
        overwrite: Whether to replace a model or training in the output folder.
        sanity_checks: "all"; "quick" without overfitting one batch; "warn" reports failures and continues.
        progress: Who is informed.
        early_end: Set `made` while the training takes steps, and it ends with what is learned.

    Example:
        >>> from histoscout import TrainOptions
        >>> TrainOptions(device="cpu", sanity_checks="quick").overwrite
        False
    """

    device: str = "auto"
    start: Path | None = None
    overwrite: bool = False
    sanity_checks: str = "all"
    progress: Progress = field(default_factory=NoProgress)
    early_end: EarlyEndRequest = field(default_factory=EarlyEndRequest)


def train(
    cohort: Cohort | StrPath,
    out: StrPath,
    recipe: Recipe | Plan | None = None,
    options: TrainOptions | None = None,
) -> ModelFolder:
    """Train a lesion detector, or a classifier for image classification data.

    Slides of the split "test" are never opened. Run again after an interruption, the training resumes and
    ends with the same weights; if it is finished, its model is returned. Its logs are kept in `out`/training.

    Args:
        cohort: The cohort, or the path of its table.
        out: The model folder to write.
        recipe: A recipe, or a plan, which is kept with its reasons as training/plan.toml; None takes that of the
            start model, or plans a recipe for this cohort and machine.
        options: Device, start model, sanity checks and so on.

    Returns:
        The model.

    Raises:
        CohortError: If the cohort cannot be divided by patient.
        SlideError: If a slide cannot be read.
        AnnotationError: If an annotation file cannot be read.
        RecipeError: If no recipe is given and the cohort does not decide which class to look for.
        TrainingError: If there is nothing to train on, a sanity check fails, or the loss is not finite.
        ModelError: If the start model or the weights do not fit.
        OutputError: If `out` holds something else.

    Example:
        >>> import histoscout as hs
        >>> hs.TrainOptions().device
        'auto'
        >>> model = hs.train("cohort.csv", "model")  # plans a recipe  # doctest: +SKIP
        >>> detections = hs.detect(model, ["slide.svs"], "results")  # doctest: +SKIP
    """
    out = Path(out)
    started = time.monotonic()
    options = options or TrainOptions()
    cohort = cohort if isinstance(cohort, Cohort) else read_cohort(cohort)
    start = None if options.start is None else read_model(options.start)
    cohort = cohort if start is None else keep_splits(cohort, start)

    # the recipe: given, that of the start model, or planned for this cohort and machine
    if recipe is None and start is not None:
        recipe = start_recipe(start, cohort)
    if recipe is None:
        plan_options = PlanOptions(progress=options.progress, notes=False)
        recipe = load_or_make_plan(cohort, out, plan_options, overwrite=options.overwrite)
    chosen = recipe.recipe if isinstance(recipe, Plan) else recipe
    task = TrainingTask(
        cohort=cohort,
        recipe=chosen,
        plan=recipe if isinstance(recipe, Plan) else None,
        start=start,
        options=options,
        clock=TrainingClock(chosen.network.ensemble_size, started),
    )
    with claim_folder(out):
        purpose = training_fingerprint(cohort, chosen, start)
        # what a killed run had finished, or the version before
        finished = finish_replacement(out)
        restore_replaced(out)
        remove_training_leftovers(out)
        if options.overwrite and finished == purpose:
            options.progress.note(f"{out} was replaced by this training already")
            return read_model(out)
        if not (options.overwrite and needs_replacement(out, purpose)):
            return train_in_folder(task, out, purpose)
        # the old model stays until the new one is whole
        replacement = Replacement(out, ("training",))
        with replacement.prepare(purpose):
            try:
                train_in_folder(task, replacement.folder, purpose)
                replacement.commit()
            finally:
                if not has_started(replacement.folder):
                    shutil.rmtree(replacement.folder, ignore_errors=True)
        return read_model(out)


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """What is to be trained.

    Attributes:
        cohort: The cohort.
        recipe: The recipe.
        plan: The plan that the recipe is from, if any.
        start: The model whose weights are the start, if any.
        options: Device, sanity checks and so on.
        clock: How much of the minutes is used.
    """

    cohort: Cohort
    recipe: Recipe
    plan: Plan | None
    start: ModelFolder | None
    options: TrainOptions
    clock: TrainingClock


def train_in_folder(task: TrainingTask, out: Path, fingerprint: Mapping[str, str]) -> ModelFolder:
    """Train in a folder that is locked, resume there, or return the model that is finished there.

    Args:
        task: What is to be trained.
        out: The folder.
        fingerprint: That of the training.

    Returns:
        The model.

    Raises:
        HistoscoutError: As `train`.
    """
    cohort, recipe, start, options = task.cohort, task.recipe, task.start, task.options
    states = {case: file_states(case) for case in cohort.cases if case.split != "test"}
    # start, resume, or return what is finished
    run = open_run(out, fingerprint)
    if task.plan is not None and not plan_file(out).exists():
        task.plan.write(plan_file(out))
    if run.finished is not None:
        options.progress.note(f"{out} is finished already; --overwrite trains it again")
        return run.finished

    # the slides, divided by patient
    open_data = open_training_images if cohort.by_class else open_training_slides
    data = open_data(cohort, recipe, run.split, options.progress)
    check_unchanged(states)
    task.clock.share()

    # one network after the other
    members = []
    for number, member_recipe in enumerate(member_recipes(recipe)):
        task.clock.start_member()
        member_run = run.member(number)
        # by the seed of the model: turns of one seed have different tuning sets
        member_data = rotate_tuning_set(data, cohort, recipe, turn=number, split_file=member_run.split)
        if start is not None:
            check_start_model(start, member_data, cohort, options=options)
        for note in member_data.notes if member_data is not data else ():
            options.progress.note(note)
        member = train_member(
            member_data, member_recipe, member_run, options=options, start=start, clock=task.clock
        )
        members.append(member)

    # the fingerprint belongs to what was read until now
    check_unchanged(states)
    # calibration, threshold, model folder
    write_model = finalize_images if cohort.by_class else finalize
    return write_model(members, recipe, out)


def check_start_model(
    start: ModelFolder, data: TrainingData, cohort: Cohort, *, options: TrainOptions
) -> None:
    """Check that the start model was not trained on patients that will evaluate the new model (leakage).

    Args:
        start: The model whose weights are the start.
        data: Training and tuning set; tuning blocks of training slides are not checked.
        cohort: The cohort, with its test patients.
        options: With `sanity_checks="warn"`, leakage is a note and not an error.

    Raises:
        TrainingError: If it was.
    """
    tuning = set() if data.split.blocks else {labeled.patient for labeled in data.tune}
    test = {case.patient for case in cohort.cases if case.split == "test"}
    patients = find_start_model_overlap(start, tuning, test)
    if not patients:
        return
    fault = f"the model was trained on patients of the tuning or test set: {', '.join(patients)}"
    if options.sanity_checks != "warn":
        remedy = "Give these patients the split train, start from another model, or train without --from"
        raise TrainingError(options.start, fault, remedy)
    options.progress.note(f"failed: {options.start}: {fault}")


def train_member(
    data: TrainingData,
    recipe: Recipe,
    run: RunFolder,
    *,
    options: TrainOptions,
    start: ModelFolder | None,
    clock: TrainingClock,
) -> EnsembleMember:
    """Train one network.

    The first ensemble member passes all sanity checks, for which every member pays an equal share of its
    minutes. Others differ by their seed and tuning set only, so that only the split is checked.

    Args:
        data: Training and tuning set.
        recipe: The recipe of this member.
        run: Where it keeps its state.
        options: Device, sanity checks and so on.
        start: The model whose weights are the start, if any.
        clock: How much of the minutes is used.

    Returns:
        The network with its best weights.

    Raises:
        TrainingError: If a sanity check fails, or the loss is not finite.
    """
    context, state = prepare_training(data, recipe, run, options=options, start=start)
    if run.is_first:
        verdicts = run_sanity_checks(context, state, data, mode=options.sanity_checks)
        clock.share()
    else:
        verdicts = check_member_split(context, data, mode=options.sanity_checks)
    shadow = copy.deepcopy(state.network)
    budget, batches = plan_steps(context, state, run, clock=clock)
    if uses_pseudo_labels(data, recipe):
        batches = PseudoLabeler(context, data, budget.steps).batches(state, batches)
    fit(
        context,
        state,
        batches,
        shadow=shadow,
        steps=budget.steps,
        step_seconds=budget.seconds_per_step(recipe),
    )
    # fewer than planned if the training ended early
    budget = replace(budget, steps=state.step)
    title = f"{recipe.network.architecture} {recipe.network.encoder}"
    plot_curves(read_rows(context.curves), context.folder / "curves.png", title)
    shadow.load_state_dict(read_weights(context.best))
    return EnsembleMember(context=context, network=shadow, data=data, budget=budget, verdicts=verdicts)


def prepare_training(
    data: TrainingData,
    recipe: Recipe,
    run: RunFolder,
    *,
    options: TrainOptions,
    start: ModelFolder | None = None,
) -> tuple[TrainingContext, TrainingState]:
    """Make what the loop needs: patches, network, loss, optimizer and validation.

    Args:
        data: Training and tuning set.
        recipe: The recipe of this ensemble member.
        run: Where it keeps its state.
        options: Device and progress.
        start: The model whose weights are the start, if any.

    Returns:
        What the loop is given, and the state before its first step.

    Raises:
        TrainingError: If the device is not part of this machine.
        ModelError: If the weights do not fit.
    """
    torch.manual_seed(recipe.seed)
    fabric = make_fabric(options.device, recipe.training.precision)
    # training patches by number, tuning patches from a regular grid
    training_examples = SampledExamples(data.train, make_sampler(data, recipe), recipe)
    grid = grid_patches(data.tune, recipe, data.tuning_boxes)
    tuning_patches = choose_evenly(grid, recipe.training.validation_patches, recipe.seed)
    tuning_examples = PlainExamples(slides=data.tune, patches=tuning_patches, recipe=recipe)
    loss = make_loss(recipe)
    classes = range(1, len(recipe.classes.labels) + 1) if data.by_class else (1,)

    def make_batches(first: int, stop: int) -> Batches:
        return training_batches(training_examples, recipe, start=first, stop=stop)

    def validate_network(network: nn.Module) -> ValidationResult:
        batches = validation_batches(tuning_examples, recipe)
        predictions = predict_logits(fabric.setup_module(network), batches, recipe, fabric)
        return validate(predictions, loss, classes)

    network, class_shares = make_network(recipe, start, training_examples)
    network = fabric.to_device(network.to(memory_format=torch.channels_last))
    state = TrainingState(
        network=network,
        average={name: value.detach().clone() for name, value in network.state_dict().items()},
        optimizer=make_optimizer(network, recipe.training),
    )
    context = TrainingContext(
        recipe=recipe,
        fabric=fabric,
        loss=loss,
        class_shares=class_shares,
        training_examples=training_examples,
        tuning_examples=tuning_examples,
        make_batches=make_batches,
        validate=validate_network,
        folder=run.folder,
        progress=options.progress,
        tuning_windows=count_tuning_windows(data, recipe),
        pseudo_label_windows=count_pseudo_label_windows(data, recipe),
        start_data={} if start is None else start.metrics.get("data", {}),
        early_end=options.early_end,
    )
    return context, state


def make_sampler(data: TrainingData, recipe: Recipe) -> Sampler:
    """Make the sampler of training patches.

    Args:
        data: Training and tuning set.
        recipe: The recipe.

    Returns:
        A sampler over lesions, look-alikes and tissue, or over images by class.
    """
    if data.by_class:
        return ImageSampler(data.train, recipe)
    return PatchSampler(data.train, recipe, data.excluded_boxes)


def plan_steps(
    context: TrainingContext, state: TrainingState, run: RunFolder, *, clock: TrainingClock
) -> tuple[Budget, Batches]:
    """Decide on the number of steps, and make their batches; a resumed training keeps its number.

    Args:
        context: The training.
        state: Its state; the last checkpoint is loaded into it.
        run: Where budget and checkpoint are kept.
        clock: How much of the minutes is used.

    Returns:
        The number of steps, and the batches from the state's step on.
    """
    choices = context.recipe.training
    # resumed: the stored number, from the last checkpoint
    if run.budget.exists():
        budget = Budget.read(run.budget)
        if run.last.exists():
            load_state(state, run.last)
            context.progress.note(f"resuming at step {state.step} of {budget.steps}")
        drop_rows_after(context.curves, state.step)
        return budget, context.make_batches(state.step, budget.steps)

    # given as epochs
    if choices.epochs is not None:
        budget = Budget(steps=choices.epochs * choices.steps_per_epoch)
        budget.write(run.budget)
        return budget, context.make_batches(0, budget.steps)

    # given as minutes: time the first steps, whose batches are used again
    assert choices.minutes is not None
    batches = context.make_batches(0, MAX_STEPS)
    step_seconds, used = time_steps(context, state.network, batches)
    validation_seconds, read_seconds = time_validation(context, state.network)
    window_seconds = read_seconds + validation_seconds / max(1, len(context.tuning_examples))
    timings = Timings(
        step=step_seconds,
        validation=validation_seconds,
        tuning=context.tuning_windows * window_seconds,
        pseudo_labels=ROUNDS * context.pseudo_label_windows * window_seconds,
        pseudo_labels_per_step=ROUNDS * MAX_WINDOW_SHARE * choices.batch_size * window_seconds,
    )
    budget = make_budget(choices.minutes, timings, context.recipe, spent=clock.spent())
    if late := overtime_minutes(choices.minutes, budget, timings):
        context.progress.note(
            f"the tuning slides are large: choosing the threshold will take {late:.0f} minutes more than given"
        )
    if budget.steps <= MIN_STEPS:
        context.progress.note(
            f"the minutes are too few for this cohort on this machine: {budget.steps} steps are taken all the same. "
            "Give more minutes"
        )
    steps = budget.steps * timings.step + budget.steps / choices.steps_per_epoch * timings.validation
    ending = (budget.tta_views or 1) * timings.tuning
    context.progress.note(
        f"about {describe_minutes(clock.spent() + steps + ending)} in all: {describe_minutes(clock.spent())} so far, "
        f"{describe_minutes(steps)} for {budget.steps} steps, {describe_minutes(ending)} for the threshold"
    )
    budget.write(run.budget)
    return budget, itertools.islice(itertools.chain(used, batches), budget.steps)
