import io
from collections import Counter

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histoscout.detection.overlay import SIDE_PX, OutlinesToDraw
from histoscout.geometry.regions import Regions
from histoscout.report.evaluation.pictures import crop_jpeg, pick_balanced, shuffle
from histoscout.slides.image_reader import slide_from_array


@given(st.lists(st.tuples(st.integers(0, 5), st.integers()), max_size=40), st.integers(0, 20))
def test_picks_are_balanced_over_patients_and_keep_their_order(
    things: list[tuple[int, int]], most: int
) -> None:
    picked = pick_balanced(things, lambda thing: thing[0], most)
    assert len(picked) == min(most, len(things))
    remaining = iter(things)
    assert all(thing in remaining for thing in picked)
    taken, there = Counter(t[0] for t in picked), Counter(t[0] for t in things)
    for patient, other in ((a, b) for a in there for b in there):
        if taken[patient] < there[patient]:
            assert taken[other] <= taken[patient] + 1


def test_the_first_of_each_patient_is_the_one_of_most_interest() -> None:
    things = [("a", 9), ("a", 8), ("b", 7), ("a", 6), ("c", 1)]
    assert pick_balanced(things, lambda thing: thing[0], 3) == (("a", 9), ("b", 7), ("c", 1))


def test_the_order_of_what_is_drawn_depends_on_the_seed_alone() -> None:
    assert shuffle(range(50), 3) == shuffle(range(50), 3) != shuffle(range(50), 4)
    assert sorted(shuffle(range(50), 3)) == list(range(50))


def test_crops_are_jpegs_and_the_same_each_time() -> None:
    slide = slide_from_array(np.full((200, 200, 3), 200, np.uint8), 1.0)
    made = [
        crop_jpeg(slide, shapely.box(50, 50, 90, 90), OutlinesToDraw(Regions(), Regions())) for _ in range(2)
    ]
    assert made[0] == made[1]
    assert Image.open(io.BytesIO(made[0])).size == (SIDE_PX, SIDE_PX)
