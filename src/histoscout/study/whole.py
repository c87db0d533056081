"""A network over whole slides: the one yardstick that all runs share, whatever their tiles were."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from histoscout.detection.heatmap import compute_heatmap
from histoscout.detection.labelled import LabelledSlide
from histoscout.detection.windows import WindowPlan, detection_windows
from histoscout.evaluation.pixels import PixelCounts, count_pixels
from histoscout.names import ARCHITECTURES
from histoscout.network.graph import prepare
from histoscout.progress import Progress
from histoscout.recipe import Recipe
from histoscout.study.score import Stretch


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
            images = prepare(pictures, self.recipe.network.channels).contiguous(
                memory_format=torch.channels_last
            )
            found = self.stretch.probability(self.network(images).float())
        return np.asarray(found.float().cpu().numpy()[..., None], np.float32)

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """The answers for each batch, in order."""
        return map(self, batches)

    def close(self) -> None:
        """Nothing is held."""


def count_whole(engine: Stretched, slides: Sequence[LabelledSlide], progress: Progress) -> PixelCounts:
    """The network's answer to every tissue pixel of some slides, against their outlines."""
    counts = PixelCounts.none()
    for labelled in slides:
        boxes = detection_windows(labelled.slide, labelled.tissue, engine.recipe)
        if boxes:
            progress.start(f"looking at {labelled.slide.name}", len(boxes))
            heatmap = compute_heatmap(
                labelled.slide,
                engine,
                boxes,
                WindowPlan.of(engine.recipe),
                on_window=lambda done, total: progress.advance(),
            )
            progress.done()
            counts = counts + count_pixels(labelled, heatmap, engine.recipe.classes.positive)
    return counts
