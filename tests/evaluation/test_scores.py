"""Laws of scores: what must not change metrics, and what must not score well."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from histoscout.evaluation.bootstrap import ConfidenceInterval
from histoscout.evaluation.protocol import EvaluationProtocol
from histoscout.evaluation.regions import SlideComparison, score_regions
from histoscout.evaluation.scores import MetricIntervals, Scores
from histoscout.evaluation.slide_metrics import (
    ALL_TISSUE,
    BASELINES,
    EVERYTHING,
    NOTHING,
    PERFECT_OUTLINES,
    PREVALENCE,
    score_slide_heatmap,
)
from histoscout.geometry.regions import Region, Regions
from tests.evaluation.slides import BOX, COHORTS, RECIPE, SIDE, comparison, discs, heatmap, reference

Cohort = tuple[SlideComparison, ...]

LESIONS = discs([(60, 60, 20), (180, 70, 25), (100, 180, 15)])
OTHERS = discs([(200, 200, 20), (40, 200, 18)], "ADH")


def scored(slides: Cohort) -> Scores:
    return replace(score_regions(slides, recipe=RECIPE), draws=50)


def values(metrics: MetricIntervals) -> dict[str, float | None]:
    return {name: figure.value for name, figure in metrics.items()}


def all_values(scores: Scores) -> dict[str, float | None]:
    parts = {
        f"{method} {part}": getattr(metrics, part)
        for method, metrics in scores.metrics.items()
        for part in ("pixel", "lesion")
    }
    return {f"{where} {name}": value for where, part in parts.items() for name, value in values(part).items()}


def assert_alike(first: Scores, second: Scores) -> None:
    first_values, second_values = all_values(first), all_values(second)
    assert first_values.keys() == second_values.keys()
    for name, value in first_values.items():
        assert second_values[name] == (None if value is None else pytest.approx(value, abs=1e-9)), name


@settings(max_examples=15)
@given(COHORTS, st.randoms(use_true_random=False))
def test_metrics_and_intervals_do_not_depend_on_the_order_of_slides(cohort: Cohort, random: object) -> None:
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
            slide,
            truth=slide.truth.translate(dx, dy),
            detected=slide.detected.translate(dx, dy),
            box=BOX.translate(dx, dy),
        )
        for slide in cohort
    )
    assert_alike(scored(cohort), scored(moved))


@settings(max_examples=15)
@given(COHORTS)
def test_what_is_drawn_is_found_exactly_by_whoever_drew_it(cohort: Cohort) -> None:
    perfect = scored(tuple(replace(slide, detected=slide.truth.with_labels("UDH")) for slide in cohort))
    if perfect.pixels.positive.any():
        assert values(perfect.pixel)["dice"] == 1
        assert values(perfect.pixel)["dice_per_patient"] == 1
    if any(slide.lesions for slide in perfect.lesions):
        assert values(perfect.lesion)["sensitivity"] == 1


@settings(max_examples=15)
@given(COHORTS)
def test_detecting_nothing_scores_nothing(cohort: Cohort) -> None:
    empty = scored(tuple(replace(slide, detected=Regions()) for slide in cohort))
    assert values(empty.pixel)["recall"] in (0, None)
    assert values(empty.pixel)["dice"] in (0, None)
    assert values(empty.lesion)["sensitivity"] in (0, None)
    assert values(empty.lesion) == values(empty.metrics[NOTHING].lesion)


@settings(max_examples=15)
@given(COHORTS)
def test_detecting_everything_equals_the_baseline_of_everything(cohort: Cohort) -> None:
    whole = Regions.of([Region(shapely.box(*BOX.bounds), "UDH")])
    scores = scored(tuple(replace(slide, detected=whole) for slide in cohort))
    for name, value in values(scores.pixel).items():
        assert value == values(scores.metrics[EVERYTHING].pixel)[name]
        assert value == values(scores.metrics[ALL_TISSUE].pixel)[name]
    assert values(scores.lesion) == values(scores.metrics[EVERYTHING].lesion)
    assert values(scores.pixel)["precision"] == values(scores.pixel)["prevalence"]


def score_detected(detected: Regions) -> Scores:
    truth = Regions.of([*LESIONS, *OTHERS])
    return scored((comparison(truth, detected),))


def test_trivial_detections_do_not_score_well() -> None:
    giant = Regions.of([Region(shapely.box(*BOX.bounds), "UDH")])
    specks = discs([(x, y, 1) for x, y in product(range(2, SIDE, 4), range(2, SIDE, 4))])
    for detected in (Regions(), giant, specks):
        scores = score_detected(detected)
        assert (scores.pixel["dice"].value or 0) < 0.3
        assert (scores.lesion["sensitivity"].value or 0) == 0
        assert (scores.lesion["froc_per_cm2"].value or 0) == 0
    for name in (NOTHING, EVERYTHING, ALL_TISSUE, PERFECT_OUTLINES):
        assert (score_detected(LESIONS).metrics[name].lesion["froc_per_cm2"].value or 0) == 0
    assert score_detected(LESIONS).lesion["froc_per_cm2"].value == 1


def test_outlining_every_class_exactly_costs_what_the_other_classes_cover() -> None:
    scores = score_detected(LESIONS).metrics[PERFECT_OUTLINES]
    assert scores.pixel["recall"].value == 1
    share = sum(region.outline.area for region in LESIONS)
    both = share + sum(region.outline.area for region in OTHERS)
    assert scores.pixel["precision"].value == pytest.approx(share / both, abs=0.01)
    assert scores.lesion["sensitivity"].value == 1
    assert scores.lesion["precision"].value == pytest.approx(3 / 5)


def test_classes_that_the_recipe_does_not_name_are_annotated_all_the_same() -> None:
    truth = Regions.of([*LESIONS, *discs([(200, 200, 20)], "papilloma")])
    scores = scored((comparison(truth, LESIONS),))
    outlined = scores.metrics[PERFECT_OUTLINES].pixel["precision"].value
    assert outlined is not None
    assert outlined < 1
    assert scores.pixel["precision"].value == 1


def model_scores(levels: np.ndarray[tuple[int, int], np.dtype[np.uint8]], threshold: float = 0.5) -> Scores:
    truth = Regions.of([*LESIONS, *OTHERS])
    protocol = EvaluationProtocol(method="model", set_name="test", positive="UDH", threshold=threshold)
    slides = tuple(
        score_slide_heatmap(
            reference(truth, f"slide {n}", f"patient {n}"), heatmap(levels), LESIONS, threshold=threshold
        )
        for n in range(6)
    )
    return Scores(protocol=protocol, slides=slides, draws=50)


def test_a_constant_heatmap_has_no_skill() -> None:
    for level in (0, 128, 255):
        scores = model_scores(np.full((128, 128), level, np.uint8))
        prevalence = scores.pixel["prevalence"].value
        assert scores.pixel["ap"].value == pytest.approx(prevalence)
        assert scores.pixel["auroc"].value == 0.5
        assert (scores.pixel["brier_skill"].value or 0) <= 0
        assert scores.tile["auroc"].value in (0.5, None)
        assert scores.class_auroc["ADH"].value == 0.5
    always = scores.metrics[PREVALENCE].pixel
    assert always["ap"].value == pytest.approx(prevalence)
    assert (always["ece"].value, always["brier_skill"].value) == (0, 0)
    assert always["dice"] == ConfidenceInterval(value=None, undefined_draws=50)


def test_equal_slides_have_intervals_of_no_width() -> None:
    random = np.random.default_rng(0)
    scores = model_scores(random.integers(0, 256, (128, 128)).astype(np.uint8))
    for metric in (*scores.pixel.values(), *scores.lesion.values()):
        if metric.value is not None:
            assert [metric.low, metric.high] == pytest.approx([metric.value] * 2)
    assert set(scores.methods) == {"model", *BASELINES}


def test_a_large_lesion_of_one_patient_does_not_hide_small_ones_of_another() -> None:
    large = comparison(discs([(128, 128, 100)]), discs([(128, 128, 100)]), "a")
    small = comparison(discs([(128, 128, 12)]), Regions(), "b")
    scores = scored((large, small))
    assert (scores.pixel["dice"].value or 0) > 0.97
    assert scores.pixel["dice_per_patient"].value == 0.5
