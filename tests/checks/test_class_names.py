"""Slips of the hand are pointed out, other names are left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.checks.integrity import find_equal_spellings, find_near_misses, is_typo


@pytest.mark.parametrize(
    ("one", "two"), [("uhd", "udh"), ("udh sure", "uhd sure"), ("tumor", "tumour"), ("stroma", "strona")]
)
def test_slips(one: str, two: str) -> None:
    assert is_typo(one, two)
    assert is_typo(two, one)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("udh", "adh"),
        ("udh", "udh sure"),
        ("grade 1", "grade 2"),
        ("pb", "bp"),
        ("udh", "udh"),
        ("grade 1", "grade 11"),
    ],
)
def test_other_names(one: str, two: str) -> None:
    assert not is_typo(one, two)


@given(name=st.text("abcdefgh ", min_size=4, max_size=12), place=st.integers(0, 10))
def test_exchanging_two_letters_is_a_slip(name: str, place: int) -> None:
    place %= len(name) - 1
    typed = name[:place] + name[place + 1] + name[place] + name[place + 2 :]
    assert is_typo(name, typed) == (name != typed)


def test_the_rarer_one_is_the_slip() -> None:
    assert find_near_misses({"UDH": 40, "UHD": 1, "ADH": 9}) == [("UHD", "UDH")]
    assert find_near_misses({"UDH-sure": 2, "udh sure": 2, "UHD sure": 3}) == [("UHD sure", "UDH-sure")]


def test_spellings_of_one_class() -> None:
    assert find_equal_spellings({"UDH-sure": 1, "udh sure": 2, "ADH": 3}) == [("UDH-sure", "udh sure")]
