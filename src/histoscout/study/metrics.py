"""The paper's metrics: confusion matrices over pixels or tiles at 0.5; and average precision."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from histoscout.evaluation.pixels.counts import Confusion, PixelCounts, ratio
from histoscout.recipe import IGNORE
from histoscout.study.faults import Batch

EMPTY_CONFUSION = Confusion(tp=0, fp=0, fn=0, tn=0)

RENAMED_COUNTS: Mapping[str, str] = MappingProxyType(
    {"hits": "tp", "alarms": "fp", "misses": "fn", "rests": "tn"}
)
"""Keys of a confusion in results of histoscout 0.1.0 and what they are called now; both are read."""


@dataclass(frozen=True)
class LogitNormalizer:
    """Spreads logits over the levels of a heatmap by mean and deviation; their order stays.

    The outputs of a network that stalled are nearly the same everywhere, so that the 256 levels would not separate them.

    Attributes:
        mean: Mean logit.
        deviation: Standard deviation of the logits.
    """

    mean: float
    deviation: float

    @classmethod
    def fit(cls, logits: Iterable[Tensor]) -> "LogitNormalizer":
        """Compute mean and deviation over some batches of logits."""
        # double precision: the logits of a stalled network differ in their last digits
        values = torch.cat([positive_margin(batch).double().flatten() for batch in logits])
        deviation = float(values.std()) if len(values) > 1 else 0.0
        return cls(float(values.mean()), max(deviation, 1e-12))

    def probability(self, logits: Tensor) -> Tensor:
        """Return values from 0 to 1, one half at the mean."""
        return ((positive_margin(logits).double() - self.mean) / self.deviation).sigmoid()


@dataclass(frozen=True)
class TileScores:
    """A network against one kind of masks.

    Attributes:
        confusion: The confusion at 0.5.
        counts: Histograms from which the average precision follows.
    """

    confusion: Confusion
    counts: PixelCounts

    def __add__(self, other: "TileScores") -> "TileScores":
        return TileScores(add_confusions(self.confusion, other.confusion), self.counts + other.counts)

    def to_dict(self) -> dict[str, Any]:
        """Return the confusion and all metrics by name."""
        return {"confusion": vars(self.confusion), **confusion_metrics(self.confusion), "ap": self.counts.ap}


@dataclass(frozen=True)
class TileEvaluation:
    """A network over a set of tiles.

    Attributes:
        own: Against the masks of its own run.
        truth: Against the correct masks.
    """

    own: TileScores
    truth: TileScores

    @classmethod
    def empty(cls) -> "TileEvaluation":
        """The evaluation over no tiles."""
        nothing = TileScores(EMPTY_CONFUSION, PixelCounts.empty())
        return cls(nothing, nothing)

    def __add__(self, other: "TileEvaluation") -> "TileEvaluation":
        return TileEvaluation(self.own + other.own, self.truth + other.truth)

    def to_dict(self) -> dict[str, Any]:
        """Return both kinds of scores by name."""
        return {"own": self.own.to_dict(), "truth": self.truth.to_dict()}


def evaluate_batches(
    predictions: Iterable[Batch], truths: Iterable[Batch], normalizer: LogitNormalizer
) -> TileEvaluation:
    """Evaluate predictions against both kinds of masks.

    Args:
        predictions: Logits and the run's own targets, batch by batch.
        truths: Batches with the correct targets, in the same order.
        normalizer: Spreads the logits over the levels of the histograms.

    Returns:
        The sum over all batches.
    """
    evaluation = TileEvaluation.empty()
    for (logits, own), (_, truth) in zip(predictions, truths, strict=True):
        # AP from histograms of 256 levels, as for heatmaps
        levels = (normalizer.probability(logits) * 255).round().to(torch.uint8).cpu()
        own_scores, true_scores = (
            _score_batch(logits.cpu(), levels, targets.cpu()) for targets in (own, truth)
        )
        evaluation = evaluation + TileEvaluation(own_scores, true_scores)
    return evaluation


def _score_batch(logits: Tensor, levels: Tensor, targets: Tensor) -> TileScores:
    used = targets != IGNORE
    counts = PixelCounts.from_levels(levels[used].numpy(), (targets[used] == 1).numpy())
    return TileScores(count_confusion(logits, targets), counts)


def predict_positive(logits: Tensor) -> Tensor:
    """Return what the study calls positive: sigmoid > 0.5 in float32; of two outputs the larger.

    Args:
        logits: Output of a network, (N, C, H, W) or (N, C).
    """
    return logits[:, 0].sigmoid() > 0.5 if logits.shape[1] == 1 else logits[:, 1] > logits[:, 0]


def positive_margin(logits: Tensor) -> Tensor:
    """Return one number per pixel that orders the outputs: the higher, the more positive.

    Args:
        logits: Output of a network, (N, C, H, W) or (N, C).
    """
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def count_confusion(logits: Tensor, targets: Tensor) -> Confusion:
    """Return the confusion of one batch; ignored pixels are left out.

    Args:
        logits: Output of a network, (N, C, H, W) or (N, C).
        targets: Classes, of the same size.
    """
    # targets of ignored pixels are neither positive nor used
    predicted = predict_positive(logits)
    used = targets != IGNORE
    positive = targets == 1
    return Confusion(
        tp=int((predicted & positive).sum()),
        fp=int((predicted & ~positive & used).sum()),
        fn=int((~predicted & positive).sum()),
        tn=int((~predicted & ~positive & used).sum()),
    )


def add_confusions(first: Confusion, second: Confusion) -> Confusion:
    """Return the confusion over the pixels of both.

    Args:
        first: A confusion.
        second: Another one.
    """
    return Confusion(
        tp=first.tp + second.tp, fp=first.fp + second.fp, fn=first.fn + second.fn, tn=first.tn + second.tn
    )


def read_confusion(counts: Mapping[str, float]) -> Confusion:
    """Return the confusion of a result file, also of histoscout 0.1.0.

    Args:
        counts: Its counts by name.
    """
    return Confusion(**{RENAMED_COUNTS.get(name, name): value for name, value in counts.items()})


def confusion_metrics(confusion: Confusion) -> dict[str, float | None]:
    """Return accuracy, precision, recall, F1 and prevalence of the positive class; None for 0 / 0.

    Args:
        confusion: The confusion.
    """
    tp, fp, fn, tn = confusion.tp, confusion.fp, confusion.fn, confusion.tn
    total = tp + fp + fn + tn
    return {
        "accuracy": ratio(tp + tn, total),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "prevalence": ratio(tp + fn, total),
    }


def macro_average(confusion: Confusion) -> dict[str, float | None]:
    """Return accuracy, and precision, recall and F1 averaged over both classes, as in Table 3.

    A metric that cannot be computed counts as 0, as in scikit-learn.

    Args:
        confusion: The confusion.
    """
    positive = confusion_metrics(confusion)
    # the rest as the positive class: positives and negatives change places
    negative = confusion_metrics(
        Confusion(tp=confusion.tn, fp=confusion.fn, fn=confusion.fp, tn=confusion.tp)
    )
    means = {
        name: ((positive[name] or 0.0) + (negative[name] or 0.0)) / 2
        for name in ("precision", "recall", "f1")
    }
    return {"accuracy": positive["accuracy"], **means}
