from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.report.blocks import BLOCKS, SYMBOLS, Block, Picture, Table, VerdictList
from histoscout.report.page import Page, Section, render, write_page
from histoscout.verdict import Verdict, VerdictState
from tests.report.html import ParsedPage
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


def page_with(*blocks: Block) -> Page:
    section = Section(title="s", sentence="x", blocks=blocks)
    return Page(title="t", lead="l", sections=(section,))


def picture(data: bytes) -> Picture:
    return Picture(data=data, caption="c", alt="a", anchor="here")


def test_every_block_has_a_macro_and_a_sample() -> None:
    assert set(BLOCKS) == set(get_args(Block)) == set(one_of_each("x"))


@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("text", ["plain", *HOSTILE])
def test_every_block_shows_markup_as_text(kind: type[Block], text: str) -> None:
    parsed = ParsedPage.of(render(page_with(one_of_each(text)[kind], picture(png()))))
    plain = ParsedPage.of(render(page_with(one_of_each("plain")[kind], picture(png()))))
    assert [fault for fault in parsed.faults if "here" not in fault] == []
    assert parsed.tags == plain.tags
    assert "49" not in parsed.text


@given(st.text())
def test_any_text_anywhere_is_shown_as_it_is(text: str) -> None:
    parsed = ParsedPage.of(render(page_of(f"a{text}z")))
    assert not parsed.faults
    shown = "".join(character for character in f"a{text}z" if character.isalnum())
    assert shown in "".join(character for character in parsed.text if character.isalnum())


@pytest.mark.parametrize("text", HOSTILE)
def test_a_page_is_valid_whatever_its_title(text: str, tmp_path: Path) -> None:
    write_page(page_of(text), tmp_path / "report.html")
    assert not ParsedPage.of((tmp_path / "report.html").read_text(encoding="utf-8")).faults


def test_a_page_is_one_file_without_network_and_scripts() -> None:
    page = render(page_of("x"))
    parsed = ParsedPage.of(page)
    assert "http:" not in page
    assert "https:" not in page
    assert "script" not in parsed.tags
    assert "link" not in parsed.tags
    assert "url(" not in parsed.styles
    assert "@import" not in parsed.styles
    assert "default-src 'none'" in page


def test_headings_have_one_level_after_the_other_and_landmarks_exist() -> None:
    parsed = ParsedPage.of(render(page_of("x")))
    assert parsed.heading_levels[0] == 1
    assert parsed.heading_levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(parsed.heading_levels))
    assert {"header", "nav", "main", "footer"} <= set(parsed.tags)


def test_sections_with_the_same_title_have_different_anchors() -> None:
    sections = tuple(Section(title=title, sentence="x") for title in ("Same", "Same", "\u2603"))
    parsed = ParsedPage.of(render(Page(title="t", lead="l", sections=sections)))
    assert not parsed.faults
    assert parsed.links == ["#content", "#same", "#same-2", "#part"]


def test_a_page_is_the_same_each_time() -> None:
    assert render(page_of("x")) == render(page_of("x"))


def test_failures_come_first_with_sign_word_and_message() -> None:
    states: tuple[VerdictState, ...] = get_args(VerdictState)
    assert set(SYMBOLS) == set(states)
    verdicts = VerdictList(
        tuple(Verdict(name=state, state=state, message=f"{state} message") for state in states)
    )
    assert [verdict.state for verdict in verdicts.ordered] == list(SYMBOLS)
    text = ParsedPage.of(render(page_with(verdicts))).text
    for state, symbol in SYMBOLS.items():
        assert f"{symbol} {state}" in text
        assert f"{state} message" in text


def test_columns_of_numbers_are_recognized() -> None:
    rows = (("x", ".5", "12 mm", "word"), ("y", "not estimable", "", ".5"))
    table = Table(head=("a", "b", "c", "d"), rows=rows, caption="c")
    assert table.numeric == (False, True, True, False)


@pytest.mark.parametrize("data", [b"GIF89a", b"<svg><", b"<html></html>"])
def test_a_picture_of_another_format_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="SVG"):
        render(page_with(picture(data)))
