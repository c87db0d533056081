from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.report.blocks import BLOCKS, SYMBOLS, Block, Picture, Table, Verdicts
from histoscout.report.page import Page, Section, render, write_page
from histoscout.verdict import Verdict, VerdictState
from tests.report.html import Reading
from tests.report.samples import one_of_each, page_of, png

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onmouseover='x",
    "</style></title></svg>",
    "{{ 7 * 7 }}{% raw %}",
    "Läsion ☂ 腺腫 \u202e rtl",
    "\udcff\x00\x07",
    "&amp; & &lt;",
    "]]>",
]


def test_every_block_has_a_macro_and_a_sample() -> None:
    assert set(BLOCKS) == set(get_args(Block)) == set(one_of_each("x"))


@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("text", ["plain", *HOSTILE])
def test_every_block_shows_any_text_and_obeys_none(kind: type[Block], text: str) -> None:
    page = render(
        Page("t", "l", (Section("s", "x", (one_of_each(text)[kind], Picture(png(), "c", "a", "here"))),))
    )
    plain = render(
        Page("t", "l", (Section("s", "x", (one_of_each("plain")[kind], Picture(png(), "c", "a", "here"))),))
    )
    reading = Reading.of(page)
    assert [fault for fault in reading.faults if "here" not in fault] == []
    assert reading.tags == Reading.of(plain).tags
    assert "49" not in reading.text


@given(st.text())
def test_any_text_anywhere_is_shown_as_it_is(text: str) -> None:
    reading = Reading.of(render(page_of(f"a{text}z")))
    assert not reading.faults
    shown = "".join(character for character in f"a{text}z" if character.isalnum())
    assert shown in "".join(character for character in reading.text if character.isalnum())


@pytest.mark.parametrize("text", HOSTILE)
def test_a_page_is_valid_whatever_its_title(text: str, tmp_path: Path) -> None:
    write_page(page_of(text), tmp_path / "report.html")
    assert not Reading.of((tmp_path / "report.html").read_text(encoding="utf-8")).faults


def test_a_page_is_one_file_that_needs_no_network_and_no_script() -> None:
    page = render(page_of("x"))
    reading = Reading.of(page)
    assert "http:" not in page
    assert "https:" not in page
    assert "script" not in reading.tags
    assert "link" not in reading.tags
    assert "url(" not in reading.styles
    assert "@import" not in reading.styles
    assert "default-src 'none'" in page


def test_headings_go_down_a_step_at_a_time_and_landmarks_are_there() -> None:
    reading = Reading.of(render(page_of("x")))
    assert reading.headings[0] == 1
    assert reading.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(reading.headings))
    assert {"header", "nav", "main", "footer"} <= set(reading.tags)


def test_sections_of_one_title_have_anchors_of_their_own() -> None:
    page = Page("t", "l", (Section("Same", "x"), Section("Same", "y"), Section("\u2603", "z")))
    reading = Reading.of(render(page))
    assert not reading.faults
    assert reading.links == ["#content", "#same", "#same-2", "#part"]


def test_a_page_is_the_same_each_time() -> None:
    assert render(page_of("x")) == render(page_of("x"))


def test_the_gravest_verdict_stands_first_with_sign_and_word() -> None:
    states: tuple[VerdictState, ...] = get_args(VerdictState)
    assert set(SYMBOLS) == set(states)
    verdicts = Verdicts(tuple(Verdict(name=state, state=state, message="says") for state in states))
    assert [verdict.state for verdict in verdicts.ordered] == list(SYMBOLS)
    text = Reading.of(render(Page("t", "l", (Section("s", "", (verdicts,)),)))).text
    for state, symbol in SYMBOLS.items():
        assert f"{symbol} {state}" in text


def test_columns_of_numbers_are_known() -> None:
    table = Table(("a", "b", "c", "d"), (("x", ".5", "12 mm", "word"), ("y", "not estimable", "", ".5")), "c")
    assert table.numeric == (False, True, True, False)


def test_what_is_no_picture_is_refused() -> None:
    for data in (b"GIF89a", b"<svg><", b"<html></html>"):
        with pytest.raises(ValueError, match="not an SVG"):
            render(Page("t", "l", (Section("s", "x", (Picture(data, "c", "a"),)),)))
