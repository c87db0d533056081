"""What to annotate next: unsure and new slides first, whatever their order; finished and test slides never."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort
from histoscout.detection.domain_shift import MEASURES
from histoscout.detection.heatmap import Heatmap
from histoscout.detection.results import ResultFolder
from histoscout.errors import ReviewError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region
from histoscout.review.operation import Operation
from histoscout.review.queue import rank_results
from histoscout.review.ranking import SlideEvidence, rank_slides, uncertain_area, uncertainty, write_ranking
from histoscout.review.returned import cases_of_results
from histoscout.review.review import Review
from tests.viewer.results import NAMES, write_results


def evidence(name: str, area: float, look: float | None = None, *scores: float) -> SlideEvidence:
    appearance = None if look is None else dict.fromkeys(MEASURES, look)
    findings = tuple(Region(shapely.box(0, 0, 9, 9), "UDH", score, id=f"{name} {score}") for score in scores)
    return SlideEvidence(slide=name, uncertain_mm2=area, appearance=appearance, findings=findings)


def names(candidates: list[SlideEvidence], known: tuple[float, ...] = ()) -> list[str]:
    looks = [dict.fromkeys(MEASURES, look) for look in known]
    return [ranked.evidence.slide for ranked in rank_slides(candidates, looks)]


def heatmap(values: list[int]) -> Heatmap:
    levels = np.array([[values]], np.uint8)
    return Heatmap(
        box=Box(0, 0, 9, 9),
        mpp=1000.0,
        slide_mpp=1.0,
        slide_name="A",
        labels=("UDH",),
        values=levels,
        windows=1,
    )


def test_uncertain_is_what_is_neither_yes_nor_no() -> None:
    assert uncertain_area(heatmap([0, 255, 10])) == 0
    assert uncertain_area(heatmap([128, 0])) == pytest.approx(1.0, abs=1e-4)
    assert uncertainty(0.5) > uncertainty(0.7) == pytest.approx(uncertainty(0.3))


def test_the_unsure_and_the_new_come_first() -> None:
    assert names([evidence("sure", 0.1), evidence("unsure", 2.0)]) == ["unsure", "sure"]
    # twins of the most unsure slide wait behind one that looks different
    twins = [evidence("a", 3.0, 0.0), evidence("b", 2.9, 0.0), evidence("c", 2.0, 1.0)]
    assert names(twins) == ["a", "c", "b"]
    assert names([evidence("like", 1.0, 0.0), evidence("unlike", 1.0, 1.0)], known=(0.0,)) == [
        "unlike",
        "like",
    ]


@settings(max_examples=25)
@given(
    areas=st.lists(st.floats(0, 10), min_size=1, max_size=7),
    looks=st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=7, max_size=7),
    order=st.randoms(use_true_random=False),
)
def test_every_slide_is_ranked_once_whatever_the_order(
    areas: list[float], looks: list[float | None], order: object
) -> None:
    candidates = [
        evidence(f"S{i}", area, look) for i, (area, look) in enumerate(zip(areas, looks, strict=False))
    ]
    shuffled = list(candidates)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert names(shuffled) == names(candidates)
    assert sorted(names(candidates)) == sorted(one.slide for one in candidates)


def test_the_tables_list_findings_by_uncertainty(tmp_path: Path) -> None:
    ranked = rank_slides([evidence("A", 1.0, None, 0.9, 0.55), evidence("B", 0.5, None, 0.6)])
    slides, regions = write_ranking(ranked, tmp_path)
    with slides.open(newline="") as file:
        assert [row["slide"] for row in csv.DictReader(file)] == ["A", "B"]
    with regions.open(newline="") as file:
        assert [row["score"] for row in csv.DictReader(file)] == ["0.5500", "0.6000", "0.9000"]


def test_finished_annotated_and_test_slides_are_not_offered(tmp_path: Path) -> None:
    output = ResultFolder(write_results(tmp_path))
    review = Review.of_results(output)
    cases = list(cases_of_results(output))
    ranked = rank_results(review, cases, output)
    assert {one.evidence.slide for one in ranked} == set(NAMES)

    # a test patient, by the cohort
    test = Cohort((replace(cases[0], split="test"),), "cohort.csv")
    assert [one.evidence.slide for one in rank_results(review, cases, output, base=test)] == [NAMES[1]]
    # judged but for one finding, then completely
    first, second = review.findings(NAMES[0])
    review.record(Operation(kind="accept", reader="AB", slide=NAMES[0], sources=(first.id,)))
    (open_one,) = next(
        one.evidence.findings for one in rank_results(review, cases, output) if one.evidence.slide == NAMES[0]
    )
    assert open_one.id == second.id
    review.record(Operation(kind="reject", reader="AB", slide=NAMES[0], sources=(second.id,)))
    assert [one.evidence.slide for one in rank_results(review, cases, output)] == [NAMES[1]]
    with pytest.raises(ReviewError):
        rank_results(review, cases[:1], output)


def test_a_slide_that_is_gone_is_ranked_by_uncertainty_alone(tmp_path: Path) -> None:
    output = ResultFolder(write_results(tmp_path))
    gone = [Case(tmp_path / "gone" / f"{name}.tif") for name in NAMES]
    ranked = rank_results(Review.of_results(output), gone, output)
    assert [one.novelty for one in ranked] == [None, None]
