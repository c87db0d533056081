"""Validation and calibration of a network on tuning patches, which are never augmented and never trained on."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from torch import Tensor, nn

from histoscout.detection.heatmap import LEVELS
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.network.detector import normalize
from histoscout.network.losses import LossFunction
from histoscout.recipe import IGNORE, Recipe
from histoscout.training.loop import ValidationResult

CALIBRATION_PIXELS = 200_000
"""Pixels that calibration is fitted to at most."""

DENSE_PIXELS = 4096
"""Annotated pixels of a batch above which one in 16 is taken: neighbors are nearly the same."""

TEMPERATURES = (float(np.log(0.25)), float(np.log(8.0)))
"""Range of the logarithm of the temperature."""

OFFSETS = (-10.0, 10.0)
"""Range of the offset of the log odds."""


def predict_logits(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], recipe: Recipe, fabric: Fabric
) -> Iterable[tuple[Tensor, Tensor]]:
    """Predict the logits of each batch, without augmentation and gradients.

    Args:
        network: The network, wrapped by the fabric.
        batches: Images (N, H, W, 3) uint8 with targets.
        recipe: The recipe.
        fabric: Device and precision.

    Yields:
        Logits (N, C, H, W) or (N, C) float32, with the targets on the same device.
    """
    network.eval()
    with torch.inference_mode():
        for pictures, targets in batches:
            images = normalize(fabric.to_device(pictures), recipe.network.input_channels)
            logits = network(images.contiguous(memory_format=torch.channels_last)).float()
            yield logits, fabric.to_device(targets)


def validate(
    predictions: Iterable[tuple[Tensor, Tensor]], loss: LossFunction, classes: Sequence[int] = (1,)
) -> ValidationResult:
    """Compute the mean loss over batches, and the average precision (AP) over their pixels or tiles.

    Args:
        predictions: Logits and targets of each batch.
        loss: The loss.
        classes: Values of the classes in the targets; the mean AP of those that any target shows.

    Returns:
        Loss and AP.
    """
    counts = {value: PixelCounts.empty() for value in classes}
    losses: list[float] = []
    has_targets = False
    for logits, targets in predictions:
        losses.append(float(loss(logits, targets)))
        truth = targets.cpu().numpy()
        annotated = truth != IGNORE
        has_targets = has_targets or bool(annotated.any())
        for value in classes:
            levels = (_probability(logits, value) * (LEVELS - 1)).round().to(torch.uint8).cpu().numpy()
            counts[value] = counts[value] + PixelCounts.from_levels(
                levels[annotated], truth[annotated] == value
            )
    aps = [class_counts.ap for class_counts in counts.values() if class_counts.ap is not None]
    ap = sum(aps) / len(aps) if aps else None
    return ValidationResult(sum(losses) / max(1, len(losses)), ap, has_targets)


def positive_probability(logits: Tensor) -> Tensor:
    """The probability of the positive class: of the only output, or of the one after the background's.

    Args:
        logits: Output of a network, (N, C, ...).

    Returns:
        Probabilities (N, ...).
    """
    return _probability(logits, 1)


def _probability(logits: Tensor, value: int) -> Tensor:
    return logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.softmax(1)[:, value]


def fit_calibration(
    predictions: Iterable[tuple[Tensor, Tensor]], seed: int, *, offset: bool = True
) -> tuple[float, float]:
    """Fit temperature and offset, so that probabilities match observed frequencies.

    The temperature (Guo 2017) divides the logits. The offset is added to the log odds of the positive class,
    which is far more frequent in training patches than on slides (prior correction; Alexandari 2020: a
    temperature alone cannot correct that). Both minimize the log loss over at most 200,000 pixels of patches
    from the regular grid on the tuning slides: at the minimum, the mean probability is the share of the class
    there.

    Args:
        predictions: Logits and targets of each batch.
        seed: Random seed of the sampled pixels.
        offset: Whether to fit an offset, else it is 0.

    Returns:
        Temperature and offset: (1, 0) if all annotated pixels are of one class. The offset is 0 where no
        pixel, or every pixel, is positive, since it would grow to infinity.
    """
    logits, truth = _sample_pixels(predictions, seed)
    if not len(np.unique(truth)) > 1:
        return 1.0, 0.0
    # a single output as two classes, with 0 for the background
    if logits.shape[1] == 1:
        logits = np.pad(logits, ((0, 0), (1, 0)))
        truth = (truth == 1).astype(np.int64)
    target = torch.from_numpy(truth)

    def log_loss(parameters: NDArray[np.float64]) -> float:
        scaled = torch.from_numpy(logits / np.exp(parameters[0]))
        scaled[:, 1] += parameters[1]
        return float(nn.functional.cross_entropy(scaled, target))

    # the temperature alone, then both from there
    single = minimize_scalar(
        lambda log: log_loss(np.array([log, 0.0])), bounds=TEMPERATURES, method="bounded"
    )
    start = float(single.x)
    if not offset or len(np.unique(truth == 1)) < 2:
        return float(np.exp(start)), 0.0
    best = minimize(log_loss, (start, 0.0), method="Nelder-Mead", bounds=(TEMPERATURES, OFFSETS))
    return float(np.exp(best.x[0])), float(best.x[1])


def _sample_pixels(
    predictions: Iterable[tuple[Tensor, Tensor]], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits (N, C) and classes (N,) of randomly chosen annotated pixels."""
    random = np.random.default_rng(seed)
    logits, truth = [], []
    for batch_logits, batch_targets in predictions:
        values = batch_logits.movedim(1, -1).reshape(-1, batch_logits.shape[1]).cpu().numpy()
        classes = batch_targets.reshape(-1).cpu().numpy()
        chosen = np.flatnonzero(classes != IGNORE)
        if len(chosen) > DENSE_PIXELS:
            chosen = random.permutation(chosen)[: max(1, len(chosen) // 16)]
        logits.append(values[chosen])
        truth.append(classes[chosen].astype(np.int64))
    if not logits:
        return np.zeros((0, 1), np.float32), np.zeros(0, np.int64)
    all_logits = np.concatenate(logits)
    all_classes = np.concatenate(truth)
    kept = random.permutation(len(all_classes))[:CALIBRATION_PIXELS]
    return all_logits[kept], all_classes[kept]
