"""Confusion and averages as the paper has them, and a stretch that keeps the order of answers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from histoscout.evaluation.pixels.counts import Confusion
from histoscout.recipe import IGNORE
from histoscout.study import protocol
from histoscout.study.metrics import Judgement, Stretch, added, averaged, count, figures, judge

counts = st.integers(0, 500)


@given(counts, counts, counts, counts)
def test_figures_agree_with_scikit_learn(hits: int, alarms: int, misses: int, rests: int) -> None:
    truth = np.repeat([1, 0, 1, 0], [hits, alarms, misses, rests])
    found = np.repeat([1, 1, 0, 0], [hits, alarms, misses, rests])
    if not len(truth):
        return
    seen = Confusion(hits, alarms, misses, rests)
    expected = precision_recall_fscore_support(truth, found, labels=[0, 1], zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        assert (figures(seen)[name] or 0) == pytest.approx(values[1])
        assert averaged(seen)[name] == pytest.approx(values.mean())


def test_the_papers_table_3_follows_from_one_tile_in_46() -> None:
    positive, negative = 1000, 45_000
    hits, rests = 0.776 * positive, 0.868 * negative
    seen = Confusion(hits, negative - rests, positive - hits, rests)
    for name in ("accuracy", "precision", "recall", "f1"):
        assert averaged(seen)[name] == pytest.approx(getattr(protocol.TABLE_3, name), abs=0.005)
        assert figures(seen)[name] == pytest.approx(getattr(protocol.TABLE_3_UDH, name), abs=0.005)


def test_ignored_pixels_count_for_nothing() -> None:
    logits = torch.tensor([[[3.0, -3.0, 3.0, -3.0]]])
    seen = count(logits, torch.tensor([[1, 1, 0, IGNORE]], dtype=torch.uint8))
    assert (seen.hits, seen.alarms, seen.misses, seen.rests) == (1, 1, 1, 0)
    assert figures(added(seen, seen))["recall"] == 0.5


def test_a_stalled_networks_answers_are_still_told_apart() -> None:
    """All its probabilities would be one level of a heatmap; the order of its answers is not lost."""
    random = torch.Generator().manual_seed(0)
    targets = (torch.rand(1, 64, 64, generator=random) < 0.2).to(torch.uint8)
    logits = -2 + 1e-4 * (targets[:, None] + torch.randn(1, 1, 64, 64, generator=random))
    batches = [(logits, targets)]
    judged = judge(batches, batches, Stretch.of([logits]))
    expected = average_precision_score(targets.flatten(), logits.flatten())
    assert judged.own.counts.ap == pytest.approx(expected, abs=0.02)
    assert judged.own.confusion.hits == 0


def test_judgements_add_up() -> None:
    logits, targets = torch.randn(2, 1, 8, 8), torch.ones(2, 8, 8, dtype=torch.uint8)
    judged = judge([(logits, targets)], [(logits, 1 - targets)], Stretch.of([logits]))
    both = judged + judged + Judgement.none()
    assert both.own.confusion.hits == 2 * judged.own.confusion.hits
    assert judged.truth.confusion.alarms == judged.own.confusion.hits
