"""The training loop: read it from top to bottom.

The optimiser, and how fast it goes at each step.

Lesions that nobody outlined: what looks like one is not taught as background.

Examples to batches, read by worker processes.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from histoscout.errors import TrainingError
from histoscout.hardware import usable_cores
from histoscout.network.detector import prepare
from histoscout.network.losses import LossFunction
from histoscout.progress import Progress
from histoscout.recipe import BACKGROUND, IGNORE, Recipe, TrainingConfig
from histoscout.sampling.datasets import PlainExamples, SampledExamples
from histoscout.training.checkpoint import Checkpoints, State, average_into, save_weights
from histoscout.training.history import append_row


def make_optimizer(network: nn.Module, choices: TrainingConfig) -> Optimizer:
    """AdamW or Adam over exactly the trainable parameters; the encoder at a rate of its own if the recipe says so.

    Biases and normalisation scales are not decayed.
    """
    encoder_rate = choices.encoder_learning_rate or choices.learning_rate
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("encoder."), parameter.ndim > 1), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "lr": encoder_rate if encoder else choices.learning_rate,
            "peak": encoder_rate if encoder else choices.learning_rate,
            "weight_decay": choices.weight_decay if matrix else 0.0,
        }
        for (encoder, matrix), parameters in groups.items()
    ]
    kind = torch.optim.AdamW if choices.optimizer == "adamw" else torch.optim.Adam
    return kind(settings)


def set_rate(optimizer: Optimizer, choices: TrainingConfig, step: int, steps: int) -> float:
    """Set each group's learning rate for this step; the share of the peak that it is."""
    share = rate_share(choices, step, steps)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
    return share


def rate_share(choices: TrainingConfig, step: int, steps: int) -> float:
    """The learning rate of a step as a share of its peak.

    "one_cycle" rises from 1/25 and falls to nothing along cosines (Smith 2018); "cosine" rises in a straight line
    and falls to 1/100 along a cosine; "constant" stays.
    """
    if choices.schedule == "constant":
        return 1.0
    rising = max(1, round(choices.warmup * steps))
    if step < rising:
        done = step / rising
        return (
            1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * done)) / 2
            if choices.schedule == "one_cycle"
            else (step + 1) / rising
        )
    done = (step - rising) / max(1, steps - rising)
    least = 1e-4 if choices.schedule == "one_cycle" else 1e-2
    return least + (1 - least) * (1 + math.cos(math.pi * done)) / 2


FROM = 1 / 3
"""Share of the steps after which a network is asked: before, it does not know yet what lesions look like."""

SURER_THAN = 0.1
"""Of the outlined lesion in the same batch: background of which the network is surer may be lesion."""

LEAST = (
    0.3  # probability below which nothing is taken for a lesion, however unsure the network is of all of them
)


def without_doubtful(logits: Tensor, target: Tensor) -> Tensor:
    """The target with background ignored where the network sees as much lesion as in what is outlined.

    `logits` (N, C, H, W) with `target` (N, H, W), or (N, C) with (N,); one output or one for background and each class.
    Background counts as doubtful from the probability on that a tenth of the batch's outlined positive pixels do
    not reach, and never below `LEAST`; a batch without any is left as it is. Other classes are never doubted: somebody
    outlined them. As in label cleaning by a network's own answers (small-loss selection; positive-unlabelled learning);
    measured in docs/log.md.
    """
    values = logits.detach().float()
    sure = values[:, 0].sigmoid() if values.shape[1] == 1 else values.softmax(1)[:, 1]
    outlined = sure[target == 1]
    if not len(outlined):
        return target
    place = max(1, int(SURER_THAN * len(outlined)))
    limit = outlined.kthvalue(place).values.clamp(min=LEAST)
    return torch.where((target == BACKGROUND) & (sure > limit), IGNORE, target)


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
    job.fabric.setup_optimizers(state.optimizer)
    board = SummaryWriter(str(job.folder / "tensorboard"), purge_step=state.step)
    started, checkpoints = time.monotonic(), Checkpoints(job.last)
    losses: list[float] = []
    job.progress.start("training", steps)
    job.progress.advance(state.step)
    for pictures, targets in batches:
        rate = set_rate(state.optimizer, job.recipe.training, state.step, steps)
        doubting = not job.recipe.classes.complete and state.step >= FROM * steps
        losses.append(take_step(job, state, network, (pictures, targets), doubting=doubting))
        average_into(state.average, state.network, job.recipe.training.ema_decay, state.step)
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
    images = prepare(pictures, job.recipe.network.input_channels)
    logits = network(images.contiguous(memory_format=torch.channels_last))
    loss = job.loss(logits, without_doubtful(logits, targets) if doubting else targets)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingError(
            job.folder,
            f"the loss is {value} at step {state.step}",
            'Lower training.learning_rate, or set training.precision = "float32"; the checkpoint before it is kept',
        )
    state.optimizer.zero_grad(set_to_none=True)
    job.fabric.backward(loss)
    if choices.gradient_clip:
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), choices.gradient_clip)
    state.optimizer.step()
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


MOST_WORKERS = 8


def sampled_batches(examples: SampledExamples, recipe: Recipe, start: int, stop: int) -> Batches:
    """The batches of the steps from `start` up to `stop`; the same whatever the number of workers."""
    size = recipe.training.batch_size
    return iter(_loader(examples, range(start * size, stop * size), recipe))


def plain_batches(examples: PlainExamples, recipe: Recipe) -> Iterable[tuple[Tensor, Tensor]]:
    """The validation windows in order, the last batch perhaps smaller."""
    return _loader(examples, range(len(examples)), recipe)


def _loader(
    examples: SampledExamples | PlainExamples, numbers: range, recipe: Recipe
) -> Iterable[tuple[Tensor, Tensor]]:
    wanted = MOST_WORKERS if recipe.training.workers is None else recipe.training.workers
    workers = min(wanted, usable_cores())  # a recipe may come from a larger machine
    return DataLoader(
        examples,  # type: ignore[arg-type]  # numbered access is all that is needed
        batch_size=recipe.training.batch_size,
        sampler=numbers,
        num_workers=workers if isinstance(examples, SampledExamples) else 0,
        drop_last=False,
        pin_memory=False,
    )
