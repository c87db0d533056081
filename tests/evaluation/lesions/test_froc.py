"""FROC figures against a slow, obvious count at every threshold, and the laws they keep."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.evaluation.bootstrap import bootstrap
from histoscout.evaluation.lesions import froc
from histoscout.evaluation.lesions.compare import SlideLesions
from histoscout.evaluation.lesions.froc import (
    ANNOTATED_ONLY,
    ANNOTATION_POLICIES,
    FROC_RATES,
    RATE_UNITS,
    REPORTED_RATES,
    froc_curve,
    froc_metric,
    lesion_statistic,
    measure_operating_points,
    sensitivity_metric,
)
from histoscout.evaluation.lesions.matching import MATCHING_RULES, PRIMARY_RULE
from histoscout.evaluation.lesions.summary import count_lesions
from histoscout.geometry.regions import Regions
from tests.evaluation.scenes import (
    cohorts,
    compare,
    disc,
    regions,
    scenes,
    slow_counts,
    slow_sensitivity,
    square,
    tissue,
)

Scene = tuple[Regions, Regions]
SMALL = tissue(500)  # 0.25 mm2, so that rates per cm2 are coarse
WIDE = tissue(20_000)  # 4 cm2: several false positives are allowed


def metrics_of(
    slides: list[SlideLesions], rule: str = "iou_0.3", weights: list[float] | None = None
) -> dict[str, float | None]:
    chosen = np.ones(len(slides)) if weights is None else np.array(weights)
    return dict(lesion_statistic(slides, range(len(slides)), rule)(chosen))


@pytest.mark.parametrize("rule", MATCHING_RULES)
@given(cohort=cohorts(), wide=st.booleans())
def test_sensitivities_agree_with_a_count_at_every_threshold(
    rule: str, cohort: list[Scene], wide: bool
) -> None:
    slides = [compare(*scene, where=WIDE if wide else SMALL) for scene in cohort]
    values = metrics_of(slides, rule)
    cm2 = sum(slide.tissue_mm2 for slide in slides) / 100
    for per, amount in zip(RATE_UNITS, (cm2, float(len(slides))), strict=True):
        slow = {rate: slow_sensitivity(slides, rule, rate, amount) for rate in REPORTED_RATES}
        for rate in REPORTED_RATES:
            assert values[sensitivity_metric(rate, per)] == pytest.approx(slow[rate], abs=1e-9)
        if any(slide.lesions for slide in slides):
            mean = np.mean([slow[rate] for rate in FROC_RATES])
            assert values[froc_metric(per)] == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize("first_sum", [1, 2, 3, 17])
def test_adding_up_only_allowed_false_positives_changes_nothing(first_sum: int) -> None:
    random = np.random.default_rng(first_sum)
    places = [(x, y) for x in range(0, 1000, 60) for y in range(0, 1000, 60)]
    detected = regions(*(square(x, y, 50, score=random.uniform()) for x, y in places))
    truth = regions(*(square(x, y, 50) for x, y in places[::3]))
    slides = [compare(truth, detected, where=WIDE), compare(Regions(), detected, where=WIDE)]
    for weights in ([1.0, 1.0], [0.0, 3.0], [2.0, 0.0]):
        whole = metrics_of(slides, weights=weights)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(froc, "_FIRST_SUM", first_sum)
            assert metrics_of(slides, weights=weights) == whole


@given(cohorts(), st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_a_weight_is_how_often_a_patient_counts(cohort: list[Scene], weights: list[int]) -> None:
    slides = [compare(*scene, 0.3, WIDE) for scene in cohort]
    repeated = [slide for slide, weight in zip(slides, weights, strict=False) for _ in range(weight)]
    if repeated:
        weighted = metrics_of(slides, weights=[float(weight) for weight in weights[: len(slides)]])
        assert weighted == pytest.approx(metrics_of(repeated), abs=1e-9)


@given(cohorts())
def test_every_patient_twice_changes_nothing(cohort: list[Scene]) -> None:
    slides = [compare(*scene, 0.3, WIDE) for scene in cohort]
    assert metrics_of(slides + slides) == pytest.approx(metrics_of(slides), abs=1e-9)


@given(cohorts())
def test_slides_of_one_patient_are_added_up(cohort: list[Scene]) -> None:
    slides = [compare(*scene, 0.3, WIDE) for scene in cohort]
    together = lesion_statistic(slides, [0] * len(slides))(np.ones(1))
    assert dict(together) == pytest.approx(metrics_of(slides), abs=1e-9)


@given(cohorts())
def test_sensitivity_rises_with_false_positives_allowed(cohort: list[Scene]) -> None:
    values = metrics_of([compare(*scene, where=WIDE) for scene in cohort])
    for per in RATE_UNITS:
        at_rates = [values[sensitivity_metric(rate, per)] for rate in REPORTED_RATES]
        defined = [value for value in at_rates if value is not None]
        assert defined == sorted(defined)


@given(scenes())
def test_the_curve_goes_through_the_figures(scene: Scene) -> None:
    slide = compare(*scene, where=WIDE)
    curve, values = froc_curve([slide], [0]), metrics_of([slide])
    if not slide.lesions:
        assert not len(curve.sensitivity)
        return
    assert curve.sensitivity[0] == curve.fp_per_cm2[0] == 0
    assert (np.diff(curve.thresholds) < 0).all()
    for rate in REPORTED_RATES:
        best = curve.sensitivity[curve.fp_per_cm2 <= rate * (1 + 1e-9)].max()
        assert values[sensitivity_metric(rate, "cm2")] == pytest.approx(best)
    assert curve.reaches(8) == (curve.fp_per_cm2[-1] >= 8)


@given(scenes(), st.sampled_from([0.0, 0.3, 0.6]))
def test_metrics_at_the_threshold_agree_with_the_counts(scene: Scene, threshold: float) -> None:
    slide = compare(*scene, threshold)
    for rule in MATCHING_RULES:
        for policy in ANNOTATION_POLICIES:
            counts = count_lesions([slide], rule, policy)
            values = lesion_statistic([slide], [0], rule, policy)(np.ones(1))
            whole = counts.true_positives + counts.false_positives
            assert values["precision"] == (counts.true_positives / whole if whole else None)
            assert values["sensitivity"] == (
                counts.true_positives / counts.lesions if counts.lesions else None
            )
            assert values["fp_per_slide"] == counts.false_positives


def test_perfect_detections_have_no_false_positive() -> None:
    truth = regions(disc(100, 100, 60), disc(500, 100, 30), square(300, 500, 200))
    values = metrics_of([compare(truth, truth)])
    assert values["sensitivity"] == values["precision"] == values["f1"] == 1
    assert values["fp_per_cm2"] == values["fp_per_slide"] == 0
    assert values["froc_per_cm2"] == values["froc_per_slide"] == 1


def test_no_detections_have_no_sensitivity() -> None:
    values = metrics_of([compare(regions(disc(100, 100, 60)), Regions())])
    assert values["sensitivity"] == values["froc_per_cm2"] == values["froc_per_slide"] == 0
    assert values["precision"] is None


def test_without_lesions_there_is_no_sensitivity_but_there_are_false_positives() -> None:
    values = metrics_of([compare(Regions(), regions(disc(100, 100, 60)))])
    assert values["sensitivity"] is None
    assert values["froc_per_cm2"] is None
    assert values["fp_per_cm2"] == pytest.approx(100)


LESIONS = regions(*(disc(150 + 230 * x, 150 + 230 * y, 40) for x in range(4) for y in range(4)))


@pytest.mark.parametrize("rule", MATCHING_RULES)
def test_one_giant_region_scores_badly_by_any_rule(rule: str) -> None:
    values = metrics_of([compare(LESIONS, regions(square(0, 0, 1000, score=1.0)))], rule)
    assert (values["froc_per_slide"] or 0) <= 1 / 16
    assert (values["froc_per_cm2"] or 0) <= 1 / 16


@pytest.mark.parametrize("rule", MATCHING_RULES)
@pytest.mark.parametrize("alike", [True, False])
def test_thousands_of_specks_score_badly_by_any_rule(rule: str, alike: bool) -> None:
    # even by their centers: false positives come long before the lesions are found
    random = np.random.default_rng(0)
    places = [(x, y) for x in range(0, 1000, 20) for y in range(0, 1000, 20)]
    specks = regions(*(square(x, y, 5, score=0.5 if alike else random.uniform()) for x, y in places))
    values = metrics_of([compare(LESIONS, specks)], rule)
    assert (values["froc_per_slide"] or 0) < 0.1
    assert (values["froc_per_cm2"] or 0) < 0.1
    if rule != "center":
        assert values["sensitivity"] == 0


def test_detections_scored_alike_enter_together() -> None:
    # a straight line between (0, 0) and (1, 1) would give half of the lesions at half a false positive
    slide = compare(
        regions(square(0, 0, 100)), regions(square(0, 0, 100, score=0.5), square(500, 500, 50, score=0.5))
    )
    values = metrics_of([slide])
    assert values[sensitivity_metric(0.5, "slide")] == 0
    assert values[sensitivity_metric(1, "slide")] == 1


def test_a_curve_that_ends_early_has_a_note() -> None:
    slide = compare(
        regions(square(0, 0, 100)), regions(square(0, 0, 100, score=0.5), square(500, 500, 50, score=0.4))
    )
    curve = froc_curve([slide], [0])
    assert not curve.reaches(2, "slide")
    assert curve.end_note("slide")
    assert curve.end_note("cm2") is None  # 100 per cm2
    assert metrics_of([slide])[sensitivity_metric(8, "slide")] == 1


def test_annotated_only_counts_false_positives_per_annotated_area() -> None:
    truth = regions(square(0, 0, 100), square(400, 0, 100, "ADH"))
    detected = regions(square(0, 0, 100), square(400, 0, 100), square(700, 0, 100))
    values = lesion_statistic([compare(truth, detected)], [0], policy=ANNOTATED_ONLY)(np.ones(1))
    assert values["precision"] == 0.5
    assert values["fp_per_cm2"] == pytest.approx(1 / (2 * 100 * 100 * 1e-8))


def test_intervals_come_from_patients() -> None:
    truth = regions(square(0, 0, 100))
    good, bad = compare(truth, truth), compare(truth, Regions())
    slides = [good, good, bad, bad, good, bad]
    sensitivity = bootstrap(lesion_statistic(slides, range(6)), 6, 300)["sensitivity"]
    assert sensitivity.value == 0.5
    assert sensitivity.low is not None
    assert sensitivity.low < 0.3


# ---------------------------------------------------------------- operating points


def slides_and_patients(cohort: list[Scene]) -> tuple[list[SlideLesions], list[str]]:
    return [compare(*scene) for scene in cohort], [f"patient {n % 2}" for n in range(len(cohort))]


@given(cohorts())
def test_every_operating_point_is_what_counting_gives(cohort: list[Scene]) -> None:
    slides, patients = slides_and_patients(cohort)
    table = measure_operating_points(slides, patients, source="test set", threshold=0.5)
    assert table.lesions == sum(len(slide.lesions) for slide in slides)
    for point in table.points:
        counts = [slow_counts(slide, PRIMARY_RULE, point.score) for slide in slides]
        assert (point.found, point.false_positives) == tuple(map(sum, zip(*counts, strict=True)))
    assert [point.found for point in table.points] == sorted({point.found for point in table.points})


@given(cohorts())
def test_no_threshold_of_the_curve_is_better_than_the_operating_points(cohort: list[Scene]) -> None:
    """For every point of the FROC curve some row finds as much, with no more false positives."""
    slides, patients = slides_and_patients(cohort)
    table = measure_operating_points(slides, patients, source="test set", threshold=0.5)
    curve = froc_curve(slides, [int(patient[-1]) for patient in patients])
    for sensitivity, rate in zip(curve.sensitivity, curve.fp_per_cm2, strict=False):
        assert sensitivity == 0 or any(
            point.found / table.lesions >= sensitivity - 1e-9
            and point.false_positives / table.cm2 <= rate + 1e-9
            for point in table.points
        )


@given(cohorts())
def test_at_the_weakest_score_all_lesions_of_the_patient_are_found(
    cohort: list[Scene],
) -> None:
    slides, patients = slides_and_patients(cohort)
    expected = []
    for patient in sorted(set(patients)):
        own = [
            slide for slide, slide_patient in zip(slides, patients, strict=True) if slide_patient == patient
        ]
        lesions = sum(len(slide.lesions) for slide in own)
        scores = {detection.score for slide in own for detection in slide.detections}
        detected = {
            score: sum(slow_counts(slide, PRIMARY_RULE, score)[0] for slide in own) for score in scores
        }
        if lesions:
            expected.append(max((score for score in scores if detected[score] == lesions), default=0.0))
    assert measure_operating_points(slides, patients, source="test set", threshold=0.5).weakest == tuple(
        sorted(expected)
    )


def test_operating_points_by_hand() -> None:
    truth = regions(square(0, 0, 100), square(300, 0, 100))
    detected = regions(
        square(0, 0, 100, score=0.9), square(600, 0, 100, score=0.7), square(300, 0, 100, score=0.6),
        square(600, 600, 100, score=0.1),
    )  # fmt: skip
    table = measure_operating_points(
        [compare(truth, detected)], ["somebody"], source="test set", threshold=0.5
    )
    assert [(point.score, point.found, point.false_positives) for point in table.points] == [
        (0.9, 1, 0),
        (0.6, 2, 1),
    ]
    assert table.weakest == (0.6,)
    assert table.cm2 == pytest.approx(0.01)
    assert table.patients == ("somebody",)
