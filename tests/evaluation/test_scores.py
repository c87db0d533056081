"""The laws of an evaluation: what must not change figures, and what must not score well."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from histoscout.evaluation.bootstrap import Interval
from histoscout.evaluation.protocol import Exam
from histoscout.evaluation.regions import ComparedSlide, score_regions
from histoscout.evaluation.scores import Intervals, Scores
from histoscout.evaluation.slide_metrics import (
    ALL_TISSUE,
    BASELINES,
    EVERYTHING,
    NOTHING,
    OUTLINED,
    PREVALENCE,
    judge_heatmap,
)
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from tests.evaluation.slides import BOX, COHORTS, MPP, RECIPE, SIDE, discs, ground, heatmap

Cohort = tuple[ComparedSlide, ...]

LESIONS = discs([(60, 60, 20), (180, 70, 25), (100, 180, 15)])
OTHERS = discs([(200, 200, 20), (40, 200, 18)], "ADH")


def scored(slides: Cohort) -> Scores:
    return replace(score_regions(slides, recipe=RECIPE), draws=50)


def values(figures: Intervals) -> dict[str, float | None]:
    return {name: figure.value for name, figure in figures.items()}


def all_values(scores: Scores) -> dict[str, float | None]:
    parts = {
        f"{finder} {part}": getattr(each, part)
        for finder, each in scores.figures.items()
        for part in ("pixel", "lesion")
    }
    return {f"{where} {name}": value for where, part in parts.items() for name, value in values(part).items()}


def assert_alike(one: Scores, other: Scores) -> None:
    ours, theirs = all_values(one), all_values(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert theirs[name] == (None if value is None else pytest.approx(value, abs=1e-9)), name


@settings(max_examples=15)
@given(COHORTS, st.randoms(use_true_random=False))
def test_figures_and_intervals_do_not_depend_on_the_order_of_slides(cohort: Cohort, random: object) -> None:
    shuffled = list(cohort)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = scored(cohort), scored(tuple(shuffled))
    assert_alike(one, other)
    for name, figure in one.pixel.items():
        assert figure == other.pixel[name]


@settings(max_examples=15)
@given(COHORTS)
def test_every_patient_twice_leaves_the_figures(cohort: Cohort) -> None:
    again = tuple(
        replace(slide, name=f"{slide.name} again", patient=f"{slide.patient} again") for slide in cohort
    )
    assert_alike(scored(cohort), scored((*cohort, *again)))


@settings(max_examples=15)
@given(COHORTS, st.integers(-500, 500), st.integers(-500, 500))
def test_moving_a_slide_moves_nothing_else(cohort: Cohort, dx: int, dy: int) -> None:
    moved = tuple(
        replace(
            slide, truth=slide.truth.moved(dx, dy), found=slide.found.moved(dx, dy), box=BOX.moved(dx, dy)
        )
        for slide in cohort
    )
    assert_alike(scored(cohort), scored(moved))


@settings(max_examples=15)
@given(COHORTS)
def test_what_is_drawn_is_found_exactly_by_whoever_drew_it(cohort: Cohort) -> None:
    perfect = scored(tuple(replace(slide, found=slide.truth.labeled("UDH")) for slide in cohort))
    if perfect.pixels.positive.any():
        assert values(perfect.pixel)["dice"] == 1
        assert values(perfect.pixel)["dice_per_patient"] == 1
    if any(slide.lesions for slide in perfect.lesions):
        assert values(perfect.lesion)["sensitivity"] == 1


@settings(max_examples=15)
@given(COHORTS)
def test_finding_nothing_is_worth_nothing(cohort: Cohort) -> None:
    empty = scored(tuple(replace(slide, found=Regions()) for slide in cohort))
    assert values(empty.pixel)["recall"] in (0, None)
    assert values(empty.pixel)["dice"] in (0, None)
    assert values(empty.lesion)["sensitivity"] in (0, None)
    assert values(empty.lesion) == values(empty.figures[NOTHING].lesion)


@settings(max_examples=15)
@given(COHORTS)
def test_finding_everything_is_the_baseline_of_everything(cohort: Cohort) -> None:
    whole = Regions.of([Region(shapely.box(*BOX.bounds), "UDH")])
    scores = scored(tuple(replace(slide, found=whole) for slide in cohort))
    for name, value in values(scores.pixel).items():
        assert value == values(scores.figures[EVERYTHING].pixel)[name]
        assert value == values(scores.figures[ALL_TISSUE].pixel)[name]
    assert values(scores.lesion) == values(scores.figures[EVERYTHING].lesion)
    assert values(scores.pixel)["precision"] == values(scores.pixel)["prevalence"]


def of_findings(found: Regions) -> Scores:
    drawn = Regions.of([*LESIONS, *OTHERS])
    return scored((ComparedSlide("slide", drawn, found, BOX, MPP),))


def test_nothing_that_does_not_look_scores_well() -> None:
    giant = Regions.of([Region(shapely.box(*BOX.bounds), "UDH")])
    specks = discs([(x, y, 1) for x, y in product(range(2, SIDE, 4), range(2, SIDE, 4))])
    for found in (Regions(), giant, specks):
        scores = of_findings(found)
        assert (scores.pixel["dice"].value or 0) < 0.3
        assert (scores.lesion["sensitivity"].value or 0) == 0
        assert (scores.lesion["froc_per_cm2"].value or 0) == 0
    for name in (NOTHING, EVERYTHING, ALL_TISSUE, OUTLINED):
        assert (of_findings(LESIONS).figures[name].lesion["froc_per_cm2"].value or 0) == 0
    assert of_findings(LESIONS).lesion["froc_per_cm2"].value == 1


def test_outlining_every_class_exactly_costs_what_the_other_classes_cover() -> None:
    scores = of_findings(LESIONS).figures[OUTLINED]
    assert scores.pixel["recall"].value == 1
    share = sum(region.outline.area for region in LESIONS)
    both = share + sum(region.outline.area for region in OTHERS)
    assert scores.pixel["precision"].value == pytest.approx(share / both, abs=0.01)
    assert scores.lesion["sensitivity"].value == 1
    assert scores.lesion["precision"].value == pytest.approx(3 / 5)


def test_classes_that_the_recipe_does_not_name_are_annotated_all_the_same() -> None:
    drawn = Regions.of([*LESIONS, *discs([(200, 200, 20)], "papilloma")])
    scores = scored((ComparedSlide("slide", drawn, LESIONS, BOX, MPP),))
    outlined = scores.figures[OUTLINED].pixel["precision"].value
    assert outlined is not None
    assert outlined < 1
    assert scores.pixel["precision"].value == 1


def model_scores(levels: np.ndarray[tuple[int, int], np.dtype[np.uint8]], threshold: float = 0.5) -> Scores:
    drawn = Regions.of([*LESIONS, *OTHERS])
    exam = Exam("model", "test", "UDH", threshold)
    judged = tuple(
        judge_heatmap(ground(drawn, f"slide {n}", f"patient {n}"), heatmap(levels), LESIONS, threshold)
        for n in range(6)
    )
    return Scores(exam, judged, draws=50)


def test_a_heatmap_that_says_the_same_everywhere_has_no_skill() -> None:
    for level in (0, 128, 255):
        scores = model_scores(np.full((128, 128), level, np.uint8))
        prevalence = scores.pixel["prevalence"].value
        assert scores.pixel["ap"].value == pytest.approx(prevalence)
        assert scores.pixel["auroc"].value == 0.5
        assert (scores.pixel["brier_skill"].value or 0) <= 0
        assert scores.tile["auroc"].value in (0.5, None)
        assert scores.outlined["ADH"].value == 0.5
    always = scores.figures[PREVALENCE].pixel
    assert always["ap"].value == pytest.approx(prevalence)
    assert (always["ece"].value, always["brier_skill"].value) == (0, 0)
    assert always["dice"] == Interval(None, undefined_draws=50)


def test_slides_that_are_all_alike_leave_no_doubt() -> None:
    random = np.random.default_rng(0)
    scores = model_scores(random.integers(0, 256, (128, 128)).astype(np.uint8))
    for figure in (*scores.pixel.values(), *scores.lesion.values()):
        if figure.value is not None:
            assert [figure.low, figure.high] == pytest.approx([figure.value] * 2)
    assert set(scores.finders) == {"model", *BASELINES}


def test_a_large_lesion_of_one_patient_does_not_hide_small_ones_of_another() -> None:
    large = ComparedSlide("a", discs([(128, 128, 100)]), discs([(128, 128, 100)]), BOX, MPP)
    small = ComparedSlide("b", discs([(128, 128, 12)]), Regions(), Box(0, 0, SIDE, SIDE), MPP)
    scores = scored((large, small))
    assert (scores.pixel["dice"].value or 0) > 0.97
    assert scores.pixel["dice_per_patient"].value == 0.5
