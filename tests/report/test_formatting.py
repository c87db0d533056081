import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.report.formatting import (
    estimate_text,
    format_fraction,
    format_number,
    format_units,
    fraction_with_ci,
    number_with_ci,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.876, ".88"),
        (1.0, "1.00"),
        (0.0, ".00"),
        (-0.05, "\u2212.05"),
        (-0.001, "\u2212.001"),
        (0.999, ".999"),
        (0.99999, "1.0000"),
        (0.0001, ".0001"),
        (0.995, ".995"),
        (12.5, "12.50"),
        (None, "not estimable"),
        (math.nan, "not estimable"),
    ],
)
def test_a_fraction_has_two_decimals_or_as_many_as_it_needs(value: float | None, shown: str) -> None:
    assert format_fraction(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234.5, "1,234"),
        (12.34, "12.3"),
        (0.3123, "0.312"),
        (5.0, "5.00"),
        (0.0, "0"),
        (100.0, "100"),
        (-2.5, "\u22122.50"),
        (0.00012, "0.000120"),
        (1e6, "1,000,000"),
        (None, "not estimable"),
        (30.0, "30.0"),
        (12.04, "12.0"),
    ],
)
def test_a_number_has_three_digits(value: float | None, shown: str) -> None:
    assert format_number(value) == shown


@given(st.floats(-1e9, 1e9))
def test_a_number_keeps_three_digits_of_any_value(value: float) -> None:
    shown = float(format_number(value).replace(",", "").replace("\u2212", "-"))
    assert shown == pytest.approx(value, rel=0.0051, abs=1e-12)
    assert "e" not in format_number(value)


def test_a_confidence_interval_is_in_brackets_or_absent() -> None:
    assert estimate_text(fraction_with_ci(0.876, 0.81, 0.93)) == ".88 [.81, .93]"
    assert estimate_text(fraction_with_ci(0.876, None, None)) == ".88"
    assert estimate_text(fraction_with_ci(None, None, None)) == "not estimable"
    assert estimate_text(number_with_ci(12.34, 9.1, 15.0)) == "12.3 [9.1, 15.0]"


def test_units_are_typeset_as_whole_words() -> None:
    assert format_units("5 um, 2 mm2, IoU >= .3 per cm2 of cerebrum") == (
        "5 \u00b5m, 2 mm\u00b2, IoU \u2265 .3 per cm\u00b2 of cerebrum"
    )
