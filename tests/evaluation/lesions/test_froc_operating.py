"""The table of cut-offs counts as the FROC curve does, and as counting by hand."""

import pytest
from hypothesis import given

from histoscout.evaluation.lesions.compare import SlideLesions
from histoscout.evaluation.lesions.froc import Owner, froc_curve, measure_operating
from histoscout.evaluation.lesions.matching import PRIMARY
from histoscout.geometry.regions import Regions
from tests.evaluation.scenes import cohorts, compared, regions, slow_counts, square

OWNER = Owner("patients kept apart", 0.5, "abc")


def slides_of(drawn: list[tuple[Regions, Regions]]) -> tuple[list[SlideLesions], list[str]]:
    return [compared(*scene) for scene in drawn], [f"patient {n % 2}" for n in range(len(drawn))]


@given(cohorts())
def test_every_point_is_what_counting_gives(drawn: list[tuple[Regions, Regions]]) -> None:
    slides, patients = slides_of(drawn)
    table = measure_operating(slides, patients, OWNER)
    assert table.lesions == sum(len(slide.lesions) for slide in slides)
    for point in table.points:
        counts = [slow_counts(slide, PRIMARY, point.score) for slide in slides]
        assert (point.found, point.false) == tuple(map(sum, zip(*counts, strict=True)))
    assert [point.found for point in table.points] == sorted({point.found for point in table.points})


@given(cohorts())
def test_no_cut_off_of_the_curve_is_better(drawn: list[tuple[Regions, Regions]]) -> None:
    """For every point of the FROC curve some row finds as much, with no more false alarms."""
    slides, patients = slides_of(drawn)
    table = measure_operating(slides, patients, OWNER)
    curve = froc_curve(slides, [int(patient[-1]) for patient in patients])
    for sensitivity, rate in zip(curve.sensitivity, curve.false_per_cm2, strict=False):
        rows = [table.figures(point) for point in table.points]
        assert sensitivity == 0 or any(
            row["sensitivity"] >= sensitivity - 1e-9 and row["false_per_cm2"] <= rate + 1e-9 for row in rows
        )


@given(cohorts())
def test_at_a_patients_weakest_score_all_of_his_lesions_are_found(
    drawn: list[tuple[Regions, Regions]],
) -> None:
    slides, patients = slides_of(drawn)
    expected = []
    for patient in sorted(set(patients)):
        own = [slide for slide, whose in zip(slides, patients, strict=True) if whose == patient]
        lesions = sum(len(slide.lesions) for slide in own)
        scores = {finding.score for slide in own for finding in slide.findings}
        found = {score: sum(slow_counts(slide, PRIMARY, score)[0] for slide in own) for score in scores}
        if lesions:
            expected.append(max((score for score in scores if found[score] == lesions), default=0.0))
    assert measure_operating(slides, patients, OWNER).weakest == tuple(sorted(expected))


def test_by_hand() -> None:
    drawn = regions(square(0, 0, 100), square(300, 0, 100))
    found = regions(
        square(0, 0, 100, score=0.9), square(600, 0, 100, score=0.7), square(300, 0, 100, score=0.6),
        square(600, 600, 100, score=0.1),
    )  # fmt: skip
    table = measure_operating([compared(drawn, found)], ["somebody"], OWNER)
    assert [(point.score, point.found, point.false) for point in table.points] == [(0.9, 1, 0), (0.6, 2, 1)]
    assert table.weakest == (0.6,)
    assert table.cm2 == pytest.approx(0.01)
    assert table.patients == ("somebody",)
