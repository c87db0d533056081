import io
from collections import Counter

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histoscout.annotations.colours import colour_of
from histoscout.geometry.regions import Region, Regions
from histoscout.report.gallery import LEAST_FIELD_UM, SIDE_PX, Outlined, balanced, crop, shuffled
from histoscout.slides.in_memory import in_memory
from histoscout.slides.slide import Slide

NONE = Outlined(Regions(), Regions())


def plain_slide(mpp: float = 1.0) -> Slide:
    return in_memory(np.full((2000, 2000, 3), (225, 160, 190), np.uint8), mpp)


def pixels(data: bytes) -> np.ndarray[tuple[int, int, int], np.dtype[np.int64]]:
    return np.asarray(Image.open(io.BytesIO(data)), np.int64)


def near(picture: np.ndarray[tuple[int, int, int], np.dtype[np.int64]], colour: tuple[int, int, int]) -> int:
    return int((np.abs(picture - np.array(colour)).max(2) < 40).sum())


@given(st.lists(st.tuples(st.integers(0, 5), st.integers()), max_size=40), st.integers(0, 20))
def test_picks_are_balanced_over_patients_and_keep_their_order(
    things: list[tuple[int, int]], most: int
) -> None:
    picked = balanced(things, lambda thing: thing[0], most)
    assert len(picked) == min(most, len(things))
    remaining = iter(things)
    assert all(thing in remaining for thing in picked)
    taken, there = Counter(t[0] for t in picked), Counter(t[0] for t in things)
    for patient, other in ((a, b) for a in there for b in there):
        if taken[patient] < there[patient]:
            assert taken[other] <= taken[patient] + 1


def test_the_first_of_each_patient_is_the_one_of_most_interest() -> None:
    things = [("a", 9), ("a", 8), ("b", 7), ("a", 6), ("c", 1)]
    assert balanced(things, lambda thing: thing[0], 3) == (("a", 9), ("b", 7), ("c", 1))


def test_the_order_of_what_is_drawn_depends_on_the_seed_alone() -> None:
    assert shuffled(range(50), 3) == shuffled(range(50), 3) != shuffled(range(50), 4)
    assert sorted(shuffled(range(50), 3)) == list(range(50))


def test_a_small_lesion_is_shown_in_at_least_300_um() -> None:
    lesion = shapely.Point(1000, 1000).buffer(20)  # 40 um wide
    shown = pixels(crop(plain_slide(), lesion, Outlined(Regions(), Regions.of([Region(lesion, "UDH", 0.9)]))))
    assert shown.shape == (SIDE_PX, SIDE_PX, 3)
    rows = np.flatnonzero((np.abs(shown - np.array(colour_of("UDH"))).max(2) < 60).any(1))
    assert abs((rows.max() - rows.min()) - 40 / LEAST_FIELD_UM * SIDE_PX) < 8


def test_a_large_lesion_fills_two_fifths_of_the_field_whatever_the_um_per_px() -> None:
    for mpp in (0.5, 2.0):
        lesion = shapely.box(600, 600, 1300, 1300)
        found = Outlined(Regions(), Regions.of([Region(lesion, "UDH", 0.9)]))
        shown = pixels(crop(plain_slide(mpp), lesion, found))
        rows = np.flatnonzero((np.abs(shown - np.array(colour_of("UDH"))).max(2) < 60).any(1))
        assert abs((rows.max() - rows.min()) / SIDE_PX - 0.4) < 0.03


def test_drawn_is_thin_and_dark_found_thick_and_in_colour() -> None:
    lesion = shapely.box(900, 900, 1100, 1100)
    region = Regions.of([Region(lesion, "UDH")])
    bare = pixels(crop(plain_slide(), lesion, NONE))
    drawn = pixels(crop(plain_slide(), lesion, Outlined(region, Regions())))
    found = pixels(crop(plain_slide(), lesion, Outlined(Regions(), region)))
    assert near(found, colour_of("UDH")) > near(bare, colour_of("UDH")) + 1000
    dark = near(drawn, (17, 17, 17)) - near(bare, (17, 17, 17))
    assert 100 < dark < near(found, colour_of("UDH"))


def test_beyond_the_slide_it_is_white_and_crops_are_the_same_each_time() -> None:
    corner = shapely.box(0, 0, 100, 100)
    one = crop(plain_slide(), corner, NONE)
    assert one == crop(plain_slide(), corner, NONE)
    assert pixels(one)[:60, :60].min() > 240
