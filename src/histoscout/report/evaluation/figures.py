"""What the report of an evaluation is made of, and how a figure with its interval is shown in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from histoscout.cohort.case import Case
from histoscout.evaluation.bootstrap import FEWEST_PATIENTS, Interval
from histoscout.evaluation.scores import Scores
from histoscout.network.model_folder import ModelFolder
from histoscout.report.blocks import Figure
from histoscout.report.numbers import NOT_ESTIMABLE, amount, amount_with_interval, share, with_interval

NOTHING_TO_SAY = "\u2013"
"""Stands where there is nothing to divide by."""


@dataclass(frozen=True)
class Measured:
    """The scores, and where there are any the slides they come from and the model that was judged.

    Without `cases` there are no pictures; without a `model` nothing is said of training.
    """

    scores: Scores
    cases: Sequence[Case] = ()
    model: ModelFolder | None = None

    @property
    def few(self) -> bool:
        """Whether there are too few patients for any interval."""
        return len(self.scores.patients) < FEWEST_PATIENTS

    @property
    def name(self) -> str:
        """What is judged, in a word or two."""
        return self.scores.exam.finder

    def shown(self, interval: Interval | None, *, is_share: bool = True) -> Figure:
        """A figure with its interval; where there are too few patients for any, nothing is said of each."""
        figure = interval_shown(interval, is_share=is_share)
        return Figure(figure.value) if self.few else figure

    @property
    def about_intervals(self) -> str:
        """The sentence that tables of figures end with."""
        if self.few:
            return f"Intervals are not estimable with fewer than {FEWEST_PATIENTS} patients."
        return "In brackets: 95\u00a0% intervals over patients."

    @property
    def folder_name(self) -> str:
        """The model's folder, as people know the model by."""
        return Path(self.model.path).resolve().name if self.model else "outlines as given"


NOT_KNOWN = (
    "In brackets: 95\u00a0% intervals over patients; not estimable with fewer than "
    f"{FEWEST_PATIENTS} patients, or where it is not known whose images are."
)


def interval_shown(interval: Interval | None, *, is_share: bool = True) -> Figure:
    """A figure with its interval; a dash where there is nothing to divide by.

    Without brackets if all draws of patients give the same.
    """
    if interval is None or interval.value is None:
        return Figure(NOTHING_TO_SAY)
    low, high = interval.low, interval.high
    plain = share(interval.value) if is_share else amount(interval.value)
    if low is None or high is None:
        return Figure(plain, f"[{NOT_ESTIMABLE}]")
    if math.isclose(low, high, rel_tol=1e-6):
        return Figure(plain)
    make = with_interval if is_share else amount_with_interval
    return make(interval.value, low, high)
