"""One slide's lesions and detections: what counts as what, and where false positives are."""

import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon

from histoscout.evaluation.lesions.compare import LOCATION_KINDS, compare_lesions
from histoscout.evaluation.lesions.froc import ANNOTATED_ONLY
from histoscout.evaluation.lesions.matching import MATCHING_RULES
from histoscout.evaluation.lesions.summary import count_lesions
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions, valid_outline
from tests.evaluation.scenes import compare, disc, reference, regions, scenes, square, tissue

NOTHING = Regions()


def test_perfect_detections_find_every_lesion() -> None:
    truth = regions(disc(100, 100, 60), disc(500, 100, 30), square(300, 500, 200))
    counts = count_lesions([compare(truth, truth)])
    assert (counts.lesions, counts.true_positives, counts.false_positives, counts.duplicates) == (3, 3, 0, 0)
    assert counts.tissue_mm2 == 1.0


def test_empty_sides_are_compared() -> None:
    lesion = regions(disc(100, 100, 60))
    assert count_lesions([compare(lesion, NOTHING)]).true_positives == 0
    assert count_lesions([compare(NOTHING, lesion)]).false_positives == 1
    assert count_lesions([compare(NOTHING, NOTHING)]).detections == 0


def test_false_positives_are_counted_per_area_that_counts() -> None:
    half = Region(shapely.box(0, 0, 1000, 500), "ignore")
    truth = Regions.of([half, *regions(square(100, 600, 100))])
    assert count_lesions([compare(truth, NOTHING)]).tissue_mm2 == 0.5


@given(scenes(), st.integers(-300, 300), st.integers(-300, 300))
def test_moving_everything_changes_nothing(scene: tuple[Regions, Regions], dx: int, dy: int) -> None:
    # where there is no tissue edge that one could be moved over
    truth, detected = scene
    here = tissue(20_000)
    first = compare_lesions(reference(truth.translate(5000, 5000), here), detected.translate(5000, 5000), 0.3)
    second = compare_lesions(
        reference(truth.translate(5000 + dx, 5000 + dy), here), detected.translate(5000 + dx, 5000 + dy), 0.3
    )
    assert first.matchings == second.matchings
    assert (first.splits, first.merges) == (second.splits, second.merges)
    assert [detection.location for detection in first.detections] == [
        detection.location for detection in second.detections
    ]


# ---------------------------------------------------------------- lesions


def test_annotations_drawn_over_one_another_are_one_lesion_and_neighbors_are_two() -> None:
    twice = regions(square(0, 0, 100), square(50, 0, 100))
    slide = compare(twice, regions(square(0, 0, 150)))
    assert len(slide.lesions) == 1
    assert slide.lesions[0].region.outline.area == 150 * 100
    assert slide.lesions[0].region.properties["merged"] == [region.id for region in twice]
    assert slide.notes
    touching = regions(
        square(0, 0, 100), square(100, 0, 100), square(0, 95, 100)
    )  # the last slips over by a hair
    assert len(compare(touching, NOTHING).lesions) == 3


def test_an_annotation_of_another_class_over_a_lesion_leaves_it_alone() -> None:
    slide = compare(regions(square(0, 0, 100), square(0, 0, 100, "ADH")), regions(square(0, 0, 100)))
    assert slide.true_positives() == [(0, 0)]


def test_lesions_outside_the_tissue_count_and_are_noted() -> None:
    here = tissue(glass=Box(0, 0, 300, 300))
    slide = compare(regions(square(50, 50, 100), square(500, 500, 100)), NOTHING, where=here)
    assert [lesion.outside_tissue for lesion in slide.lesions] == [True, False]
    assert any("1 of 2" in note for note in slide.notes)


def test_ignored_areas_count_neither_way() -> None:
    truth = regions(square(0, 0, 200, "ignore"), square(20, 20, 100), square(500, 500, 100))
    detected = regions(square(100, 100, 80), square(180, 180, 100), square(500, 500, 100))
    slide = compare(truth, detected)
    assert len(slide.lesions) == 1  # the one in the ignored area is none
    assert slide.matchings["iou_0.3"].states == ("ignored", "false positive", "true positive")
    assert slide.notes


def test_a_lesion_partly_ignored_can_be_found_by_a_detection_mostly_inside_it() -> None:
    truth = regions(square(0, 0, 90, "ignore"), square(40, 0, 120))
    slide = compare(truth, regions(square(20, 0, 110)))
    assert slide.matchings["iou_0.3"].states == ("true positive",)


def test_diameters_are_those_of_circles() -> None:
    assert round(compare(regions(disc(300, 300, 50)), NOTHING).lesions[0].diameter_um) == 100


# ---------------------------------------------------------------- detections


def test_every_false_positive_has_a_location() -> None:
    here = tissue(left_out=Box(800, 0, 200, 200), glass=Box(800, 800, 200, 200))
    truth = regions(
        square(0, 0, 200), square(400, 0, 100, "ADH"), square(400, 400, 100, "N"), square(600, 600, 90, "")
    )
    detected = regions(
        square(10, 10, 40),  # a piece of the lesion
        square(410, 10, 80),
        square(390, 390, 110),
        square(605, 605, 70),
        square(200, 600, 100),
        square(820, 20, 100),
        square(850, 850, 100),
    )
    places = [str(detection.location) for detection in compare(truth, detected, where=here).detections]
    assert places == [
        "lesion",
        "other class: ADH",
        "other class: N",
        "other class: unclassified",
        "unannotated tissue",
        "artifact",
        "outside tissue",
    ]
    assert set(LOCATION_KINDS) == {place.partition(":")[0] for place in places}


def test_a_speck_smaller_than_a_cell_of_the_tissue_mask_lies_somewhere_too() -> None:
    here = tissue(glass=Box(800, 800, 200, 200))
    detected = regions(square(851, 852, 2), square(101, 102, 2))
    places = [str(detection.location) for detection in compare(NOTHING, detected, where=here).detections]
    assert places == ["outside tissue", "unannotated tissue"]


def test_a_detection_far_too_large_for_its_lesion_is_a_badly_outlined_lesion() -> None:
    slide = compare(regions(square(300, 300, 50)), regions(square(200, 200, 400)))
    assert str(slide.detections[0].location) == "lesion"
    assert slide.matchings["iou_0.3"].states == ("false positive",)


def test_a_split_lesion_is_missed_and_shown() -> None:
    truth = regions(square(0, 0, 120))
    quarters = regions(*(square(x, y, 60) for x in (0, 60) for y in (0, 60)))
    slide = compare(truth, quarters)
    assert slide.splits == {0: (0, 1, 2, 3)}
    assert slide.false_negatives() == [0]
    assert count_lesions([slide]).false_positives_on == {"lesion": 4}


def test_a_merge_is_one_detection_over_several_lesions_and_finds_one_at_most() -> None:
    truth = regions(square(0, 0, 100), square(120, 0, 100))
    slide = compare(truth, regions(square(0, -60, 220)))
    assert slide.merges == {0: (0, 1)}
    assert len(slide.true_positives("iou_0.1")) == 1


def test_detections_below_the_threshold_are_neither_shown_nor_counted() -> None:
    truth = regions(square(0, 0, 100), square(300, 0, 100))
    detected = regions(
        square(0, 0, 100, score=0.9), square(300, 0, 100, score=0.2), square(600, 0, 50, score=0.1)
    )
    slide = compare(truth, detected, 0.5)
    counts = count_lesions([slide])
    assert (counts.true_positives, counts.false_positives, counts.detections) == (1, 0, 1)
    assert slide.false_negatives() == [1]
    assert slide.matchings["iou_0.3"].found_at == (0.9, 0.2)


def test_annotated_only_counts_detections_on_annotations() -> None:
    truth = regions(square(0, 0, 100), square(400, 0, 100, "ADH"), square(700, 700, 50, "ignore"))
    detected = regions(square(0, 0, 100), square(400, 0, 90), square(700, 0, 100))
    slide = compare(truth, detected)
    assert count_lesions([slide]).false_positives == 2
    assert count_lesions([slide], policy=ANNOTATED_ONLY).false_positives_on == {"other class: ADH": 1}
    assert slide.annotated_mm2 == 2 * 100 * 100 * 1e-6


# ---------------------------------------------------------------- what must not score well


def _lesions() -> Regions:
    return regions(*(disc(150 + 230 * x, 150 + 230 * y, 40) for x in range(4) for y in range(4)))


def test_one_giant_region_finds_one_lesion_at_most_by_any_rule() -> None:
    slide = compare(_lesions(), regions(square(0, 0, 1000)))
    for rule in MATCHING_RULES:
        assert len(slide.true_positives(rule)) <= 1
    assert slide.true_positives("iou_0.1") == []
    assert len(slide.merges[0]) == 16


def test_thousands_of_specks_find_nothing_by_overlap() -> None:
    specks = regions(*(square(x, y, 5) for x in range(0, 1000, 20) for y in range(0, 1000, 20)))
    slide = compare(_lesions(), specks)
    for rule in ("iou_0.3", "iou_0.1"):
        counts = count_lesions([slide], rule)
        assert (counts.true_positives, counts.false_positives) == (0, len(specks))


def test_by_their_centers_specks_find_everything_which_is_why_that_rule_is_not_the_first() -> None:
    specks = regions(*(square(x, y, 5) for x in range(0, 1000, 20) for y in range(0, 1000, 20)))
    counts = count_lesions([compare(_lesions(), specks)], "center")
    assert counts.true_positives == counts.lesions
    # what gives them away: false positives by the thousand, and more than ten detections for each lesion
    assert counts.false_positives > 2000
    assert counts.duplicates > 10 * counts.true_positives


def test_annotations_in_several_parts_and_with_holes_are_compared_by_area() -> None:
    ring = shapely.Point(300, 300).buffer(100).difference(shapely.Point(300, 300).buffer(60))
    detected = Region(valid_outline(ring) or MultiPolygon(), "UDH", 0.5)
    slide = compare(regions(disc(300, 300, 100)), regions(detected))
    assert slide.matchings["iou_0.3"].states == ("true positive",)
