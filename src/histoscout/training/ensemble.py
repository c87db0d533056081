"""What each of a model's networks has learnt, and how they answer as one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.geometry.box import Box
from histoscout.network.detector import Detector, Ensemble, count_outputs
from histoscout.recipe import Recipe
from histoscout.registry import ARCHITECTURES
from histoscout.training.budget import Budget
from histoscout.training.data import Sets
from histoscout.training.loop import Job, plain_batches
from histoscout.training.validation import answers, fit_calibration
from histoscout.verdict import Verdict

SEEDS_APART = 1_000  # between members, so that models of neighbouring seeds share none


def members_of(recipe: Recipe) -> list[Recipe]:
    """The recipe of each member of a model: its share of the minutes, a seed of its own."""
    count, minutes = recipe.network.ensemble_size, recipe.training.minutes
    shared = {"network.ensemble_size": 1, "training.minutes": minutes and minutes / count}
    return [
        recipe.with_choices({**shared, "seed": recipe.seed + number * SEEDS_APART}) for number in range(count)
    ]


@dataclass(frozen=True)
class Course:
    """How a training went: its steps, and what the guards said before the first of them."""

    budget: Budget
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Member:
    """One network with the best of its weights, the slides it learnt from and was tuned on, and how it went."""

    job: Job
    network: nn.Module
    sets: Sets
    course: Course

    def calibration(self, *, offset: bool) -> tuple[float, float]:
        """Temperature and offset that suit this network on its own tuning windows."""
        job, recipe = self.job, self.job.recipe
        network = job.fabric.setup_module(self.network)
        found = answers(network, plain_batches(job.tuning, recipe), recipe, job.fabric)
        return fit_calibration(found, recipe.seed, offset=offset)


@dataclass(frozen=True)
class Tuned:
    """A slide that is tuned on, the blocks of it that are (None: all), and an engine that has not learnt from it."""

    labeled: LabeledSlide
    blocks: Sequence[Box] | None
    engine: "InTraining"


@dataclass(frozen=True)
class Trained:
    """All networks of a model and how sure each of them may be."""

    members: Sequence[Member]
    calibrations: Sequence[tuple[float, float]]  # temperature and offset of each

    @classmethod
    def of(cls, members: Sequence[Member], *, offset: bool) -> "Trained":
        """Each network calibrated on its own tuning windows."""
        return cls(members, [one.calibration(offset=offset) for one in members])

    def joined(self, numbers: Sequence[int]) -> tuple[nn.Module, float, float]:
        """Some of the networks as one; temperature and offset that are still to be applied."""
        if len(numbers) == 1:
            return (self.members[numbers[0]].network.eval(), *self.calibrations[numbers[0]])
        outputs = count_outputs(self.members[0].job.recipe)
        network = Ensemble([self.members[number].network for number in numbers], outputs)
        for place, number in enumerate(numbers):
            network.calibrate(place, *self.calibrations[number])
        return network.eval(), 1.0, 0.0

    def engine(self, numbers: Sequence[int]) -> "InTraining":
        """Some of the networks as an engine."""
        job = self.members[0].job
        network, temperature, offset = self.joined(numbers)
        device = job.fabric.device
        return InTraining(
            Detector(network.to(device), job.recipe, temperature, offset).eval().to(device), job
        )

    @property
    def everybody(self) -> range:
        return range(len(self.members))

    @cached_property
    def tuned(self) -> tuple[Tuned, ...]:
        """Every slide that somebody is tuned on, to be judged by all who have not learnt from it."""
        strangers: dict[int, list[int]] = {}
        for number, one in enumerate(self.members):
            for labeled in one.sets.tune:
                strangers.setdefault(id(labeled), []).append(number)
        engines = {numbers: self.engine(numbers) for numbers in set(map(tuple, strangers.values()))}
        found = {}
        for one in self.members:
            for place, labeled in enumerate(one.sets.tune):
                engine = engines[tuple(strangers[id(labeled)])]
                found[id(labeled)] = Tuned(labeled, one.sets.tune_boxes.get(place), engine)
        return tuple(found.values())

    @property
    def slides(self) -> list[LabeledSlide]:
        """All slides that were learnt from or tuned on, each once."""
        first = self.members[0].sets
        return _once((*first.train, *first.tune))

    @property
    def taught(self) -> list[LabeledSlide]:
        """The slides that somebody has learnt from, each once."""
        return _once(labeled for one in self.members for labeled in one.sets.train)


def _once(slides: Iterable[LabeledSlide]) -> list[LabeledSlide]:
    """Each slide once, also where its blocks for tuning are a set of their own."""
    return list({id(labeled.slide): labeled for labeled in slides}.values())


@dataclass(frozen=True)
class InTraining:
    """Networks in hand as an engine, in the precision of training: no model folder is written yet."""

    detector: Detector
    job: Job

    @property
    def labels(self) -> tuple[str, ...]:
        return self.job.recipe.classes.labels

    @property
    def description(self) -> str:
        return f"torch {torch.__version__} on {self.job.fabric.device}"

    @property
    def answers(self) -> Literal["pixels", "tile"]:
        kind = ARCHITECTURES[self.job.recipe.network.architecture].answers
        return "tile" if kind == "tile" else "pixels"

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The answers for any number of windows."""
        with torch.inference_mode(), self.job.fabric.autocast():
            found = self.detector(self.job.fabric.to_device(torch.from_numpy(windows)))
        return np.asarray(found.float().cpu().numpy(), np.float32)

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """The answers for each batch, in order."""
        return map(self, batches)

    def close(self) -> None:
        """Nothing is held."""
