import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.report.numbers import amount, amount_with_interval, count, share, with_interval, words


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
def test_shares(value: float | None, shown: str) -> None:
    assert share(value) == shown


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
def test_amounts(value: float | None, shown: str) -> None:
    assert amount(value) == shown


@given(st.floats(-1e9, 1e9))
def test_amounts_keep_three_digits(value: float) -> None:
    shown = float(amount(value).replace(",", "").replace("\u2212", "-"))
    assert shown == pytest.approx(value, rel=0.0051, abs=1e-12)
    assert "e" not in amount(value)


def test_intervals_stand_in_brackets_or_not_at_all() -> None:
    assert words(with_interval(0.876, 0.81, 0.93)) == ".88 [.81, .93]"
    assert words(with_interval(0.876, None, None)) == ".88"
    assert words(with_interval(None, None, None)) == "not estimable"
    assert words(amount_with_interval(12.34, 9.1, 15.0)) == "12.3 [9.1, 15.0]"


def test_words_for_numbers_of_things() -> None:
    assert count(1, "slide") == "1 slide"
    assert count(0, "slide") == "0 slides"
    assert count(1200, "biopsy", "biopsies") == "1,200 biopsies"
