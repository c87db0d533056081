"""Numbers and units in every spelling that programs write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.io.units import UM_PER_UNIT, parse_number, parse_um, um_per

MICRO = ["µm", "μm", "um", "UM", "Âµm", "Î¼m", "\\u00B5m", "&#181;m", " micron ", "microns", "Micrometer", "micrometre",
         "micrometers", "Micrometres", "mum"[1:], "µm."]  # fmt: skip


@pytest.mark.parametrize("unit", MICRO)
def test_every_spelling_of_the_micrometer_is_one(unit: str) -> None:
    assert um_per(unit) == 1.0


@pytest.mark.parametrize(
    ("unit", "um"),
    [
        ("MM", 1e3),
        ("millimetre", 1e3),
        ("nanometers", 1e-3),
        ("inches", 25_400.0),
        ("cm", 1e4),
        ("Meter", 1e6),
    ],
)
def test_other_units(unit: str, um: float) -> None:
    assert um_per(unit) == um


@pytest.mark.parametrize("unit", ["", "pixel", "reference frame", "s", "x", None, 3, "meterx"])
def test_what_is_no_length_is_none(unit: object) -> None:
    assert um_per(unit) is None


@pytest.mark.parametrize(
    "text", ["", "x", "20x", "nan", "inf", "1_000", "1,000.5", "1.000,5", "0.5 um", None, True]
)
def test_what_is_no_number_is_none(text: object) -> None:
    assert parse_number(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_decimal_comma_means_the_same_number(number: float) -> None:
    assert parse_number(repr(number)) == parse_number(repr(number).replace(".", ",")) == number


@given(st.floats(1e-6, 1e6), st.sampled_from(sorted(UM_PER_UNIT)))
def test_a_length_is_the_same_in_any_unit(um: float, unit: str) -> None:
    assert parse_um(repr(um / UM_PER_UNIT[unit]), unit.upper()) == pytest.approx(um)
