"""The page of a cross-validation, from made-up counts: no network."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoscout.cli.tables import crossval_table
from histoscout.cohort.folds import Folds
from histoscout.evaluation.bootstrap import ConfidenceInterval
from histoscout.evaluation.out_of_fold import Crossval, FoldResult, RecipeResult, unequal_steps_note
from histoscout.evaluation.protocol import EvaluationProtocol
from histoscout.evaluation.scores import Scores
from histoscout.evaluation.slide_metrics import SlideScores, score_slide_heatmap
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.regions import Regions
from histoscout.report.crossval import comparison_text, crossval_page, write_crossval_report
from tests.evaluation.slides import BOX, discs, heatmap, reference
from tests.report.html import ParsedPage

LESIONS = discs([(60, 60, 20), (180, 70, 25), (100, 180, 15)])


def scored_slide(number: int, worse: bool) -> SlideScores:
    """A slide of its own patient; a good model detects the lesions, a worse one sees mostly noise."""
    levels = np.random.default_rng(number).integers(0, 120, (128, 128)).astype(np.uint8)
    if not worse:
        levels[mask_of(LESIONS)] += 100
    slide = reference(LESIONS, f"slide {number}", f"patient {number}")
    return score_slide_heatmap(slide, heatmap(levels), LESIONS, threshold=0.5)


def mask_of(regions: Regions) -> NDArray[np.bool_]:
    """Which cells of the heatmap are in the regions."""
    masks = [polygon_to_mask(region.outline, BOX, 2.0) for region in regions]
    return np.asarray(np.any(masks, axis=0), np.bool_)


def recipe_result(name: str, steps: int = 100, worse: bool = False) -> RecipeResult:
    """Six patients in two folds."""
    protocol = EvaluationProtocol(method="model", set_name="test", positive="UDH", threshold=0.5)
    folds = []
    for number in (1, 2):
        slides = tuple(scored_slide(slide, worse) for slide in range(3 * number - 3, 3 * number))
        folds.append(
            FoldResult(
                number=number,
                scores=Scores(protocol=protocol, slides=slides),
                mpp=4.0,
                steps=steps,
                train_patients=("x",),
                tune_patients=("y",),
            )
        )
    return RecipeResult(name, tuple(folds))


def crossval_result(*recipes: RecipeResult) -> Crossval:
    first, second = (tuple(f"patient {number}" for number in range(start, start + 3)) for start in (0, 3))
    return Crossval(
        positive="UDH",
        folds=Folds((first, second)),
        recipes=recipes,
        fold_notes=("one <b>note</b>",),
        draws=200,
    )


def test_the_page_compares_recipes_and_shows_folds_and_patients(tmp_path: Path) -> None:
    result = crossval_result(recipe_result("<i>old</i>", worse=True), recipe_result("new"))
    page = ParsedPage.of(write_crossval_report(result, tmp_path).read_text(encoding="utf-8"))
    assert not page.faults
    assert {"Metrics", "Comparison of recipes", "Folds", "Patients"} <= set(page.titles)
    assert "new has a higher AP than <i>old</i>" in page.text
    assert "new minus <i>old</i>" in page.text
    for words in ("one <b>note</b>", *result.patients):
        assert words in page.text


def test_one_recipe_is_compared_with_nothing() -> None:
    page = crossval_page(crossval_result(recipe_result("new")))
    assert "Comparison of recipes" not in [section.title for section in page.sections]


def test_a_comparison_is_no_more_certain_than_its_interval() -> None:
    def text(value: float, low: float | None = None, high: float | None = None) -> str:
        return comparison_text("one", "other", ConfidenceInterval(value=value, low=low, high=high))

    assert "higher" not in text(0.2)
    assert "higher" not in text(0.2, -0.1, 0.4)
    assert text(0.2) != text(0.2, -0.1, 0.4)
    assert text(0.2, 0.1, 0.4).startswith("other has a higher AP than one")
    assert text(-0.2, -0.4, -0.1).startswith("one has a higher AP than other")


def test_the_table_of_the_terminal_holds_every_fold() -> None:
    shown = crossval_table(crossval_result(recipe_result("old", worse=True), recipe_result("new")))
    assert "new minus old" in shown
    assert "6 slides of 6 patients" in shown
    assert sum(line.startswith(("old ", "new ")) and ", patient" in line for line in shown.splitlines()) == 4


def test_unequal_numbers_of_steps_give_a_note() -> None:
    assert unequal_steps_note((recipe_result("a"), recipe_result("b", steps=101))) is None
    note = unequal_steps_note((recipe_result("a"), recipe_result("b", steps=200)))
    assert note is not None
    assert "a 200, b 400" in note
