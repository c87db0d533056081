"""When two names of a slide, or two ids of a patient, are the same."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.cohort.discovery import SLIDE_SUFFIXES
from histoscout.io.names import (
    NAME_SUFFIXES,
    name_rank,
    number_names,
    patient_key,
    patient_spellings,
    patients_in_both,
    slide_key,
    slide_name,
)

STEMS = st.text(st.characters(categories=("L", "N", "P", "Zs"), exclude_characters="/\\"), min_size=1)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("S1.tif", "S1"),
        ("S1.TIFF", "S1"),
        ("S1.ome.tif", "S1"),
        ("S1.OME.TIFF", "S1"),
        ("S1.svs.tif", "S1.svs"),
        ("T24.100", "T24.100"),
        ("T24.100.svs", "T24.100"),
        ("scan1.vsi - 20x_02", "scan1.vsi - 20x_02"),
        (".tif", ".tif"),
    ],
)
def test_only_suffixes_of_slides_are_cut(file: str, name: str) -> None:
    assert slide_name(file) == name


def test_every_format_that_is_read_has_its_suffix_cut() -> None:
    assert set(NAME_SUFFIXES) >= SLIDE_SUFFIXES


@given(STEMS, st.sampled_from([".tif", ".ome.tif", ".SVS", ".ome.tiff"]))
def test_a_slide_is_the_same_in_every_format_and_unicode_form(stem: str, suffix: str) -> None:
    decomposed = unicodedata.normalize("NFD", stem)
    assert slide_key(f"{decomposed}{suffix}") == slide_key(f"{unicodedata.normalize('NFC', stem)}{suffix}")
    assert slide_key(f"a{stem}b{suffix}") == slide_key(f"a{stem}b")


@pytest.mark.parametrize(
    ("slide", "name", "rank"),
    [
        ("S1.ome.tif", "S1", 0),
        ("S1.ome.tif", "S1.ome.tif", 0),
        ("S1.tif", "s1", 1),
        ("S1.tif", "S1.TIF", 1),
        ("S1.tif", "S1.svs", 2),
        ("S1.ome.tif", "S1.ome", 2),
        ("A.svs.tif", "A.svs", 0),
        ("scan.vsi", "scan.vsi - 20x_01", None),
        ("S1.tif", "S11", None),
    ],
)
def test_ranks_of_a_match(slide: str, name: str, rank: int | None) -> None:
    assert name_rank(slide, name) == rank


@given(st.lists(st.sampled_from(["A", "a", "A (2)", "B"])))
def test_numbered_names_differ_and_keep_the_first(names: list[str]) -> None:
    numbered = number_names(names)
    assert len({name.casefold() for name in numbered}) == len(names)
    assert all(new.startswith(old) for new, old in zip(numbered, names, strict=True))
    assert not names or numbered[0] == names[0]


@pytest.mark.parametrize(
    "spellings",
    [
        ("001", "1", "1.0", " 01 ", "1,00"),
        ("P-01", "p-01", "P 01", "P_1", "P\u201301", "p\u00a001"),
        ("Mu\u0308ller", "m\u00fcller", "MÜLLER"),
        ("2019-001", "2019-1", "2019 1"),
        ("0", "00", "0.0"),
    ],
)
def test_spellings_of_one_patient(spellings: tuple[str, ...]) -> None:
    assert len({patient_key(spelling) for spelling in spellings}) == 1
    assert patient_spellings(spellings) == [spellings]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1", "10"),
        ("1", "2"),
        ("1-12", "11-2"),
        ("P1.5", "P15"),
        ("A1", "B1"),
        ("0", ""),
        ("1.5", "1"),
        ("-", "_"),
    ],
)
def test_patients_who_differ(first: str, second: str) -> None:
    assert patient_key(first) != patient_key(second)


@given(st.text(min_size=1))
def test_the_key_of_a_key_is_itself_or_shorter(patient: str) -> None:
    assert patient_key(patient) == patient_key(unicodedata.normalize("NFD", patient))
    assert len(patient_key(patient_key(patient))) <= len(patient_key(patient))


def test_patients_of_two_sets() -> None:
    assert patients_in_both(["1", "P2", "P3"], ["001", "P2"]) == ["1 (001)", "P2"]
    assert patients_in_both(["1"], ["2"]) == []
