"""What a report is made from, and how it shows metrics, confidence intervals and units."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from histoscout.cohort.case import Case
from histoscout.evaluation.bootstrap import MIN_PATIENTS, ConfidenceInterval
from histoscout.evaluation.scores import Scores
from histoscout.io.inputs import real_path
from histoscout.network.model_folder import ModelFolder

NOT_ESTIMABLE = "not estimable"
"""Shown for a number that could not be computed."""

DASH = "\u2013"
"""Shown where there is nothing to divide by."""

CI_NOTE = (
    "Brackets: 95\u00a0% CI, bootstrap over patients; not estimable with fewer than "
    f"{MIN_PATIENTS} patients, or if the patients are unknown."
)
"""Below tables of image classification."""

MAX_DECIMALS = 4
"""Decimals of a fraction that is nearly 0 or 1."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % CI, as shown: ".88" and "[.81, .93]".

    Attributes:
        value: The number.
        interval: The confidence interval, or "".
    """

    value: str
    interval: str = ""


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
        return real_path(Path(self.model.path)).name if self.model else "detections"

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


def format_fraction(value: float | None, digits: int = 2) -> str:
    """Format a fraction, or another number without unit, as papers do: .88, 1.00, -.05.

    A value that is not quite 0 or 1 is shown with up to two more digits: .997, .003.

    Args:
        value: Usually between -1 and 1.
        digits: Decimals.

    Returns:
        The number, or `NOT_ESTIMABLE` for None and NaN.
    """
    if not _is_known(value):
        return NOT_ESTIMABLE
    smallest = 0.5 * 10**-digits
    if digits < MAX_DECIMALS and (0 < abs(value) < smallest or 1 - smallest <= abs(value) < 1):
        return format_fraction(value, digits + 1)
    text = f"{abs(value):.{digits}f}"
    text = text[1:] if text.startswith("0.") else text
    return f"\u2212{text}" if value < 0 and float(text) else text


def format_number(value: float | None, digits: int = 3) -> str:
    """Format a number of any size, never as 1e+03.

    Args:
        value: The number.
        digits: Significant digits.

    Returns:
        Text such as 1,234, 12.3 or 0.312; `NOT_ESTIMABLE` for None and NaN.
    """
    return _fixed(value, _decimals(value, digits)) if _is_known(value) else NOT_ESTIMABLE


def fraction_with_ci(value: float | None, low: float | None, high: float | None, digits: int = 2) -> Estimate:
    """Format a fraction and its confidence interval: .88 [.81, .93].

    Args:
        value: The fraction.
        low: Lower bound; without bounds the fraction is shown alone.
        high: Upper bound.
        digits: Decimals.
    """
    return Estimate(
        format_fraction(value, digits),
        _bounds(format_fraction(low, digits), format_fraction(high, digits), low, high),
    )


def number_with_ci(value: float | None, low: float | None, high: float | None) -> Estimate:
    """Format a number and its confidence interval with the same decimals: 12.3 [9.1, 15.0].

    Args:
        value: The number.
        low: Lower bound; without bounds the number is shown alone.
        high: Upper bound.
    """
    if not _is_known(value):
        return Estimate(NOT_ESTIMABLE)
    decimals = _decimals(value, 3)
    bounds = [_fixed(bound, decimals) if _is_known(bound) else NOT_ESTIMABLE for bound in (low, high)]
    return Estimate(_fixed(value, decimals), _bounds(bounds[0], bounds[1], low, high))


def estimate_text(estimate: Estimate) -> str:
    """An estimate inside a sentence: .88 [.81, .93].

    Args:
        estimate: The number and its confidence interval.
    """
    return f"{estimate.value} {estimate.interval}".strip()


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


def format_units(text: str) -> str:
    """Typeset units and signs: um, mm2, cm2 and >= become \u00b5m, mm\u00b2, cm\u00b2 and \u2265.

    Args:
        text: Text of the package only: a slide or a class may be called "um".
    """
    for plain, printed in (("um", "\u00b5m"), ("mm2", "mm\u00b2"), ("cm2", "cm\u00b2")):
        text = re.sub(rf"\b{plain}\b", printed, text)
    return text.replace(">=", "\u2265").replace("<=", "\u2264")


def _bounds(low_text: str, high_text: str, low: float | None, high: float | None) -> str:
    return f"[{low_text}, {high_text}]" if _is_known(low) and _is_known(high) else ""


def _decimals(value: float, digits: int) -> int:
    return max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0


def _fixed(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", "\u2212")


def _is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and not math.isnan(value)
