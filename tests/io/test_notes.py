"""Notes name few things and count all of them."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from histoscout.io.notes import NoteCounter, SlideNotes, count_and_list, list_some, pluralize, visible


def test_a_long_list_is_cut() -> None:
    assert list_some(["a", "b"], 2) == "a, b"
    assert list_some(["a", "b", "c"], 2) == "a, b and 1 more"
    assert list_some(["a", "b", "c"], 1, "; ") == "a and 2 more"
    assert (
        count_and_list([str(number) for number in range(12)])
        == "12 (0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more)"
    )


def test_one_thing_is_singular() -> None:
    assert [pluralize(number, "slide") for number in (0, 1, 2)] == ["0 slides", "1 slide", "2 slides"]
    assert pluralize(2000, "class", "classes") == "2,000 classes"


def test_notes_count_objects() -> None:
    notes = NoteCounter()
    for name in ("a", "b"):
        notes.add("repaired", name)
    notes.add("left out", "c")
    assert notes.notes() == ["repaired: 2 (a, b)", "left out: 1 (c)"]


def test_a_note_on_several_slides_is_shown_once() -> None:
    notes, more = SlideNotes(), SlideNotes()
    notes.add("one", "black", "empty")
    notes.add("one", "black")
    more.add("two", "black")
    notes.add_all(more)
    assert notes.notes == ["one, two: black", "one: empty"]


@given(st.text())
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    shown = visible(text, one_line=True)
    assert not any(unicodedata.category(letter) == "Cc" or letter in "\u202e\u2066" for letter in shown)
    assert visible(shown, one_line=True) == shown
    if text.isprintable():
        assert visible(text) == text


def test_line_breaks_of_messages_stay() -> None:
    assert visible("a\n\tb\x1b[2J") == "a\n\tb\\x1b[2J"
