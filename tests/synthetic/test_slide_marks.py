from collections import Counter

import shapely
from hypothesis import given
from hypothesis import strategies as st

from histoscout.synthetic.layout import Plan, plan
from histoscout.synthetic.patient import MPP, patient_of, stream
from histoscout.synthetic.slide import UNSURE, by_hand, truth

SIZE = (1400, 1100)


def laid_out(number: int) -> Plan:
    return plan(patient_of(number), SIZE, stream(2, number, 0))


@given(st.integers(0, 2**31))
def test_every_duct_with_hyperplasia_is_marked_once_and_no_other_as_such(number: int) -> None:
    layout = laid_out(number)
    marked = by_hand(layout, stream(1)).labeled("UDH", "UDH-unsure")
    real = truth(layout, stream(1)).labeled("UDH", "unclear")
    assert len(marked) == len(real)
    for drawn, true in zip(marked, real, strict=True):
        overlap = drawn.outline.intersection(true.outline).area / drawn.outline.union(true.outline).area
        assert 0.7 < overlap < 1
        assert true.label == "UDH" or drawn.label == "UDH-unsure"


@given(st.integers(0, 2**31))
def test_marks_are_valid_outlines_with_names_of_their_own(number: int) -> None:
    layout = laid_out(number)
    marks = by_hand(layout, stream(1))
    assert marks == by_hand(layout, stream(1))
    assert len({region.id for region in marks}) == len(marks)
    assert set(marks.labels) <= {"UDH", "UDH-unsure", "ADH", "Normal", "Lymphocytes"}
    for region in marks:
        assert region.outline.is_valid
        assert shapely.box(0, 0, SIZE[1] / MPP, SIZE[0] / MPP).covers(region.outline)


def test_how_many_are_marked_and_how_surely() -> None:
    real, marked = Counter[str](), Counter[str]()
    for number in range(60):
        layout = laid_out(number)
        real.update(region.label for region in truth(layout, stream(number)))
        marked.update(region.label for region in by_hand(layout, stream(number)))
    unsure = (marked["UDH-unsure"] - real["unclear"]) / real["UDH"]
    assert abs(unsure - UNSURE) < 0.1
    assert 0.7 < marked["ADH"] / real["ADH"] < 0.95
    assert 0.3 < marked["Normal"] / real["Normal"] < 0.7
    assert real["ADH"] * 0.2 < real["UDH"] < real["ADH"] * 0.5
