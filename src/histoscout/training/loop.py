"""The training loop: read it from top to bottom."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from histoscout.errors import TrainingError
from histoscout.network.graph import prepare
from histoscout.network.losses import LossFunction
from histoscout.progress import Progress
from histoscout.recipe import Recipe
from histoscout.training.checkpoint import Checkpoints, State, average_into, save_weights
from histoscout.training.curves import append_row
from histoscout.training.doubt import FROM, without_doubtful
from histoscout.training.optimise import set_rate
from histoscout.windows.examples import PlainExamples, SampledExamples

Batches = Iterator[tuple[Tensor, Tensor]]  # pictures uint8 (N, H, W, 3), targets uint8 (N, H, W) or (N,)


@dataclass(frozen=True)
class Validation:
    """What a network is worth on the tuning windows; `ap` is None if they hold nothing of the positive class.

    `informed`: whether anything is known of any pixel; if not, the loss says nothing.
    """

    loss: float
    ap: float | None
    informed: bool = True

    @property
    def merit(self) -> float:
        """Higher is better: the AP, or where there is none a falling function of the loss."""
        return self.ap if self.ap is not None else math.exp(-self.loss)


@dataclass(frozen=True)
class Job:
    """What the loop is given: nothing in it chooses data, loss or validation by itself."""

    recipe: Recipe
    fabric: Fabric
    loss: LossFunction
    prior: Sequence[float] | None  # how common background and each class are, if the network was told
    learning: SampledExamples
    tuning: PlainExamples
    batches: Callable[[int, int], Batches]  # from one step up to another
    validate: Callable[[nn.Module], Validation]
    folder: Path  # of checkpoints and curves
    progress: Progress
    tuning_windows: int = 0  # of the tuning slides, as detection looks at them: what follows the last step
    again_windows: int = 0  # of the slides learnt from, if there are second looks at them
    known: Mapping[str, Any] = field(default_factory=dict)  # to the model that this begins with: whose slides

    @property
    def last(self) -> Path:
        return self.folder / "last.safetensors"

    @property
    def best(self) -> Path:
        return self.folder / "best.safetensors"

    @property
    def curves(self) -> Path:
        return self.folder / "curves.csv"


def fit(job: Job, state: State, shadow: nn.Module, steps: int, batches: Batches) -> None:
    """Train from the state's step up to `steps`; the best averaged weights on the tuning set are kept in `job.best`.

    `shadow` is a network of the same kind that shows the averaged weights to validation. Step, windows and dropout
    are functions of the seed, so a run that was killed and goes on ends with the same weights.
    """
    network = job.fabric.setup_module(state.network)
    job.fabric.setup_optimizers(state.optimiser)
    board = SummaryWriter(str(job.folder / "tensorboard"), purge_step=state.step)
    started, checkpoints = time.monotonic(), Checkpoints(job.last)
    losses: list[float] = []
    job.progress.start("training", steps)
    job.progress.advance(state.step)
    for pictures, targets in batches:
        rate = set_rate(state.optimiser, job.recipe.training, state.step, steps)
        doubting = not job.recipe.classes.complete and state.step >= FROM * steps
        losses.append(take_step(job, state, network, (pictures, targets), doubting=doubting))
        average_into(state.average, state.network, job.recipe.training.ema, state.step)
        state.step += 1
        job.progress.advance()
        board.add_scalar("loss/train", losses[-1], state.step)
        due = state.step % job.recipe.training.steps_per_epoch == 0 or state.step == steps
        if due:
            validation = _keep_best(job, state, shadow)
            peak = job.recipe.training.learning_rate
            row = _row(state.step, losses, validation, rate * peak, time.monotonic() - started)
            append_row(job.curves, row)
            board.add_scalar("loss/tune", validation.loss, state.step)
            board.add_scalar("ap/tune", validation.merit, state.step)
            losses.clear()
        checkpoints.keep(state, validated=due, finished=state.step == steps)
    board.close()
    job.progress.done()


def take_step(
    job: Job, state: State, network: nn.Module, batch: tuple[Tensor, Tensor], *, doubting: bool = False
) -> float:
    """One step of the optimiser on one batch; the loss. TrainingError if the loss is no longer a number.

    `doubting`: background that looks like lesion may be lesion, and is not learnt from.
    """
    choices = job.recipe.training
    torch.manual_seed(job.recipe.seed * 1_000_003 + state.step)  # dropout, as a function of the step
    network.train()
    pictures, targets = (job.fabric.to_device(part) for part in batch)
    images = prepare(pictures, job.recipe.network.channels)
    logits = network(images.contiguous(memory_format=torch.channels_last))
    loss = job.loss(logits, without_doubtful(logits, targets) if doubting else targets)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingError(
            job.folder,
            f"the loss is {value} at step {state.step}",
            'Lower training.learning_rate, or set training.precision = "float32"; the checkpoint before it is kept',
        )
    state.optimiser.zero_grad(set_to_none=True)
    job.fabric.backward(loss)
    if choices.clip:
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), choices.clip)
    state.optimiser.step()
    return value


def _keep_best(job: Job, state: State, shadow: nn.Module) -> Validation:
    """Validate the averaged weights, and keep them if they are the best so far, or if nothing says which are."""
    shadow.load_state_dict(state.average)
    validation = job.validate(shadow)
    if not validation.informed:
        if state.step <= job.recipe.training.steps_per_epoch:
            job.progress.note(
                "no tuning window shows tissue that counts: the last weights will be kept, not the best"
            )
        save_weights(state.average, job.best)
    elif validation.merit > state.best:
        state.best = validation.merit
        save_weights(state.average, job.best)
    return validation


def _row(
    step: int, losses: list[float], validation: Validation, rate: float, seconds: float
) -> dict[str, float | None]:
    return {
        "step": step,
        "train_loss": round(sum(losses) / max(1, len(losses)), 6),
        "tune_loss": round(validation.loss, 6),
        "tune_ap": None if validation.ap is None else round(validation.ap, 6),
        "learning_rate": rate,
        "seconds": round(seconds, 1),
    }
