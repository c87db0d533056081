"""The networks of a model (deep ensemble): what each was trained on, and how they predict together."""

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
from histoscout.training.budget import Budget
from histoscout.training.data import TrainingData
from histoscout.training.loop import TrainingContext, validation_batches
from histoscout.training.validation import fit_calibration, predict_logits
from histoscout.verdict import Verdict

SEED_STEP = 1_000
"""Between the seeds of ensemble members, so that models with neighboring seeds share none."""


def member_recipes(recipe: Recipe) -> list[Recipe]:
    """Make the recipe of each ensemble member: its share of the minutes, and its own seed.

    Args:
        recipe: The recipe of the model.

    Returns:
        One recipe per member, each of a single network.
    """
    count, minutes = recipe.network.ensemble_size, recipe.training.minutes
    shared = {"network.ensemble_size": 1, "training.minutes": minutes and minutes / count}
    return [
        recipe.with_choices({**shared, "seed": recipe.seed + number * SEED_STEP}) for number in range(count)
    ]


@dataclass(frozen=True, kw_only=True)
class EnsembleMember:
    """One trained network.

    Attributes:
        context: What it was trained with.
        network: The network with its best weights.
        data: Its training and tuning set.
        budget: Its number of steps.
        verdicts: The results of the sanity checks before its first step.
    """

    context: TrainingContext
    network: nn.Module
    data: TrainingData
    budget: Budget
    verdicts: tuple[Verdict, ...]

    def calibrate(self, *, offset: bool) -> tuple[float, float]:
        """Fit temperature and offset on the member's own tuning patches, see `fit_calibration`."""
        context, recipe = self.context, self.context.recipe
        network = context.fabric.setup_module(self.network)
        batches = validation_batches(context.tuning_examples, recipe)
        predictions = predict_logits(network, batches, recipe, context.fabric)
        return fit_calibration(predictions, recipe.seed, offset=offset)


@dataclass(frozen=True)
class TuningSlide:
    """A slide of a tuning set.

    Attributes:
        labeled: The slide.
        boxes: The boxes of it that are for tuning; None for all of it.
        engine: The members that were not trained on it.
    """

    labeled: LabeledSlide
    boxes: Sequence[Box] | None
    engine: "InMemoryEngine"


@dataclass(frozen=True)
class TrainedEnsemble:
    """All networks of a model with their calibration.

    Attributes:
        members: The networks.
        calibrations: Temperature and offset of each.
    """

    members: Sequence[EnsembleMember]
    calibrations: Sequence[tuple[float, float]]

    @classmethod
    def calibrated(cls, members: Sequence[EnsembleMember], *, offset: bool) -> "TrainedEnsemble":
        """Calibrate each network on its own tuning patches.

        Args:
            members: The networks.
            offset: Whether to fit an offset too (prior correction).

        Returns:
            The ensemble.
        """
        return cls(members, [member.calibrate(offset=offset) for member in members])

    def merge(self, numbers: Sequence[int] | None = None) -> tuple[nn.Module, float, float]:
        """Merge some networks into one.

        Args:
            numbers: The numbers of the members; None for all.

        Returns:
            The network in evaluation mode, and the temperature and offset that are still to be applied.
        """
        numbers = range(len(self.members)) if numbers is None else numbers
        if len(numbers) == 1:
            return (self.members[numbers[0]].network.eval(), *self.calibrations[numbers[0]])
        outputs = count_outputs(self.members[0].context.recipe)
        network = Ensemble([self.members[number].network for number in numbers], outputs)
        for position, number in enumerate(numbers):
            network.calibrate(position, *self.calibrations[number])
        return network.eval(), 1.0, 0.0

    def engine(self, numbers: Sequence[int] | None = None) -> "InMemoryEngine":
        """Some networks, or all, as an engine that detection can use."""
        context = self.members[0].context
        network, temperature, offset = self.merge(numbers)
        device = context.fabric.device
        detector = Detector(network.to(device), context.recipe, temperature, offset)
        return InMemoryEngine(detector.eval().to(device), context)

    @cached_property
    def tuning_slides(self) -> tuple[TuningSlide, ...]:
        """Every slide of any tuning set, with the members that were not trained on it."""
        untrained: dict[int, list[int]] = {}
        for number, member in enumerate(self.members):
            for labeled in member.data.tune:
                untrained.setdefault(id(labeled), []).append(number)
        engines = {numbers: self.engine(numbers) for numbers in set(map(tuple, untrained.values()))}
        slides = {}
        for member in self.members:
            for index, labeled in enumerate(member.data.tune):
                engine = engines[tuple(untrained[id(labeled)])]
                slides[id(labeled)] = TuningSlide(labeled, member.data.tuning_boxes.get(index), engine)
        return tuple(slides.values())

    @property
    def slides(self) -> list[LabeledSlide]:
        """All slides of training and tuning sets, each once."""
        data = self.members[0].data
        return _unique((*data.train, *data.tune))

    @property
    def training_slides(self) -> list[LabeledSlide]:
        """The slides that any member was trained on, each once."""
        return _unique(labeled for member in self.members for labeled in member.data.train)


def _unique(slides: Iterable[LabeledSlide]) -> list[LabeledSlide]:
    """Each slide once, also where its tuning blocks are a second object."""
    return list({id(labeled.slide): labeled for labeled in slides}.values())


@dataclass(frozen=True)
class InMemoryEngine:
    """Networks in memory as an `Engine`, in the precision of the training, before a model folder is written.

    Attributes:
        detector: The network with calibration and probabilities.
        context: The training.
    """

    detector: Detector
    context: TrainingContext

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the probabilities, the positive class first."""
        return self.context.recipe.classes.labels

    @property
    def description(self) -> str:
        """The version of torch, and the device."""
        return f"torch {torch.__version__} on {self.context.fabric.device}"

    @property
    def answers(self) -> Literal["pixels", "tile"]:
        """Whether there is a probability for each pixel or one for the window."""
        return "tile" if self.context.recipe.network.predicts_tiles else "pixels"

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predict any number of windows: (N, V, H, W, 3) to (N, H, W, C), or (N, C) for tiles."""
        with torch.inference_mode(), self.context.fabric.autocast():
            probabilities = self.detector(self.context.fabric.to_device(torch.from_numpy(windows)))
        return np.asarray(probabilities.float().cpu().numpy(), np.float32)

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """Predict each batch, in order."""
        return map(self, batches)

    def close(self) -> None:
        """Do nothing: no resource is held."""
