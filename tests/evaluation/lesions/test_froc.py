"""FROC figures against a slow, obvious count at every threshold, and the laws they keep."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.evaluation.bootstrap import bootstrap
from histoscout.evaluation.lesions import froc
from histoscout.evaluation.lesions.compare import SlideLesions
from histoscout.evaluation.lesions.froc import (
    ANNOTATED,
    AVERAGED,
    PER,
    RATES,
    READINGS,
    froc_average,
    froc_curve,
    lesion_statistic,
    sensitivity_at,
)
from histoscout.evaluation.lesions.matching import RULES
from histoscout.evaluation.lesions.summary import count_lesions_of
from histoscout.geometry.regions import Regions
from tests.evaluation.scenes import cohorts, compared, disc, regions, scenes, slow_sensitivity, square, tissue

Scene = tuple[Regions, Regions]
SMALL = tissue(500)  # 0.25 mm2, so that rates per cm2 are coarse
WIDE = tissue(20_000)  # 4 cm2: several false alarms are allowed


def figures(
    slides: list[SlideLesions], rule: str = "iou_0.3", weights: list[float] | None = None
) -> dict[str, float | None]:
    chosen = np.ones(len(slides)) if weights is None else np.array(weights)
    return dict(lesion_statistic(slides, range(len(slides)), rule)(chosen))


@pytest.mark.parametrize("rule", RULES)
@given(cohort=cohorts(), wide=st.booleans())
def test_sensitivities_agree_with_a_count_at_every_threshold(
    rule: str, cohort: list[Scene], wide: bool
) -> None:
    slides = [compared(*scene, where=WIDE if wide else SMALL) for scene in cohort]
    said = figures(slides, rule)
    cm2 = sum(slide.tissue_mm2 for slide in slides) / 100
    for per, amount in zip(PER, (cm2, float(len(slides))), strict=True):
        slow = {rate: slow_sensitivity(slides, rule, rate, amount) for rate in RATES}
        for rate in RATES:
            assert said[sensitivity_at(rate, per)] == pytest.approx(slow[rate], abs=1e-9)
        if any(slide.lesions for slide in slides):
            mean = np.mean([slow[rate] for rate in AVERAGED])
            assert said[froc_average(per)] == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize("first_look", [1, 2, 3, 17])
def test_adding_up_no_more_false_alarms_than_are_let_in_changes_nothing(first_look: int) -> None:
    random = np.random.default_rng(first_look)
    places = [(x, y) for x in range(0, 1000, 60) for y in range(0, 1000, 60)]
    found = regions(*(square(x, y, 50, score=random.uniform()) for x, y in places))
    drawn = regions(*(square(x, y, 50) for x, y in places[::3]))
    slides = [compared(drawn, found, where=WIDE), compared(Regions(), found, where=WIDE)]
    for weights in ([1.0, 1.0], [0.0, 3.0], [2.0, 0.0]):
        whole = figures(slides, weights=weights)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(froc, "_FIRST_LOOK", first_look)
            assert figures(slides, weights=weights) == whole


@given(cohorts(), st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_a_weight_is_how_often_a_patient_counts(cohort: list[Scene], weights: list[int]) -> None:
    slides = [compared(*scene, 0.3, WIDE) for scene in cohort]
    repeated = [slide for slide, weight in zip(slides, weights, strict=False) for _ in range(weight)]
    if repeated:
        weighted = figures(slides, weights=[float(weight) for weight in weights[: len(slides)]])
        assert weighted == pytest.approx(figures(repeated), abs=1e-9)


@given(cohorts())
def test_every_patient_twice_changes_nothing(cohort: list[Scene]) -> None:
    slides = [compared(*scene, 0.3, WIDE) for scene in cohort]
    assert figures(slides + slides) == pytest.approx(figures(slides), abs=1e-9)


@given(cohorts())
def test_slides_of_one_patient_are_added_up(cohort: list[Scene]) -> None:
    slides = [compared(*scene, 0.3, WIDE) for scene in cohort]
    together = lesion_statistic(slides, [0] * len(slides))(np.ones(1))
    assert dict(together) == pytest.approx(figures(slides), abs=1e-9)


@given(cohorts())
def test_sensitivity_rises_with_false_alarms_allowed(cohort: list[Scene]) -> None:
    said = figures([compared(*scene, where=WIDE) for scene in cohort])
    for per in PER:
        values = [said[sensitivity_at(rate, per)] for rate in RATES]
        known = [value for value in values if value is not None]
        assert known == sorted(known)


@given(scenes())
def test_the_curve_goes_through_the_figures(scene: Scene) -> None:
    slide = compared(*scene, where=WIDE)
    curve, said = froc_curve([slide], [0]), figures([slide])
    if not slide.lesions:
        assert not len(curve.sensitivity)
        return
    assert curve.sensitivity[0] == curve.false_per_cm2[0] == 0
    assert (np.diff(curve.thresholds) < 0).all()
    for rate in RATES:
        best = curve.sensitivity[curve.false_per_cm2 <= rate * (1 + 1e-9)].max()
        assert said[sensitivity_at(rate, "cm2")] == pytest.approx(best)
    assert curve.reaches(8) == (curve.false_per_cm2[-1] >= 8)


@given(scenes(), st.sampled_from([0.0, 0.3, 0.6]))
def test_figures_at_the_threshold_agree_with_the_counts(scene: Scene, threshold: float) -> None:
    slide = compared(*scene, threshold)
    for rule in RULES:
        for reading in READINGS:
            counts = count_lesions_of([slide], rule, reading)
            said = lesion_statistic([slide], [0], rule, reading)(np.ones(1))
            whole = counts.found + counts.false
            assert said["precision"] == (counts.found / whole if whole else None)
            assert said["sensitivity"] == (counts.found / counts.lesions if counts.lesions else None)
            assert said["false_per_slide"] == counts.false


def test_perfect_findings_are_all_there_without_a_false_alarm() -> None:
    drawn = regions(disc(100, 100, 60), disc(500, 100, 30), square(300, 500, 200))
    said = figures([compared(drawn, drawn)])
    assert said["sensitivity"] == said["precision"] == said["f1"] == 1
    assert said["false_per_cm2"] == said["false_per_slide"] == 0
    assert said["froc_per_cm2"] == said["froc_per_slide"] == 1


def test_nothing_found_is_nothing_gained() -> None:
    said = figures([compared(regions(disc(100, 100, 60)), Regions())])
    assert said["sensitivity"] == said["froc_per_cm2"] == said["froc_per_slide"] == 0
    assert said["precision"] is None


def test_without_lesions_there_is_no_sensitivity_but_there_are_false_alarms() -> None:
    said = figures([compared(Regions(), regions(disc(100, 100, 60)))])
    assert said["sensitivity"] is None
    assert said["froc_per_cm2"] is None
    assert said["false_per_cm2"] == pytest.approx(100)


LESIONS = regions(*(disc(150 + 230 * x, 150 + 230 * y, 40) for x in range(4) for y in range(4)))


@pytest.mark.parametrize("rule", RULES)
def test_one_giant_region_scores_badly_by_any_rule(rule: str) -> None:
    said = figures([compared(LESIONS, regions(square(0, 0, 1000, score=1.0)))], rule)
    assert (said["froc_per_slide"] or 0) <= 1 / 16
    assert (said["froc_per_cm2"] or 0) <= 1 / 16


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("alike", [True, False])
def test_thousands_of_specks_score_badly_by_any_rule(rule: str, alike: bool) -> None:
    # even by their centres: false alarms come long before the lesions are found
    random = np.random.default_rng(0)
    places = [(x, y) for x in range(0, 1000, 20) for y in range(0, 1000, 20)]
    specks = regions(*(square(x, y, 5, score=0.5 if alike else random.uniform()) for x, y in places))
    said = figures([compared(LESIONS, specks)], rule)
    assert (said["froc_per_slide"] or 0) < 0.1
    assert (said["froc_per_cm2"] or 0) < 0.1
    if rule != "centre":
        assert said["sensitivity"] == 0


def test_findings_scored_alike_enter_together() -> None:
    # a straight line between (0, 0) and (1, 1) would promise half of the lesions at half a false alarm
    slide = compared(
        regions(square(0, 0, 100)), regions(square(0, 0, 100, score=0.5), square(500, 500, 50, score=0.5))
    )
    said = figures([slide])
    assert said[sensitivity_at(0.5, "slide")] == 0
    assert said[sensitivity_at(1, "slide")] == 1


def test_a_curve_that_ends_early_says_so() -> None:
    slide = compared(
        regions(square(0, 0, 100)), regions(square(0, 0, 100, score=0.5), square(500, 500, 50, score=0.4))
    )
    curve = froc_curve([slide], [0])
    assert not curve.reaches(2, "slide")
    assert "ends at 1 false alarms per slide" in (curve.ending("slide") or "")
    assert curve.ending("cm2") is None  # 100 per cm2
    assert figures([slide])[sensitivity_at(8, "slide")] == 1


def test_in_the_annotated_reading_false_alarms_are_given_for_the_drawn_area() -> None:
    drawn = regions(square(0, 0, 100), square(400, 0, 100, "ADH"))
    found = regions(square(0, 0, 100), square(400, 0, 100), square(700, 0, 100))
    said = lesion_statistic([compared(drawn, found)], [0], reading=ANNOTATED)(np.ones(1))
    assert said["precision"] == 0.5
    assert said["false_per_cm2"] == pytest.approx(1 / (2 * 100 * 100 * 1e-8))


def test_intervals_come_from_patients() -> None:
    drawn = regions(square(0, 0, 100))
    good, bad = compared(drawn, drawn), compared(drawn, Regions())
    slides = [good, good, bad, bad, good, bad]
    of = bootstrap(lesion_statistic(slides, range(6)), 6, 300)
    assert of["sensitivity"].value == 0.5
    assert of["sensitivity"].low is not None
    assert of["sensitivity"].low < 0.3
