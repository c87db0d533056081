"""The answer in words adds up and needs no statistics."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histoscout.evaluation.lesions.summary import count_lesions
from histoscout.evaluation.regions import SlideComparison, score_regions
from histoscout.report.evaluation.answer import OTHER_CLASS, answer, describe_rate
from tests.evaluation.slides import COHORTS

JARGON = ("AP", "AUROC", "FROC", "Dice", "IoU", "ECE", "logit", "prevalence")


@pytest.mark.parametrize(
    ("false_positives", "slides", "words"),
    [
        (0, 5, "no false positives"),
        (1, 1, "1 false positive"),
        (3, 5, "3 false positives (about 1 on every second slide)"),
        (2, 6, "2 false positives (about 1 on every third slide)"),
        (1, 40, "1 false positive (about 1 on 40 slides)"),
        (5, 5, "5 false positives (about 1 on each slide)"),
        (1200, 4, "1,200 false positives (about 300 on each slide)"),
    ],
)
def test_rates_are_told_by_the_slide(false_positives: int, slides: int, words: str) -> None:
    assert describe_rate(false_positives, slides) == words


@given(st.integers(1, 500), st.integers(2, 500))
def test_every_rate_can_be_told(false_positives: int, slides: int) -> None:
    assert "about 0" not in describe_rate(false_positives, slides)


@settings(max_examples=30)
@given(COHORTS)
def test_the_answer_counts_what_the_scores_count(slides: tuple[SlideComparison, ...]) -> None:
    scores = score_regions(list(slides))
    counts = count_lesions(scores.lesions)
    text = answer(scores).removesuffix(scores.claims[0])
    assert not any(word in text.split() for word in JARGON)
    if counts.lesions > counts.true_positives:
        assert f"{counts.true_positives} of {counts.lesions} UDH lesion" in text
    if counts.false_positives:
        assert f"{counts.false_positives} false positive" in text
        for place, number in list(counts.false_positives_on.items())[:3]:
            assert f"{number} on {place.removeprefix(OTHER_CLASS)}" in text
