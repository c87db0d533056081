"""Slides judged at once: in their order, each note once, and none ended by another."""

from pathlib import Path

from histoscout.cohort.case import Case
from histoscout.errors import SlideError
from histoscout.evaluation.evaluate import judge_each
from histoscout.evaluation.slide_metrics import SlideScores, judge_regions
from histoscout.io.notes import Told
from histoscout.progress import Silent
from tests.evaluation.slides import discs, ground

CASES = [Case(Path(f"slide_{number}.tif")) for number in range(9)]


def judge(case: Case, told: Told) -> SlideScores:
    if case.name in {"slide_2", "slide_7"}:
        raise SlideError(case.slide, "is broken", "Copy it again")
    told.add(case.name, "a note that all have", f"a note on {case.name} alone")
    return judge_regions(ground(discs([(60, 60, 20)]), case.name), discs([(60, 60, 20)]))


def test_slides_come_in_the_order_of_their_cases_and_a_broken_one_is_told() -> None:
    slides, notes = judge_each(CASES, judge, Silent())
    assert [slide.name for slide in slides] == [f"slide_{number}" for number in (0, 1, 3, 4, 5, 6, 8)]
    assert "slide_0, slide_1, slide_3 and 4 more: a note that all have" in notes
    assert "slide_4: a note on slide_4 alone" in notes
    broken = [note for note in notes if "not evaluated" in note]
    assert [note.partition(":")[0] for note in broken] == ["slide_2", "slide_7"]
