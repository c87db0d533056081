"""How numbers are shown: with the digits they deserve, and what could not be computed in words."""

import math
import re
from typing import TypeGuard

from histoscout.report.blocks import Figure

NOT_ESTIMABLE = "not estimable"
MOST_DIGITS = 4


def share(value: float | None, digits: int = 2) -> str:
    """A number between -1 and 1, or a figure without unit, as papers set it: .88, 1.00, -.05.

    What is not quite 0 or 1 is not shown as if it were, but with up to two digits more: .997, .003.
    """
    if not _known(value):
        return NOT_ESTIMABLE
    least = 0.5 * 10**-digits
    if digits < MOST_DIGITS and (0 < abs(value) < least or 1 - least <= abs(value) < 1):
        return share(value, digits + 1)
    text = f"{abs(value):.{digits}f}"
    text = text[1:] if text.startswith("0.") else text
    return f"\u2212{text}" if value < 0 and float(text) else text


def amount(value: float | None, digits: int = 3) -> str:
    """A number of any size to a few significant digits: 1,234, 12.3, 0.312; never 1e+03."""
    return _fixed(value, _decimals(value, digits)) if _known(value) else NOT_ESTIMABLE


def count(value: int, one: str, many: str = "") -> str:
    """A number of things with the right word: 1 slide, 12 slides."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def with_interval(value: float | None, low: float | None, high: float | None, digits: int = 2) -> Figure:
    """A share and its interval: .88 [.81, .93]; without one, the share alone."""
    return Figure(share(value, digits), _bounds(share(low, digits), share(high, digits), low, high))


def amount_with_interval(value: float | None, low: float | None, high: float | None) -> Figure:
    """A number of any size and its interval, to the same place: 12.3 [9.1, 15.0]."""
    if not _known(value):
        return Figure(NOT_ESTIMABLE)
    decimals = _decimals(value, 3)
    bounds = [_fixed(bound, decimals) if _known(bound) else NOT_ESTIMABLE for bound in (low, high)]
    return Figure(_fixed(value, decimals), _bounds(bounds[0], bounds[1], low, high))


def words(figure: Figure) -> str:
    """A figure inside a sentence."""
    return f"{figure.value} {figure.interval}".strip()


def _bounds(low_text: str, high_text: str, low: float | None, high: float | None) -> str:
    return f"[{low_text}, {high_text}]" if _known(low) and _known(high) else ""


def _decimals(value: float, digits: int) -> int:
    return max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0


def _fixed(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", "\u2212")


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and not math.isnan(value)


def typeset(text: str) -> str:
    """Our own words with units and signs as they are printed: um, mm2, cm2 and >= become \u00b5m, mm\u00b2, cm\u00b2 and \u2265.

    For words of the package only: a slide or a class may be called "um".
    """
    for plain, printed in (("um", "\u00b5m"), ("mm2", "mm\u00b2"), ("cm2", "cm\u00b2")):
        text = re.sub(rf"\b{plain}\b", printed, text)
    return text.replace(">=", "\u2265").replace("<=", "\u2264")
