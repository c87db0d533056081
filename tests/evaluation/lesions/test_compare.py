"""One slide's lesions and findings: what counts as what, and what false alarms lie on."""

import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon

from histoscout.evaluation.lesions.compare import PLACES, compare_lesions
from histoscout.evaluation.lesions.froc import ANNOTATED
from histoscout.evaluation.lesions.matching import RULES
from histoscout.evaluation.lesions.summary import count_lesions_of
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions, polygonal
from tests.evaluation.scenes import compared, disc, ground, regions, scenes, square, tissue

NOTHING = Regions()


def test_what_is_drawn_is_found_and_nothing_is_false() -> None:
    drawn = regions(disc(100, 100, 60), disc(500, 100, 30), square(300, 500, 200))
    counts = count_lesions_of([compared(drawn, drawn)])
    assert (counts.lesions, counts.found, counts.false, counts.duplicates) == (3, 3, 0, 0)
    assert counts.tissue_mm2 == 1.0


def test_empty_sides_are_no_trouble() -> None:
    lesion = regions(disc(100, 100, 60))
    assert count_lesions_of([compared(lesion, NOTHING)]).found == 0
    assert count_lesions_of([compared(NOTHING, lesion)]).false == 1
    assert count_lesions_of([compared(NOTHING, NOTHING)]).findings == 0


def test_false_alarms_are_counted_per_area_that_counts() -> None:
    half = Region(shapely.box(0, 0, 1000, 500), "ignore")
    drawn = Regions.of([half, *regions(square(100, 600, 100))])
    assert count_lesions_of([compared(drawn, NOTHING)]).tissue_mm2 == 0.5


@given(scenes(), st.integers(-300, 300), st.integers(-300, 300))
def test_moving_everything_changes_nothing(scene: tuple[Regions, Regions], dx: int, dy: int) -> None:
    # where there is no tissue edge that one could be moved over
    drawn, found = scene
    here = tissue(20_000)
    first = compare_lesions(ground(drawn.moved(5000, 5000), here), found.moved(5000, 5000), 0.3)
    second = compare_lesions(
        ground(drawn.moved(5000 + dx, 5000 + dy), here), found.moved(5000 + dx, 5000 + dy), 0.3
    )
    assert first.matchings == second.matchings
    assert (first.splits, first.merges) == (second.splits, second.merges)
    assert [finding.lies_on for finding in first.findings] == [finding.lies_on for finding in second.findings]


# ---------------------------------------------------------------- lesions


def test_outlines_drawn_over_one_another_are_one_lesion_and_neighbors_are_two() -> None:
    twice = regions(square(0, 0, 100), square(50, 0, 100))
    slide = compared(twice, regions(square(0, 0, 150)))
    assert len(slide.lesions) == 1
    assert slide.lesions[0].region.outline.area == 150 * 100
    assert slide.lesions[0].region.properties["merged"] == [region.id for region in twice]
    assert any("one lesion" in note for note in slide.notes)
    touching = regions(
        square(0, 0, 100), square(100, 0, 100), square(0, 95, 100)
    )  # the last slips over by a hair
    assert len(compared(touching, NOTHING).lesions) == 3


def test_an_outline_of_another_class_over_a_lesion_leaves_it_alone() -> None:
    slide = compared(regions(square(0, 0, 100), square(0, 0, 100, "ADH")), regions(square(0, 0, 100)))
    assert slide.hits() == [(0, 0)]


def test_lesions_outside_the_tissue_count_and_are_told() -> None:
    here = tissue(glass=Box(0, 0, 300, 300))
    slide = compared(regions(square(50, 50, 100), square(500, 500, 100)), NOTHING, where=here)
    assert [lesion.outside_tissue for lesion in slide.lesions] == [True, False]
    assert any("1 of 2 lesions" in note for note in slide.notes)


def test_ignored_areas_count_neither_way() -> None:
    drawn = regions(square(0, 0, 200, "ignore"), square(20, 20, 100), square(500, 500, 100))
    found = regions(square(100, 100, 80), square(180, 180, 100), square(500, 500, 100))
    slide = compared(drawn, found)
    assert len(slide.lesions) == 1  # the one in the ignored area is none
    assert slide.matchings["iou_0.3"].states == ("ignored", "false", "hit")
    assert any("to be ignored" in note for note in slide.notes)


def test_a_lesion_partly_ignored_can_be_hit_by_a_finding_that_lies_mostly_there() -> None:
    drawn = regions(square(0, 0, 90, "ignore"), square(40, 0, 120))
    slide = compared(drawn, regions(square(20, 0, 110)))
    assert slide.matchings["iou_0.3"].states == ("hit",)


def test_diameters_are_those_of_circles() -> None:
    assert round(compared(regions(disc(300, 300, 50)), NOTHING).lesions[0].diameter_um) == 100


# ---------------------------------------------------------------- findings


def test_each_kind_of_false_alarm_is_told_by_what_it_lies_on() -> None:
    here = tissue(left_out=Box(800, 0, 200, 200), glass=Box(800, 800, 200, 200))
    drawn = regions(
        square(0, 0, 200), square(400, 0, 100, "ADH"), square(400, 400, 100, "N"), square(600, 600, 90, "")
    )
    found = regions(
        square(10, 10, 40),  # a piece of the lesion
        square(410, 10, 80),
        square(390, 390, 110),
        square(605, 605, 70),
        square(200, 600, 100),
        square(820, 20, 100),
        square(850, 850, 100),
    )
    places = [str(finding.lies_on) for finding in compared(drawn, found, where=here).findings]
    assert places == [
        "lesion",
        "other class: ADH",
        "other class: N",
        "other class: unclassified",
        "unmarked tissue",
        "artefact",
        "outside of tissue",
    ]
    assert set(PLACES) == {place.partition(":")[0] for place in places}


def test_a_speck_smaller_than_a_cell_of_the_tissue_mask_lies_somewhere_too() -> None:
    here = tissue(glass=Box(800, 800, 200, 200))
    found = regions(square(851, 852, 2), square(101, 102, 2))
    places = [str(finding.lies_on) for finding in compared(NOTHING, found, where=here).findings]
    assert places == ["outside of tissue", "unmarked tissue"]


def test_a_finding_far_too_large_for_its_lesion_is_a_badly_outlined_lesion() -> None:
    slide = compared(regions(square(300, 300, 50)), regions(square(200, 200, 400)))
    assert str(slide.findings[0].lies_on) == "lesion"
    assert slide.matchings["iou_0.3"].states == ("false",)


def test_a_split_lesion_is_missed_and_shown() -> None:
    drawn = regions(square(0, 0, 120))
    quarters = regions(*(square(x, y, 60) for x in (0, 60) for y in (0, 60)))
    slide = compared(drawn, quarters)
    assert slide.splits == {0: (0, 1, 2, 3)}
    assert slide.missed() == [0]
    assert count_lesions_of([slide]).false_on == {"lesion": 4}


def test_a_merge_is_one_finding_over_several_lesions_and_finds_one_at_most() -> None:
    drawn = regions(square(0, 0, 100), square(120, 0, 100))
    slide = compared(drawn, regions(square(0, -60, 220)))
    assert slide.merges == {0: (0, 1)}
    assert len(slide.hits("iou_0.1")) == 1


def test_findings_below_the_threshold_are_neither_shown_nor_counted() -> None:
    drawn = regions(square(0, 0, 100), square(300, 0, 100))
    found = regions(
        square(0, 0, 100, score=0.9), square(300, 0, 100, score=0.2), square(600, 0, 50, score=0.1)
    )
    slide = compared(drawn, found, 0.5)
    counts = count_lesions_of([slide])
    assert (counts.found, counts.false, counts.findings) == (1, 0, 1)
    assert slide.missed() == [1]
    assert slide.matchings["iou_0.3"].found_at == (0.9, 0.2)


def test_only_findings_on_drawn_outlines_count_in_that_reading() -> None:
    drawn = regions(square(0, 0, 100), square(400, 0, 100, "ADH"), square(700, 700, 50, "ignore"))
    found = regions(square(0, 0, 100), square(400, 0, 90), square(700, 0, 100))
    slide = compared(drawn, found)
    assert count_lesions_of([slide]).false == 2
    assert count_lesions_of([slide], reading=ANNOTATED).false_on == {"other class: ADH": 1}
    assert slide.annotated_mm2 == 2 * 100 * 100 * 1e-6


# ---------------------------------------------------------------- what must not score well


def _lesions() -> Regions:
    return regions(*(disc(150 + 230 * x, 150 + 230 * y, 40) for x in range(4) for y in range(4)))


def test_one_giant_region_finds_one_lesion_at_most_by_any_rule() -> None:
    slide = compared(_lesions(), regions(square(0, 0, 1000)))
    for rule in RULES:
        assert len(slide.hits(rule)) <= 1
    assert slide.hits("iou_0.1") == []
    assert len(slide.merges[0]) == 16


def test_thousands_of_specks_find_nothing_by_overlap() -> None:
    specks = regions(*(square(x, y, 5) for x in range(0, 1000, 20) for y in range(0, 1000, 20)))
    slide = compared(_lesions(), specks)
    for rule in ("iou_0.3", "iou_0.1"):
        counts = count_lesions_of([slide], rule)
        assert (counts.found, counts.false) == (0, len(specks))


def test_by_their_centres_specks_find_everything_which_is_why_that_rule_is_not_the_first() -> None:
    specks = regions(*(square(x, y, 5) for x in range(0, 1000, 20) for y in range(0, 1000, 20)))
    counts = count_lesions_of([compared(_lesions(), specks)], "centre")
    assert counts.found == counts.lesions
    # what gives them away: false alarms by the thousand, and more than ten findings for each lesion
    assert counts.false > 2000
    assert counts.duplicates > 10 * counts.found


def test_outlines_in_several_parts_and_with_holes_are_compared_by_area() -> None:
    ring = shapely.Point(300, 300).buffer(100).difference(shapely.Point(300, 300).buffer(60))
    found = Region(polygonal(ring) or MultiPolygon(), "UDH", 0.5)
    slide = compared(regions(disc(300, 300, 100)), regions(found))
    assert slide.matchings["iou_0.3"].states == ("hit",)
