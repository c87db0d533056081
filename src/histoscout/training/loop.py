"""The training loop: steps, validation, best weights. Read it from top to bottom.

Beside it what a step needs: masking of unannotated lesions (PU masking), the optimizer with its learning rate
schedule, and the batches, which worker processes read.
"""

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from histoscout.errors import TrainingError
from histoscout.hardware import usable_cores
from histoscout.network.detector import normalize
from histoscout.network.losses import LossFunction
from histoscout.progress import Progress
from histoscout.recipe import BACKGROUND, IGNORE, Recipe
from histoscout.sampling.datasets import PlainExamples, SampledExamples
from histoscout.training.checkpoint import CheckpointWriter, TrainingState, save_weights, update_average
from histoscout.training.early_end import EarlyEndRequest, Pace, Schedule
from histoscout.training.history import append_row, open_tensorboard
from histoscout.training.optimizer import set_learning_rate

PU_START = 1 / 3
"""Share of the steps after which PU masking starts: before, the network does not know what lesions look like."""

PU_QUANTILE = 0.1
"""Quantile of the probabilities of annotated lesions in a batch above which background may be a lesion."""

PU_MIN_PROBABILITY = 0.3
"""Probability below which background is never masked, however unsure the network is of annotated lesions."""

MAX_WORKERS = 8
"""Worker processes that read patches, unless the recipe gives a number."""

Batches = Iterator[tuple[Tensor, Tensor]]
"""Images (N, H, W, 3) uint8 with targets uint8, (N, H, W) or (N,) for tile classifiers."""


@dataclass(frozen=True)
class ValidationResult:
    """Loss and average precision (AP) of a network on the tuning patches.

    Attributes:
        loss: Mean loss.
        ap: AP of the positive class, or mean AP of several classes; None if no patch shows them.
        has_targets: Whether any pixel is annotated; if not, the loss means nothing.
    """

    loss: float
    ap: float | None
    has_targets: bool = True

    @property
    def score(self) -> float:
        """What selects the best weights, higher is better: the AP, or a falling function of the loss."""
        return self.ap if self.ap is not None else math.exp(-self.loss)


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """Everything that the loop is given and does not change: it chooses no data, loss or validation by itself.

    Attributes:
        recipe: The recipe of this ensemble member.
        fabric: Device and precision.
        loss: The loss.
        class_shares: Shares of background and each class that the last layer started from
            (`loss.prior_bias`), or None.
        training_examples: Patches to train on, by number.
        tuning_examples: Patches to validate on.
        make_batches: Makes the batches from one step up to another.
        validate: Validates a network on the tuning patches.
        folder: Where checkpoints and curves are kept.
        progress: Who is informed.
        tuning_windows: Number of detection windows on the tuning slides, which detection reads after the last
            step.
        pseudo_label_windows: Number of detection windows on the training slides, 0 without pseudo-labeling.
        start_data: The "data" section of the start model's metrics: its patients and slides.
        early_end: Whether somebody asks that the training end early.
    """

    recipe: Recipe
    fabric: Fabric
    loss: LossFunction
    class_shares: Sequence[float] | None
    training_examples: SampledExamples
    tuning_examples: PlainExamples
    make_batches: Callable[[int, int], Batches]
    validate: Callable[[nn.Module], ValidationResult]
    folder: Path
    progress: Progress
    tuning_windows: int = 0
    pseudo_label_windows: int = 0
    start_data: Mapping[str, Any] = field(default_factory=dict)
    early_end: EarlyEndRequest = field(default_factory=EarlyEndRequest)

    @property
    def last(self) -> Path:
        """The checkpoint from which a training resumes."""
        return self.folder / "last.safetensors"

    @property
    def best(self) -> Path:
        """The best averaged weights so far."""
        return self.folder / "best.safetensors"

    @property
    def curves(self) -> Path:
        """The CSV file of the curves."""
        return self.folder / "curves.csv"


def fit(
    context: TrainingContext,
    state: TrainingState,
    batches: Batches,
    *,
    shadow: nn.Module,
    steps: int,
    step_seconds: float | None = None,
) -> None:
    """Train from the state's step up to `steps`, and keep the best averaged weights in `context.best`.

    Step, patches and dropout are functions of the seed, so a run that is killed and resumed ends with the
    same weights. If an early end is asked for, the learning rate falls to its lowest in a few more steps.

    Args:
        context: Data, loss and validation.
        state: The network, its averaged weights and the optimizer; changed in place.
        batches: The batches from the state's step on.
        shadow: A network of the same kind, which holds the averaged weights during validation.
        steps: Number of steps of the whole training.
        step_seconds: What a step should take with its share of the validations, if that was timed.

    Raises:
        TrainingError: If the loss is not a finite number.
    """
    choices = context.recipe.training
    schedule = Schedule.read(context.folder, steps)
    if schedule.ended_at is not None:
        context.progress.note(f"this training ends early, at step {schedule.last}, as was asked")
    if state.step >= schedule.last:
        return
    network = context.fabric.setup_module(state.network)
    context.fabric.setup_optimizers(state.optimizer)
    tensorboard = open_tensorboard(context.folder / "tensorboard", state.step)
    checkpoints = CheckpointWriter(context.last)
    started = time.monotonic()
    losses: list[float] = []
    context.progress.start("training", schedule.last)
    context.progress.advance(state.step)
    context.early_end.made, context.early_end.listening = False, True
    pace = Pace(step_seconds)
    for batch in batches:
        if context.early_end.made and schedule.ended_at is None:
            schedule.end_early(state.step)
            context.progress.done()
            context.progress.note(
                f"ending early: {schedule.last - state.step} more steps, in which the learning rate falls, then the "
                "threshold. Ctrl-C again stops at once; the same command then resumes"
            )
            context.progress.start("ending the training", schedule.last - state.step)
        # one step, then the moving average of the weights follows
        factor = set_learning_rate(
            state.optimizer,
            choices,
            step=schedule.planned_step(state.step),
            steps=steps,
            damping=schedule.damping(state.step),
        )
        pu_masking = not context.recipe.classes.complete and state.step >= PU_START * steps
        losses.append(take_step(context, state, batch, network=network, pu_masking=pu_masking))
        update_average(state.average, state.network, decay=choices.ema_decay, step=state.step)
        state.step += 1
        pace.taken += 1
        context.progress.advance()
        if tensorboard is not None:
            tensorboard.add_scalar("loss/train", losses[-1], state.step)
        # validation at the end of each epoch and of the training
        finished = state.step == schedule.last
        validating = state.step % choices.steps_per_epoch == 0 or finished
        if validating:
            result = _keep_best(context, state, shadow)
            row = {
                "step": state.step,
                "train_loss": round(sum(losses) / max(1, len(losses)), 6),
                "tune_loss": round(result.loss, 6),
                "tune_ap": None if result.ap is None else round(result.ap, 6),
                "learning_rate": factor * choices.learning_rate,
                "seconds": round(time.monotonic() - started, 1),
            }
            append_row(context.curves, row)
            if tensorboard is not None:
                tensorboard.add_scalar("loss/tune", result.loss, state.step)
                tensorboard.add_scalar("ap/tune", result.score, state.step)
            losses.clear()
            if late := pace.seconds_late(schedule.last - state.step):
                # said once
                pace.planned = None
                context.progress.note(
                    f"this machine is slower than when the steps were timed: about {late / 60:.0f} minutes more than "
                    "planned"
                )
        checkpoints.save_if_due(state, validated=validating, finished=finished)
        if finished:
            break
    context.early_end.listening = False
    if tensorboard is not None:
        tensorboard.close()
    context.progress.done()


def take_step(
    context: TrainingContext,
    state: TrainingState,
    batch: tuple[Tensor, Tensor],
    *,
    network: nn.Module,
    pu_masking: bool = False,
) -> float:
    """Take one step of the optimizer on one batch.

    Args:
        context: Recipe, device and loss.
        state: The network and the optimizer; changed in place.
        batch: Images (N, H, W, 3) uint8 and targets uint8.
        network: The state's network as `Fabric.setup_module` wraps it.
        pu_masking: Whether background that looks like a lesion is ignored, see `ignore_unlabeled_lesions`.

    Returns:
        The loss before the step.

    Raises:
        TrainingError: If the loss is not a finite number.
    """
    choices = context.recipe.training
    # dropout as a function of seed and step, so that a resumed run repeats it
    torch.manual_seed(context.recipe.seed * 1_000_003 + state.step)
    network.train()
    pictures, targets = (context.fabric.to_device(part) for part in batch)
    images = normalize(pictures, context.recipe.network.input_channels)
    logits = network(images.contiguous(memory_format=torch.channels_last))
    loss = context.loss(logits, ignore_unlabeled_lesions(logits, targets) if pu_masking else targets)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingError(
            context.folder,
            f"the loss is {value} at step {state.step}",
            'Lower training.learning_rate, or set training.precision = "float32"; the last checkpoint is kept',
        )
    state.optimizer.zero_grad(set_to_none=True)
    context.fabric.backward(loss)
    if choices.gradient_clip:
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), choices.gradient_clip)
    state.optimizer.step()
    return value


def _keep_best(context: TrainingContext, state: TrainingState, shadow: nn.Module) -> ValidationResult:
    """Validate the averaged weights; keep them if they are the best so far, or if validation says nothing."""
    shadow.load_state_dict(state.average)
    result = context.validate(shadow)
    if not result.has_targets:
        # without annotated tissue the latest weights are kept; one note, at the first validation
        if state.step <= context.recipe.training.steps_per_epoch:
            context.progress.note(
                "no tuning patch shows annotated tissue: the last weights are kept instead of the best"
            )
        save_weights(state.average, context.best)
    elif result.score > state.best:
        state.best = result.score
        save_weights(state.average, context.best)
    return result


def ignore_unlabeled_lesions(logits: Tensor, target: Tensor) -> Tensor:
    """Ignore background that looks as much like a lesion as annotated lesions do (PU masking).

    For cohorts in which not every lesion is annotated (positive-unlabeled learning). A pixel of background is
    ignored above the probability that all but a tenth of the batch's annotated positive pixels reach, and
    never below `PU_MIN_PROBABILITY`. A batch without positive pixels stays as it is, and other classes are
    never ignored, since they were annotated. Related to small-loss selection in learning with noisy labels.

    Args:
        logits: (N, C, H, W) or (N, C); one output, or one for background and each class.
        target: (N, H, W) or (N,) uint8; not changed.

    Returns:
        The target with some of its background set to `IGNORE`.
    """
    values = logits.detach().float()
    probability = values[:, 0].sigmoid() if values.shape[1] == 1 else values.softmax(1)[:, 1]
    annotated = probability[target == 1]
    if not len(annotated):
        return target
    rank = max(1, int(PU_QUANTILE * len(annotated)))
    limit = annotated.kthvalue(rank).values.clamp(min=PU_MIN_PROBABILITY)
    return torch.where((target == BACKGROUND) & (probability > limit), IGNORE, target)


# ---------------------------------------------------------------- batches


def training_batches(examples: SampledExamples, recipe: Recipe, *, start: int, stop: int) -> Batches:
    """Make the training batches of some steps, which are the same whatever the number of workers.

    Args:
        examples: Training patches by number.
        recipe: Batch size and workers.
        start: The first step.
        stop: The step after the last.

    Returns:
        An iterator of images (N, H, W, 3) uint8 with their targets.
    """
    size = recipe.training.batch_size
    return iter(_loader(examples, range(start * size, stop * size), recipe))


def validation_batches(examples: PlainExamples, recipe: Recipe) -> Iterable[tuple[Tensor, Tensor]]:
    """The validation patches in order, in batches of which the last may be smaller.

    Args:
        examples: The validation patches.
        recipe: The recipe.

    Returns:
        Images (N, H, W, 3) uint8 and targets.
    """
    return _loader(examples, range(len(examples)), recipe)


def _loader(
    examples: SampledExamples | PlainExamples, numbers: range, recipe: Recipe
) -> Iterable[tuple[Tensor, Tensor]]:
    workers = MAX_WORKERS if recipe.training.workers is None else recipe.training.workers
    # no more than this machine has cores: a recipe may come from a larger one
    workers = min(workers, usable_cores())
    return DataLoader(
        examples,  # type: ignore[arg-type]  # access by number is all that is needed
        batch_size=recipe.training.batch_size,
        sampler=numbers,
        num_workers=workers if isinstance(examples, SampledExamples) else 0,
        drop_last=False,
        pin_memory=False,
        worker_init_fn=_ignore_interrupts,
    )


def _ignore_interrupts(worker: int) -> None:
    """Leave Ctrl-C, which a terminal sends to workers, too, to the main process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
