import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from histoscout.synthetic.canvas import blob_polygon
from histoscout.synthetic.layout import COARSE, SIZE_RANGES, plan_layout
from histoscout.synthetic.patient import DIFFICULTY, MIXES, MPP, make_patient, random_stream

SIZE = (1400, 1100)


@given(number=st.integers(0, 2**31), seed=st.integers(0, 2**31))
def test_structures_are_on_tissue_and_do_not_touch(number: int, seed: int) -> None:
    layout = plan_layout(make_patient(number), SIZE, random_stream(2, number, seed))
    outlines = [blob_polygon(structure.shape) for structure in layout.structures]
    for index, outline in enumerate(outlines):
        assert not any(outline.intersects(other) for other in outlines[:index])
        assert shapely.box(0, 0, SIZE[1] / MPP, SIZE[0] / MPP).covers(outline)
    for structure in layout.structures:
        row, column = int(structure.shape.y / COARSE), int(structure.shape.x / COARSE)
        assert layout.tissue[row, column] > 0
        assert layout.clearance[row, column] == 0


@given(number=st.integers(0, 2**31))
def test_structures_have_the_size_of_their_kind(number: int) -> None:
    layout = plan_layout(make_patient(number), SIZE, random_stream(2, number, 0))
    for structure in layout.structures:
        sizes = SIZE_RANGES[structure.kind]
        area = blob_polygon(structure.shape).area * MPP**2
        assert 0.95 * sizes.least < np.sqrt(area / np.pi) < 1.05 * sizes.most


def test_udh_and_look_alikes_have_the_same_sizes() -> None:
    assert SIZE_RANGES["UDH"] == SIZE_RANGES["ADH"]


@given(number=st.integers(0, 2**31))
def test_a_patient_follows_from_their_number(number: int) -> None:
    patient = make_patient(number)
    assert patient == make_patient(number)
    assert patient != make_patient(number + 1)
    assert patient.mix == MIXES[number % len(MIXES)]
    assert (patient.density.udh > 0) == (patient.mix != "look-alikes")
    assert patient.density.adh > 0
    for vector in (patient.hematoxylin, patient.eosin):
        assert np.linalg.norm(vector) == pytest.approx(1)


def test_random_streams_of_other_keys_differ() -> None:
    assert random_stream(1, 2).random() == random_stream(1, 2).random()
    keys = [(1, 2), (2, 1), (1, 3), (1, 2, 1), (1, 2, 2)]
    assert len({random_stream(*key).random() for key in keys}) == 5
    assert DIFFICULTY
