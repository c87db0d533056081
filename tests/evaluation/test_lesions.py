import shapely

from histoscout.evaluation.lesions import LesionCounts, count_lesions
from histoscout.geometry.regions import Region, Regions


def discs(*places: tuple[float, float, float]) -> Regions:
    return Regions.of(Region(shapely.Point(x, y).buffer(r), "UDH") for x, y, r in places)


NONE = Regions()


def test_what_is_drawn_is_found_and_nothing_is_false() -> None:
    drawn = discs((0, 0, 10), (50, 0, 10), (0, 50, 5))
    assert count_lesions(drawn, drawn, NONE, 4.0) == LesionCounts(3, 3, 0, 4.0)


def test_nothing_found_misses_all_and_nothing_drawn_makes_all_false() -> None:
    assert count_lesions(discs((0, 0, 10)), NONE, NONE, 1.0) == LesionCounts(1, 0, 0, 1.0)
    assert count_lesions(NONE, discs((0, 0, 10)), NONE, 1.0) == LesionCounts(0, 0, 1, 1.0)


def test_one_giant_region_finds_no_small_lesion() -> None:
    counts = count_lesions(discs((0, 0, 5), (40, 0, 5), (0, 40, 5)), discs((20, 20, 60)), NONE, 1.0)
    assert (counts.found, counts.false) == (0, 1)


def test_a_lesion_found_twice_leaves_one_false_region() -> None:
    counts = count_lesions(discs((0, 0, 10)), discs((0, 0, 10), (1, 0, 9)), NONE, 1.0)
    assert (counts.found, counts.false) == (1, 1)


def test_specks_do_not_count_as_finding() -> None:
    specks = discs(*((x, y, 0.5) for x in range(-8, 9, 2) for y in range(-8, 9, 2)))
    counts = count_lesions(discs((0, 0, 10)), specks, NONE, 1.0)
    assert (counts.found, counts.false) == (0, len(specks))


def test_matching_finds_as_many_lesions_as_can_be_found() -> None:
    # the first region overlaps both lesions, the second only the first one: greedy matching by order would lose one
    drawn = Regions.of(Region(shapely.box(x, 0, x + 10, 10), "UDH") for x in (0, 10))
    found = Regions.of([Region(shapely.box(2, 0, 16, 10), "UDH"), Region(shapely.box(0, 0, 9, 10), "UDH")])
    assert count_lesions(drawn, found, NONE, 1.0).found == 2


def test_findings_in_ignored_areas_are_not_false() -> None:
    counts = count_lesions(NONE, discs((0, 0, 10), (100, 0, 10)), discs((0, 0, 12)), 1.0)
    assert counts.false == 1
