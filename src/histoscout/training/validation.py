"""What a network is worth on windows of the tuning set, which are never varied and never learnt from."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from torch import Tensor, nn

from histoscout.detection.heatmap import LEVELS
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.network.detector import prepare
from histoscout.network.losses import LossFunction
from histoscout.recipe import IGNORE, Recipe
from histoscout.training.loop import Validation

CALIBRATION_PIXELS = 200_000
TEMPERATURES = (float(np.log(0.25)), float(np.log(8.0)))  # logarithms
OFFSETS = (-10.0, 10.0)


def answers(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], recipe: Recipe, fabric: Fabric
) -> Iterable[tuple[Tensor, Tensor]]:
    """The logits (N, C, H, W) or (N, C) of each batch, and its targets; nothing is varied, no gradients."""
    network.eval()
    with torch.inference_mode():
        for pictures, targets in batches:
            images = prepare(fabric.to_device(pictures), recipe.network.input_channels)
            logits = network(images.contiguous(memory_format=torch.channels_last)).float()
            yield logits, fabric.to_device(targets)


def validate(
    found: Iterable[tuple[Tensor, Tensor]], loss: LossFunction, classes: Sequence[int] = (1,)
) -> Validation:
    """Mean loss over the batches, and AP over their pixels (or tiles): of the positive class, or the mean of several.

    `classes` are their values in the targets; those that no target shows are left out of the mean.
    """
    counts, losses, informed = {number: PixelCounts.none() for number in classes}, [], False
    for logits, targets in found:
        losses.append(float(loss(logits, targets)))
        truth = targets.cpu().numpy()
        known = truth != IGNORE
        informed = informed or bool(known.any())
        for number in classes:
            levels = (_probability(logits, number) * (LEVELS - 1)).round().to(torch.uint8).cpu().numpy()
            counts[number] = counts[number] + PixelCounts.of(levels[known], truth[known] == number)
    found_ap = [one.ap for one in counts.values() if one.ap is not None]
    ap = sum(found_ap) / len(found_ap) if found_ap else None
    return Validation(sum(losses) / max(1, len(losses)), ap, informed)


def positive_probability(logits: Tensor) -> Tensor:
    """The probability of the positive class: the only output, or the one after the background's."""
    return _probability(logits, 1)


def _probability(logits: Tensor, number: int) -> Tensor:
    return logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.softmax(1)[:, number]


def fit_calibration(
    found: Iterable[tuple[Tensor, Tensor]], seed: int, *, offset: bool = True
) -> tuple[float, float]:
    """Temperature and offset (0 unless it is asked for) that make the probabilities fit how often they are right.

    (1, 0) if all that is known is of one class. Where nothing, or everything, is of the positive class, the offset stays 0:
    it would go to infinity, and take the class away for good.

    The temperature (Guo 2017) divides the logits; the offset is added to the log odds of the positive class, which
    training windows hold far more often than slides do (Alexandari 2020: a temperature alone cannot mend that). Found
    by the lowest log loss over at most 200,000 pixels of windows of the regular grid on the tuning slides: where it is
    lowest, the mean probability is the share of the class there.
    """
    logits, truth = _sampled(found, seed)
    if not len(np.unique(truth)) > 1:
        return 1.0, 0.0
    if logits.shape[1] == 1:  # as two classes, the background's logit being 0
        logits, truth = np.pad(logits, ((0, 0), (1, 0))), (truth == 1).astype(np.int64)
    target = torch.from_numpy(truth)

    def log_loss(chosen: NDArray[np.float64]) -> float:
        scaled = torch.from_numpy(logits / np.exp(chosen[0]))
        scaled[:, 1] += chosen[1]
        return float(nn.functional.cross_entropy(scaled, target))

    start = _best_temperature(log_loss)
    if not offset or len(np.unique(truth == 1)) < 2:
        return float(np.exp(start)), 0.0
    best = minimize(log_loss, (start, 0.0), method="Nelder-Mead", bounds=(TEMPERATURES, OFFSETS))
    return float(np.exp(best.x[0])), float(best.x[1])


def _best_temperature(log_loss: Callable[[NDArray[np.float64]], float]) -> float:
    """The logarithm of the best temperature without an offset."""
    best = minimize_scalar(lambda log: log_loss(np.array([log, 0.0])), bounds=TEMPERATURES, method="bounded")
    return float(best.x)


def _sampled(
    found: Iterable[tuple[Tensor, Tensor]], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    logits, truth = [], []
    for batch_logits, batch_targets in found:
        values = batch_logits.movedim(1, -1).reshape(-1, batch_logits.shape[1]).cpu().numpy()
        classes = batch_targets.reshape(-1).cpu().numpy()
        known = np.flatnonzero(classes != IGNORE)
        chosen = random.permutation(known)[: max(1, len(known) // 16)] if len(known) > 4096 else known
        logits.append(values[chosen])
        truth.append(classes[chosen].astype(np.int64))
    if not logits:
        return np.zeros((0, 1), np.float32), np.zeros(0, np.int64)
    every, kinds = np.concatenate(logits), np.concatenate(truth)
    kept = random.permutation(len(kinds))[:CALIBRATION_PIXELS]
    return every[kept], kinds[kept]
