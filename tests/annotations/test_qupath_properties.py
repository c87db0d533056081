from hypothesis import given
from hypothesis import strategies as st

from histoscout.annotations.qupath_properties import colour_of


@given(st.text())
def test_every_label_has_one_visible_colour(label: str) -> None:
    colour = colour_of(label)
    assert colour == colour_of(label)
    assert all(0 <= part <= 255 for part in colour)
    assert min(colour) < 200  # never white on white


def test_no_class_is_grey() -> None:
    assert colour_of("") == colour_of("  ") == (128, 128, 128)
