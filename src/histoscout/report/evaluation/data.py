"""What the sections of an evaluation report are made from; formatting of estimates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from histoscout.cohort.case import Case
from histoscout.evaluation.bootstrap import MIN_PATIENTS, ConfidenceInterval
from histoscout.evaluation.scores import Scores
from histoscout.network.model_folder import ModelFolder
from histoscout.report.formatting import (
    NOT_ESTIMABLE,
    Estimate,
    format_fraction,
    format_number,
    fraction_with_ci,
    number_with_ci,
)

DASH = "\u2013"
"""Shown where there is nothing to divide by."""

CI_NOTE = (
    "Brackets: 95\u00a0% CI, bootstrap over patients; not estimable with fewer than "
    f"{MIN_PATIENTS} patients, or if the patients are unknown."
)
"""Below tables of image classification."""


@dataclass(frozen=True)
class ReportData:
    """What an evaluation report is made from.

    Attributes:
        scores: The scores of the evaluation.
        cases: The slides; without them the report has no pictures.
        model: The model; without it the report says nothing of its training.
    """

    scores: Scores
    cases: Sequence[Case] = ()
    model: ModelFolder | None = None

    @property
    def few_patients(self) -> bool:
        """Whether there are too few patients for confidence intervals."""
        return len(self.scores.patients) < MIN_PATIENTS

    @property
    def name(self) -> str:
        """What is evaluated, in a word or two."""
        return self.scores.protocol.method

    @property
    def folder_name(self) -> str:
        """The name of the model's folder."""
        return Path(self.model.path).resolve().name if self.model else "detections"

    @property
    def ci_note(self) -> str:
        """A sentence on confidence intervals for the captions of tables."""
        if self.few_patients:
            return f"Confidence intervals are not estimable with fewer than {MIN_PATIENTS} patients."
        return "Brackets: 95\u00a0% CI, bootstrap over patients."

    def estimate(self, interval: ConfidenceInterval | None, *, is_fraction: bool = True) -> Estimate:
        """Format a metric with its 95 % CI; with too few patients, without a remark on the CI.

        Args:
            interval: The metric; None gives a dash.
            is_fraction: Whether it is shown as a fraction (.88) or as a number (12.3).
        """
        estimate = format_estimate(interval, is_fraction=is_fraction)
        return Estimate(estimate.value) if self.few_patients else estimate


def format_estimate(interval: ConfidenceInterval | None, *, is_fraction: bool = True) -> Estimate:
    """Format a metric with its 95 % CI.

    Args:
        interval: The metric.
        is_fraction: Whether it is shown as a fraction (.88) or as a number (12.3).

    Returns:
        A dash if there is nothing to divide by; no CI if all bootstrap draws give the same value.
    """
    if interval is None or interval.value is None:
        return Estimate(DASH)
    low = interval.low
    high = interval.high
    text = format_fraction(interval.value) if is_fraction else format_number(interval.value)
    if low is None or high is None:
        return Estimate(text, f"[{NOT_ESTIMABLE}]")
    if math.isclose(low, high, rel_tol=1e-6):
        return Estimate(text)
    with_ci = fraction_with_ci if is_fraction else number_with_ci
    return with_ci(interval.value, low, high)
