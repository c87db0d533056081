"""The page of a cross-validation, from counts made up here: no network."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoscout.cli.tables import crossval_table
from histoscout.cohort.splits import Folds
from histoscout.evaluation.bootstrap import Interval
from histoscout.evaluation.out_of_fold import Arm, Crossval, FoldResult, uneven_steps
from histoscout.evaluation.protocol import Exam
from histoscout.evaluation.scores import Scores
from histoscout.evaluation.slide_metrics import SlideScores, judge_heatmap
from histoscout.geometry.rasterize import mask_of
from histoscout.geometry.regions import Regions
from histoscout.report.crossval import crossval_page, verdict, write_crossval_report
from tests.evaluation.slides import BOX, discs, ground, heatmap
from tests.report.html import Reading

LESIONS = discs([(60, 60, 20), (180, 70, 25), (100, 180, 15)])


def judged_slide(number: int, worse: bool) -> SlideScores:
    """A slide of its own patient, on which a good model sees the lesions and a worse one mostly noise."""
    levels = np.random.default_rng(number).integers(0, 120, (128, 128)).astype(np.uint8)
    if not worse:
        levels[mask_at(LESIONS)] += 100
    scene = ground(LESIONS, f"slide {number}", f"patient {number}")
    return judge_heatmap(scene, heatmap(levels), LESIONS, 0.5)


def mask_at(regions: Regions) -> NDArray[np.bool_]:
    """Which cells of the heatmap lie in the regions."""
    masks = [mask_of(region.outline, BOX, 2.0) for region in regions]
    return np.asarray(np.any(masks, axis=0), np.bool_)


def arm(name: str, steps: int = 100, worse: bool = False) -> Arm:
    """Six patients in two folds."""
    folds = []
    for number in (1, 2):
        slides = tuple(judged_slide(one, worse) for one in range(3 * number - 3, 3 * number))
        scores = Scores(Exam("model", "test", "UDH", 0.5), slides)
        folds.append(FoldResult(number, scores, 4.0, steps, ("x",), ("y",)))
    return Arm(name, tuple(folds))


def made(*arms: Arm) -> Crossval:
    first, second = (tuple(f"patient {one}" for one in range(start, start + 3)) for start in (0, 3))
    return Crossval("UDH", Folds((first, second)), arms, ("one <b>note</b>",), draws=200)


def test_the_page_compares_recipes_and_shows_folds_and_patients(tmp_path: Path) -> None:
    result = made(arm("<i>old</i>", worse=True), arm("new"))
    reading = Reading.of(write_crossval_report(result, tmp_path).read_text(encoding="utf-8"))
    assert not reading.faults
    for words in (
        "How recipes compare",
        "new is better than <i>old</i>",
        "one <b>note</b>",
        "new over <i>old</i>",
    ):
        assert words in reading.text
    for patient in result.patients:
        assert patient in reading.text


def test_one_recipe_is_compared_with_nothing() -> None:
    page = crossval_page(made(arm("new")))
    assert page.title == "How good the recipe is"
    assert "Which recipe is better" not in [section.title for section in page.sections]


def test_a_verdict_is_no_more_certain_than_its_interval() -> None:
    assert "cannot be told" in verdict("a", "b", Interval(0.2))
    assert "no difference of AP is clear" in verdict("a", "b", Interval(0.2, -0.1, 0.4))
    assert "b is better than a" in verdict("a", "b", Interval(0.2, 0.1, 0.4))
    assert "a is better than b" in verdict("a", "b", Interval(-0.2, -0.4, -0.1))


def test_the_table_of_the_terminal_holds_every_fold() -> None:
    shown = crossval_table(made(arm("old", worse=True), arm("new")))
    assert "new over old" in shown
    assert "6 slides of 6 patients" in shown


def test_different_numbers_of_steps_are_told() -> None:
    assert uneven_steps((arm("a"), arm("b", steps=101))) is None
    uneven = uneven_steps((arm("a"), arm("b", steps=200)))
    assert uneven is not None
    assert "a 200, b 400" in uneven
