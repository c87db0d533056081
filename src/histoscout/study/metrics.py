"""The paper's figures: a confusion matrix over all pixels (or tiles) at .5, and beside them the AP.

A network over whole slides: the one yardstick that all runs share, whatever their tiles were.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.detection.grid import WindowPlan, detection_windows
from histoscout.detection.heatmap import compute_heatmap
from histoscout.evaluation.pixels.counts import Confusion, PixelCounts, count_pixels, ratio
from histoscout.network.detector import prepare
from histoscout.progress import Progress
from histoscout.recipe import IGNORE, Recipe
from histoscout.registry import ARCHITECTURES
from histoscout.study.faults import Batch

NOTHING = Confusion(0, 0, 0, 0)


def added(one: Confusion, other: Confusion) -> Confusion:
    """The pixels of both."""
    return Confusion(
        one.hits + other.hits, one.alarms + other.alarms, one.misses + other.misses, one.rests + other.rests
    )


def figures(seen: Confusion) -> dict[str, float | None]:
    """Accuracy, precision, recall and F1 of the positive class, and its prevalence; None for 0 / 0."""
    total = seen.hits + seen.alarms + seen.misses + seen.rests
    return {
        "accuracy": ratio(seen.hits + seen.rests, total),
        "precision": ratio(seen.hits, seen.hits + seen.alarms),
        "recall": ratio(seen.hits, seen.hits + seen.misses),
        "f1": ratio(2 * seen.hits, 2 * seen.hits + seen.alarms + seen.misses),
        "prevalence": ratio(seen.hits + seen.misses, total),
    }


def averaged(seen: Confusion) -> dict[str, float | None]:
    """Precision, recall and F1 averaged over both classes, as Table 3 prints them; accuracy as it is."""
    here = figures(seen)
    there = figures(Confusion(seen.rests, seen.misses, seen.alarms, seen.hits))
    means = {name: _mean(here[name], there[name]) for name in ("precision", "recall", "f1")}
    return {"accuracy": here["accuracy"], **means}


def _mean(one: float | None, other: float | None) -> float:
    """As scikit-learn averages: a figure that cannot be computed counts as 0."""
    return ((one or 0.0) + (other or 0.0)) / 2


def predicted(logits: Tensor) -> Tensor:
    """What the study calls positive: sigmoid(output) > .5, in float32; of two outputs the larger."""
    return logits[:, 0].sigmoid() > 0.5 if logits.shape[1] == 1 else logits[:, 1] > logits[:, 0]


def margin(logits: Tensor) -> Tensor:
    """One number a pixel that orders the answers: the higher, the more positive."""
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def count(logits: Tensor, targets: Tensor) -> Confusion:
    """The confusion of one batch; ignored pixels are left out."""
    found, known, positive = predicted(logits), targets != IGNORE, targets == 1
    return Confusion(
        int((found & positive).sum()),
        int((found & ~positive & known).sum()),
        int((~found & positive).sum()),
        int((~found & ~positive & known).sum()),
    )


@dataclass(frozen=True)
class Stretch:
    """Answers spread over the levels of a heatmap by their mean and deviation; their order stays.

    A network that stalled answers nearly the same everywhere: the 256 levels would not tell its answers apart.
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, logits: Iterable[Tensor]) -> "Stretch":
        values = torch.cat([margin(batch).double().flatten() for batch in logits])
        deviation = float(values.std()) if len(values) > 1 else 0.0
        return cls(float(values.mean()), max(deviation, 1e-12))

    def probability(self, logits: Tensor) -> Tensor:
        """0 to 1, half of it at the mean."""
        return ((margin(logits).double() - self.mean) / self.deviation).sigmoid()


@dataclass(frozen=True)
class Counted:
    """Answers against one kind of masks: the confusion at .5, and all that an AP needs."""

    confusion: Confusion
    counts: PixelCounts

    def __add__(self, other: "Counted") -> "Counted":
        return Counted(added(self.confusion, other.confusion), self.counts + other.counts)

    def to_dict(self) -> dict[str, Any]:
        return {"confusion": vars(self.confusion), **figures(self.confusion), "ap": self.counts.ap}


@dataclass(frozen=True)
class Judgement:
    """A network over a set of tiles: against the masks of its own run, and against the outlines as they are."""

    own: Counted
    truth: Counted

    @classmethod
    def none(cls) -> "Judgement":
        nothing = Counted(NOTHING, PixelCounts.none())
        return cls(nothing, nothing)

    def __add__(self, other: "Judgement") -> "Judgement":
        return Judgement(self.own + other.own, self.truth + other.truth)

    def to_dict(self) -> dict[str, Any]:
        return {"own": self.own.to_dict(), "truth": self.truth.to_dict()}


def judge(found: Iterable[Batch], truths: Iterable[Batch], stretch: Stretch) -> Judgement:
    """Count answers (logits and the run's targets) against both kinds of targets, which come in the same order."""
    judgement = Judgement.none()
    for (logits, own), (_, truth) in zip(found, truths, strict=True):
        levels = (stretch.probability(logits) * 255).round().to(torch.uint8).cpu()
        kinds = [_counted(logits.cpu(), levels, targets.cpu()) for targets in (own, truth)]
        judgement = judgement + Judgement(*kinds)
    return judgement


def _counted(logits: Tensor, levels: Tensor, targets: Tensor) -> Counted:
    known = targets != IGNORE
    counts = PixelCounts.of(levels[known].numpy(), (targets[known] == 1).numpy())
    return Counted(count(logits, targets), counts)


@dataclass(frozen=True)
class Stretched:
    """A network as an engine whose answers are spread over all levels of a heatmap; their order is the network's."""

    network: nn.Module
    recipe: Recipe
    fabric: Fabric
    stretch: Stretch

    @property
    def labels(self) -> tuple[str, ...]:
        return self.recipe.classes.labels

    @property
    def description(self) -> str:
        return f"torch {torch.__version__} on {self.fabric.device}"

    @property
    def answers(self) -> Literal["pixels", "tile"]:
        return "tile" if ARCHITECTURES[self.recipe.network.architecture].answers == "tile" else "pixels"

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The answers for any number of windows: float32 (N, H, W, 1) or (N, 1)."""
        self.network.eval()
        with torch.inference_mode():
            pictures = self.fabric.to_device(torch.from_numpy(windows[:, 0]))
            images = prepare(pictures, self.recipe.network.input_channels).contiguous(
                memory_format=torch.channels_last
            )
            found = self.stretch.probability(self.network(images).float())
        return np.asarray(found.float().cpu().numpy()[..., None], np.float32)

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """The answers for each batch, in order."""
        return map(self, batches)

    def close(self) -> None:
        """Nothing is held."""


def count_whole(engine: Stretched, slides: Sequence[LabeledSlide], progress: Progress) -> PixelCounts:
    """The network's answer to every tissue pixel of some slides, against their outlines."""
    counts = PixelCounts.none()
    for labeled in slides:
        boxes = detection_windows(labeled.slide, labeled.tissue, engine.recipe)
        if boxes:
            progress.start(f"looking at {labeled.slide.name}", len(boxes))
            heatmap = compute_heatmap(
                labeled.slide,
                engine,
                boxes,
                WindowPlan.of(engine.recipe),
                on_window=lambda done, total: progress.advance(),
            )
            progress.done()
            counts = counts + count_pixels(labeled, heatmap, engine.recipe.classes.positive)
    return counts
