"""The state of a training in one file, so that a killed run goes on as if it had never been killed.

A .safetensors file: tensors only, nothing that could be executed; the step and figures stand in its header.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from histoscout.errors import TrainingError
from histoscout.io.files import replacing
from histoscout.network.weights import save_tensors

Weights = dict[str, Tensor]

SAVE_SECONDS = 30.0  # between checkpoints: what a killed run loses at most
SAVING = 0.1  # share of the time that checkpoints may take: on a GPU one validation soon follows another


@dataclass
class State:
    """What training changes: the network, its averaged weights, the optimiser, and how far it is."""

    network: nn.Module
    average: Weights
    optimizer: Optimizer
    step: int = 0
    best: float = -1.0  # the highest validation figure so far


def save_state(state: State, path: Path) -> None:
    """Write everything needed to go on from here."""
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in state.average.items()}
    for number, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": value for name, value in values.items()}
    header = {"step": json.dumps(state.step), "best": json.dumps(state.best)}
    save_weights(tensors, path, header)


@dataclass
class Checkpoints:
    """Where the state is kept, and when: after a validation if writing is quick, after 30 seconds, and at the end."""

    path: Path
    saved: float = field(default_factory=time.monotonic)
    took: float = 0.0  # seconds, the last time

    def keep(self, state: State, *, validated: bool, finished: bool) -> None:
        """Write the state, if it is time."""
        since = time.monotonic() - self.saved
        if finished or since > SAVE_SECONDS or (validated and self.took <= SAVING * since):
            begun = time.monotonic()
            save_state(state, self.path)
            self.saved = time.monotonic()
            self.took = self.saved - begun


def load_state(state: State, path: Path) -> None:
    """Put a saved state back into a state of the same network and optimiser; TrainingError if it does not fit."""
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        groups: dict[str, Weights] = {"network": {}, "average": {}, "optimiser": {}}
        for name, value in tensors.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = value
        state.network.load_state_dict(groups["network"])
    except (SafetensorError, OSError, RuntimeError, KeyError) as error:
        raise TrainingError(
            path, f"does not fit this recipe or is damaged ({error})", "Start anew with --overwrite"
        ) from error
    for name, value in groups["average"].items():
        state.average[name].copy_(value)
    _load_optimizer(state.optimizer, groups["optimiser"])
    state.step, state.best = json.loads(header["step"]), json.loads(header["best"])


def _load_optimizer(optimizer: Optimizer, tensors: Weights) -> None:
    values: dict[int, Weights] = {}
    for name, value in tensors.items():
        number, _, rest = name.partition(".")
        values.setdefault(int(number), {})[rest] = value
    optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})


def save_weights(weights: Weights, path: Path, header: dict[str, str] | None = None) -> None:
    """Write tensors as a whole or not at all."""
    with replacing(path) as temporary:
        save_tensors(weights, temporary, header)


def average_into(average: Weights, network: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights a little towards the network's; faster in the first steps, when they know nothing."""
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - decay)
            else:
                average[name].copy_(value)
