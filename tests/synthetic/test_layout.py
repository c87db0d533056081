import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from histoscout.synthetic.layout import COARSE, SIZES, plan
from histoscout.synthetic.patient import DIFFICULTY, MIXES, MPP, patient_of, stream
from histoscout.synthetic.textures import outline

SIZE = (1400, 1100)


@given(number=st.integers(0, 2**31), seed=st.integers(0, 2**31))
def test_structures_lie_on_tissue_and_do_not_touch(number: int, seed: int) -> None:
    layout = plan(patient_of(number), SIZE, stream(2, number, seed))
    outlines = [outline(one.shape) for one in layout.structures]
    for index, shape in enumerate(outlines):
        assert not any(shape.intersects(other) for other in outlines[:index])
        assert shapely.box(0, 0, SIZE[1] / MPP, SIZE[0] / MPP).covers(shape)
    for one in layout.structures:
        row, column = int(one.shape.y / COARSE), int(one.shape.x / COARSE)
        assert layout.tissue[row, column] > 0
        assert layout.around[row, column] == 0


@given(number=st.integers(0, 2**31))
def test_hyperplasia_and_look_alikes_are_of_one_size(number: int) -> None:
    layout = plan(patient_of(number), SIZE, stream(2, number, 0))
    assert SIZES["UDH"] == SIZES["ADH"]
    for one in layout.structures:
        _, _, least, most, _, _ = SIZES[one.kind]
        area = outline(one.shape).area * MPP**2
        assert 0.95 * least < np.sqrt(area / np.pi) < 1.05 * most


@given(number=st.integers(0, 2**31))
def test_a_patient_is_its_number(number: int) -> None:
    who = patient_of(number)
    assert who == patient_of(number)
    assert who != patient_of(number + 1)
    assert who.mix == MIXES[number % len(MIXES)]
    assert (who.counts.udh > 0) == (who.mix != "look-alikes")
    assert who.counts.adh > 0
    for vector in (who.hematoxylin, who.eosin):
        assert np.linalg.norm(vector) == pytest.approx(1)


def test_streams_of_other_keys_differ() -> None:
    assert stream(1, 2).random() == stream(1, 2).random()
    assert len({stream(*keys).random() for keys in [(1, 2), (2, 1), (1, 3), (1, 2, 1), (1, 2, 2)]}) == 5
    assert DIFFICULTY
