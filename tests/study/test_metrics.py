"""The paper's confusion and averages, and a normalization that keeps the order of logits."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from histoscout.evaluation.pixels.counts import Confusion
from histoscout.recipe import IGNORE
from histoscout.study import protocol
from histoscout.study.metrics import (
    LogitNormalizer,
    TileEvaluation,
    add_confusions,
    confusion_metrics,
    count_confusion,
    evaluate_batches,
    macro_average,
    read_confusion,
)

COUNTS = st.integers(0, 500)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_metrics_agree_with_scikit_learn(tp: int, fp: int, fn: int, tn: int) -> None:
    assume(tp + fp + fn + tn > 0)
    truth = np.repeat([1, 0, 1, 0], [tp, fp, fn, tn])
    predicted = np.repeat([1, 1, 0, 0], [tp, fp, fn, tn])
    confusion = Confusion(tp=tp, fp=fp, fn=fn, tn=tn)
    expected = precision_recall_fscore_support(truth, predicted, labels=[0, 1], zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        assert (confusion_metrics(confusion)[name] or 0) == pytest.approx(values[1])
        assert macro_average(confusion)[name] == pytest.approx(values.mean())


@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1"])
def test_the_papers_table_3_follows_from_one_tile_in_46(name: str) -> None:
    positive, negative = 1000, 45_000
    tp, tn = 0.776 * positive, 0.868 * negative
    confusion = Confusion(tp=tp, fp=negative - tn, fn=positive - tp, tn=tn)
    assert macro_average(confusion)[name] == pytest.approx(getattr(protocol.TABLE_3, name), abs=0.005)
    assert confusion_metrics(confusion)[name] == pytest.approx(getattr(protocol.TABLE_3_UDH, name), abs=0.005)


def test_ignored_pixels_are_not_counted() -> None:
    logits = torch.tensor([[[3.0, -3.0, 3.0, -3.0]]])
    confusion = count_confusion(logits, torch.tensor([[1, 1, 0, IGNORE]], dtype=torch.uint8))
    assert confusion == Confusion(tp=1, fp=1, fn=1, tn=0)
    assert confusion_metrics(add_confusions(confusion, confusion))["recall"] == 0.5


def test_a_confusion_of_version_0_1_is_read() -> None:
    expected = Confusion(tp=1, fp=2, fn=3, tn=4)
    assert read_confusion({"hits": 1, "alarms": 2, "misses": 3, "rests": 4}) == expected
    assert read_confusion(vars(expected)) == expected


def test_the_outputs_of_a_stalled_network_are_still_ordered() -> None:
    """All its probabilities would be one level of a heatmap; the order of its logits is not lost."""
    random = torch.Generator().manual_seed(0)
    targets = (torch.rand(1, 64, 64, generator=random) < 0.2).to(torch.uint8)
    logits = -2 + 1e-4 * (targets[:, None] + torch.randn(1, 1, 64, 64, generator=random))
    batches = [(logits, targets)]
    evaluation = evaluate_batches(batches, batches, LogitNormalizer.fit([logits]))
    expected = average_precision_score(targets.flatten(), logits.flatten())
    assert evaluation.own.counts.ap == pytest.approx(expected, abs=0.02)
    assert evaluation.own.confusion.tp == 0


def test_evaluations_add_up() -> None:
    logits, targets = torch.randn(2, 1, 8, 8), torch.ones(2, 8, 8, dtype=torch.uint8)
    evaluation = evaluate_batches([(logits, targets)], [(logits, 1 - targets)], LogitNormalizer.fit([logits]))
    total = evaluation + evaluation + TileEvaluation.empty()
    assert total.own.confusion.tp == 2 * evaluation.own.confusion.tp > 0
    assert evaluation.truth.confusion.fp == evaluation.own.confusion.tp
