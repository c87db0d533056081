"""Evaluation of a trained run: on its tiles, on all tiles, and on whole slides.

Whole slides are what all runs have in common, whatever their tiles were.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.detection.grid import WindowPlan, detection_windows
from histoscout.detection.heatmap import compute_heatmap
from histoscout.evaluation.pixels.counts import PixelCounts, count_pixels
from histoscout.network.detector import normalize
from histoscout.network.losses import make_loss
from histoscout.progress import Progress
from histoscout.recipe import Recipe
from histoscout.study.context import StudyContext
from histoscout.study.faults import mask_function
from histoscout.study.metrics import LogitNormalizer, TileEvaluation, evaluate_batches
from histoscout.study.preparation import RunData
from histoscout.study.protocol import Run
from histoscout.study.tiles import TilePixels, iterate_batches, read_tiles
from histoscout.training.validation import predict_logits, validate

TILES_AT_ONCE = 256
"""Number of tiles that are read before they are evaluated."""

NORMALIZER_BATCHES = 4
"""Number of batches from which the deviation of a network's logits is computed."""


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A network after training, with what its evaluation needs.

    Attributes:
        run: The run.
        network: The trained network.
        recipe: The run's recipe.
        data: The run's tiles and slides.
        context: What all runs share.
    """

    run: Run
    network: nn.Module
    recipe: Recipe
    data: RunData
    context: StudyContext

    def fit_normalizer(self) -> LogitNormalizer:
        """Compute how far the network's logits are apart on the first test tiles."""
        count = min(len(self.data.test_pixels.own), NORMALIZER_BATCHES * self.recipe.training.batch_size)
        batches = iterate_batches(
            self.data.test_pixels.select(np.arange(count)), self.run.faults, self.recipe
        )
        predictions = predict_logits(self.network, batches, self.recipe, self.context.fabric)
        return LogitNormalizer.fit([logits.cpu() for logits, _ in predictions])

    def evaluate_tiles(self, pixels: TilePixels, normalizer: LogitNormalizer) -> TileEvaluation:
        """Evaluate the network on some tiles, flipped as the run's faults have it."""
        batches = iterate_batches(pixels, self.run.faults, self.recipe)
        # F flips the correct masks with their images
        predictions = predict_logits(self.network, batches, self.recipe, self.context.fabric)
        truths = iterate_batches(pixels, self.run.faults, self.recipe, truth=True)
        return evaluate_batches(predictions, truths, normalizer)


@dataclass(frozen=True, kw_only=True)
class NormalizedEngine:
    """A network as a detection engine whose outputs are spread over all levels of a heatmap.

    Attributes:
        network: The trained network.
        recipe: The run's recipe.
        fabric: Device and precision.
        normalizer: Spreads the logits; their order stays.
    """

    network: nn.Module
    recipe: Recipe
    fabric: Fabric
    normalizer: LogitNormalizer

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of the recipe."""
        return self.recipe.classes.labels

    @property
    def description(self) -> str:
        """Torch version and device."""
        return f"torch {torch.__version__} on {self.fabric.device}"

    @property
    def answers(self) -> Literal["pixels", "tile"]:
        """Whether the network predicts pixels or tiles."""
        return "tile" if self.recipe.network.predicts_tiles else "pixels"

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the outputs for any number of windows: float32 (N, H, W, 1) or (N, 1)."""
        # windows may have several scales; the study has one
        self.network.eval()
        with torch.inference_mode():
            pixels = self.fabric.to_device(torch.from_numpy(windows[:, 0]))
            images = normalize(pixels, self.recipe.network.input_channels)
            logits = self.network(images.contiguous(memory_format=torch.channels_last)).float()
            probabilities = self.normalizer.probability(logits)
        return np.asarray(probabilities.float().cpu().numpy()[..., None], np.float32)

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """Return the outputs for each batch, in order."""
        return map(self, batches)

    def close(self) -> None:
        """Do nothing: no resources are held."""


def evaluate_sets(trained: TrainedRun) -> dict[str, Any]:
    """Evaluate a run on its training and test tiles.

    Args:
        trained: The run after training.

    Returns:
        Metrics of "train", of "test" (H: training and test tiles together), of "test tiles only", and the "test loss"
        over the test tiles themselves, unflipped, whatever the run's own validation used; None if it is not finite.
    """
    data = trained.data
    normalizer = trained.fit_normalizer()
    train = trained.evaluate_tiles(data.train_pixels, normalizer)
    test = trained.evaluate_tiles(data.test_pixels, normalizer)
    # the loss, as an ordinary validation computes it
    batches = iterate_batches(data.test_pixels, frozenset(), trained.recipe)
    predictions = predict_logits(trained.network, batches, trained.recipe, trained.context.fabric)
    loss = validate(predictions, make_loss(trained.recipe)).loss
    return {
        "train": train.to_dict(),
        "test": (train + test if "H" in trained.run.faults else test).to_dict(),
        "test tiles only": test.to_dict(),
        "test loss": loss if math.isfinite(loss) else None,
    }


def evaluate_all_tiles(trained: TrainedRun) -> TileEvaluation:
    """Evaluate a run on every tile that the filter kept, as in Table 3.

    Args:
        trained: A trained run.
    """
    data, progress = trained.data, trained.context.progress
    normalizer = trained.fit_normalizer()
    make_mask = mask_function(trained.run.faults)
    evaluation = TileEvaluation.empty()
    progress.start("all tiles", len(data.tiles))
    for start in range(0, len(data.tiles), TILES_AT_ONCE):
        tiles = data.tiles[start : start + TILES_AT_ONCE]
        pixels = read_tiles(tiles, data.slides, make_mask, recipe=trained.recipe)
        evaluation = evaluation + trained.evaluate_tiles(pixels, normalizer)
        progress.advance(len(pixels.own))
    progress.done()
    return evaluation


def evaluate_whole_slides(trained: TrainedRun) -> dict[str, Any]:
    """Compute the average precision over all tissue of whole slides.

    Args:
        trained: The run after training.

    Returns:
        "ap" and "prevalence" for the slides of the "referee" and, as the run says, of the patient "left out"; the latter
        also where there is no referee.
    """
    context = trained.context
    if trained.run.whole_slides == "none":
        return {}
    # the ordinary detection, with the levels of the heatmap where the outputs are
    engine = NormalizedEngine(
        network=trained.network,
        recipe=trained.recipe,
        fabric=context.fabric,
        normalizer=trained.fit_normalizer(),
    )
    # the referee for every run, the left-out patient where the run asks for it
    sets = {"referee": context.referee_slides()} if context.referees else {}
    if trained.run.whole_slides == "all" or not sets:
        sets["left out"] = context.left_out_slides()
    counts = {name: count_slide_pixels(engine, slides, context.progress) for name, slides in sets.items()}
    return {name: {"ap": pixels.ap, "prevalence": pixels.prevalence} for name, pixels in counts.items()}


def count_slide_pixels(
    engine: NormalizedEngine, slides: Sequence[LabeledSlide], progress: Progress
) -> PixelCounts:
    """Count the heatmap levels of every tissue pixel of some slides, in and outside of lesions.

    Args:
        engine: Computes heatmaps.
        slides: The slides.
        progress: Where progress is shown.
    """
    counts = PixelCounts.empty()
    for labeled in slides:
        # the ordinary windows over tissue; a slide without tissue has no pixels to count
        boxes = detection_windows(labeled.slide, labeled.tissue, engine.recipe)
        if boxes:
            progress.start(f"detecting on {labeled.slide.name}", len(boxes))
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
