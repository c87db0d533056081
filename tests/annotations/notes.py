"""Looking for notes by their key words, so that tests do not depend on their wording."""

from collections.abc import Sequence


def note_with(notes: Sequence[str], *words: str) -> str:
    """The only note that contains all of these words."""
    (note,) = [note for note in notes if all(word in note for word in words)]
    return note


def only_note(notes: Sequence[str], *words: str) -> str:
    """The only note there is, which contains all of these words."""
    assert len(notes) == 1, notes
    return note_with(notes, *words)
