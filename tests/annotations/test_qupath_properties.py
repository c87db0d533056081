from hypothesis import given
from hypothesis import strategies as st

from histoscout.annotations.qupath_properties import color_of


@given(st.text())
def test_every_label_has_one_visible_color(label: str) -> None:
    color = color_of(label)
    assert color == color_of(label)
    assert all(0 <= part <= 255 for part in color)
    assert min(color) < 200  # never white on white


def test_no_class_is_gray() -> None:
    assert color_of("") == color_of("  ") == (128, 128, 128)
