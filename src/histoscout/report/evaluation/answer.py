"""The answer of an evaluation in a reader's words: lesions found, false positives, how sure that is."""

from collections.abc import Mapping

from histoscout.evaluation.lesions.summary import count_lesions
from histoscout.evaluation.scores import Scores
from histoscout.io.notes import pluralize

MAX_PLACES = 3
"""Kinds of tissue with false positives that are named."""

OTHER_CLASS = "other class: "
"""How places on annotations of another class begin."""

ORDINALS = ("", "", "second", "third", "fourth", "fifth")


def answer(scores: Scores) -> str:
    """The result of an evaluation in a few sentences without statistics.

    Args:
        scores: The result of `evaluate` or `score_regions`.

    Returns:
        Lesions found, false positives for each slide and where they are, and what the number of patients allows.
    """
    counts = count_lesions(scores.lesions)
    who = f"{pluralize(len(scores.patients), 'patient')} ({pluralize(len(scores.slides), 'slide')})"
    positive = scores.protocol.positive
    if not counts.lesions:
        found = f"no {positive} was annotated"
    elif counts.true_positives == counts.lesions:
        every = (
            f"all {counts.lesions:,} {positive} lesions" if counts.lesions > 1 else f"the {positive} lesion"
        )
        found = f"{every} found"
    else:
        lesions = pluralize(counts.lesions, f"{positive} lesion")
        found = f"{counts.true_positives:,} of {lesions} found"
    false_positives = describe_rate(counts.false_positives, counts.slides)
    if counts.false_positives:
        false_positives += f"; {_places(counts.false_positives_on)}"
    return f"On {who}: {found}; {false_positives}.{_merged(counts.merges)} {scores.claims[0]}"


def describe_rate(false_positives: int, slides: int) -> str:
    """False positives as a number for each slide: "3 false positives (about 1 on every second slide)".

    Args:
        false_positives: How many there are.
        slides: On how many slides.
    """
    if not false_positives:
        return "no false positives"
    count = pluralize(false_positives, "false positive")
    if slides < 2:
        return count
    interval = round(slides / false_positives)
    if interval < 2:
        rate = f"{round(false_positives / slides):,} on each slide"
    elif interval < len(ORDINALS):
        rate = f"1 on every {ORDINALS[interval]} slide"
    else:
        rate = f"1 on {interval} slides"
    return f"{count} (about {rate})"


def _places(counts: Mapping[str, int]) -> str:
    """Where false positives are: "2 on ADH, 1 on unannotated tissue"."""
    items = list(counts.items())
    named = [f"{number:,} on {place.removeprefix(OTHER_CLASS)}" for place, number in items[:MAX_PLACES]]
    rest = sum(number for _, number in items[MAX_PLACES:])
    return ", ".join([*named, *([f"{rest:,} elsewhere"] if rest else [])])


def _merged(merges: int) -> str:
    """A sentence on detections that hold several lesions, which is why touching ones count as missed."""
    if not merges:
        return ""
    holds = "detection outlines" if merges == 1 else "detections outline"
    return f" {merges:,} {holds} several lesions as one."
