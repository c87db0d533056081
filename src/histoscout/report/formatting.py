"""Formatting of numbers, confidence intervals and units on a page and in sentences."""

import math
import re
from dataclasses import dataclass
from typing import TypeGuard

NOT_ESTIMABLE = "not estimable"
"""Shown for a number that could not be computed."""

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
