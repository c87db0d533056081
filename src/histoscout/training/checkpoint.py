"""Checkpoints: the state of a training in one file, from which a killed run resumes as if it had never stopped.

A .safetensors file: tensors only, nothing executable. Step and best score are in its header.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from histoscout.errors import TrainingError
from histoscout.io.files import atomic_write
from histoscout.io.inputs import CHECKSUM
from histoscout.network.weights import save_tensors

StateDict = dict[str, Tensor]

SAVE_SECONDS = 30.0
"""Seconds between checkpoints: what a killed run loses at most."""

MAX_SAVE_SHARE = 0.1
"""Share of the time that checkpoints may take: on a GPU one validation soon follows another."""

RENAMED_GROUPS: Mapping[str, str] = MappingProxyType({"optimiser": "optimizer"})
"""Groups of tensors as histoscout 0.1.0 named them, and what they are called now; both are read."""


@dataclass(kw_only=True)
class TrainingState:
    """What training changes: the network, its averaged weights, the optimizer, and the progress.

    Attributes:
        network: The network.
        average: The exponential moving average of its weights.
        optimizer: The optimizer.
        step: Number of steps taken.
        best: The highest validation score so far, -1 before the first.
    """

    network: nn.Module
    average: StateDict
    optimizer: Optimizer
    step: int = 0
    best: float = -1.0


def save_state(state: TrainingState, path: Path) -> None:
    """Write a checkpoint with everything needed to resume.

    Args:
        state: The state of the training.
        path: The file, which is replaced as a whole.
    """
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in state.average.items()}
    for number, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in values.items()}
    header = {"step": json.dumps(state.step), "best": json.dumps(state.best)}
    save_weights(tensors, path, header)


def load_state(state: TrainingState, path: Path) -> None:
    """Read a checkpoint into the state of a training with the same network and optimizer.

    Args:
        state: The state; changed in place.
        path: A file of `save_state`.

    Raises:
        TrainingError: If the file is damaged or is of another network.
    """
    try:
        tensors, header = _read(path)
        groups: dict[str, StateDict] = {"network": {}, "average": {}, "optimizer": {}}
        for name, value in tensors.items():
            group, _, rest = name.partition(".")
            groups[RENAMED_GROUPS.get(group, group)][rest] = value
        state.network.load_state_dict(groups["network"])
        step, best = json.loads(header["step"]), json.loads(header["best"])
    except (SafetensorError, OSError, RuntimeError, KeyError, ValueError) as error:
        raise _damaged(path, error) from error
    for name, value in groups["average"].items():
        state.average[name].copy_(value)
    # the optimizer's tensors are "number.name"; its hyperparameters come from the recipe
    by_number: dict[int, StateDict] = {}
    for name, value in groups["optimizer"].items():
        number, _, rest = name.partition(".")
        by_number.setdefault(int(number), {})[rest] = value
    param_groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": by_number, "param_groups": param_groups})
    state.step, state.best = step, best


@dataclass
class CheckpointWriter:
    """Writes checkpoints when they are due: after quick validations, every 30 seconds, and at the end.

    Attributes:
        path: The checkpoint.
        saved: When it was last written, by the monotonic clock.
        seconds: How long writing took the last time.
    """

    path: Path
    saved: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def save_if_due(self, state: TrainingState, *, validated: bool, finished: bool) -> None:
        """Write the state if it is time.

        Args:
            state: The state of the training.
            validated: Whether a validation has just been done.
            finished: Whether this was the last step.
        """
        since = time.monotonic() - self.saved
        if finished or since > SAVE_SECONDS or (validated and self.seconds <= MAX_SAVE_SHARE * since):
            started = time.monotonic()
            save_state(state, self.path)
            self.saved = time.monotonic()
            self.seconds = self.saved - started


def save_weights(weights: StateDict, path: Path, header: dict[str, str] | None = None) -> None:
    """Write tensors to a .safetensors file, as a whole or not at all.

    Args:
        weights: Tensors by name.
        path: The file, which is replaced.
        header: Texts for the header of the file.
    """
    header = dict(header or {})
    header[CHECKSUM] = _checksum(weights, header)
    with atomic_write(path) as temporary:
        save_tensors(weights, temporary, header)


def read_weights(path: Path) -> StateDict:
    """Read tensors that `save_weights` wrote.

    Args:
        path: The file.

    Returns:
        Tensors by name.

    Raises:
        TrainingError: If the file is damaged.
    """
    try:
        return _read(path)[0]
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _read(path: Path) -> tuple[StateDict, dict[str, str]]:
    """The tensors and the header of a checkpoint; ValueError if its checksum differs."""
    with safe_open(path, "pt") as file:
        header: dict[str, str] = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    # checkpoints of histoscout 0.1.0 have none
    if CHECKSUM in header and header.pop(CHECKSUM) != _checksum(tensors, header):
        raise ValueError("its checksum differs")
    return tensors, header


def _checksum(tensors: StateDict, header: dict[str, str]) -> str:
    """The checksum of the content of a file, whatever the order of its tensors."""
    digest = hashlib.sha256(json.dumps(sorted(header.items())).encode())
    for name, value in sorted(tensors.items()):
        content = value.detach().cpu().contiguous()
        digest.update(f"{name} {content.dtype} {tuple(content.shape)}".encode())
        digest.update(content.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _damaged(path: Path, error: Exception) -> TrainingError:
    fault = f"the checkpoint is damaged or does not fit this recipe ({error})"
    return TrainingError(path, fault, "Start again with --overwrite")


def update_average(average: StateDict, network: nn.Module, *, decay: float, step: int) -> None:
    """Move the averaged weights towards those of the network (exponential moving average).

    Args:
        average: The averaged weights; changed in place.
        network: The network after a step.
        decay: The share that stays; smaller in the first steps, when the average knows nothing.
        step: The step, from 0.
    """
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - decay)
            else:
                average[name].copy_(value)
