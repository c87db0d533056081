import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.detection.overlay import ANNOTATED, FALSE_POSITIVE, FOUND, MISSED, OTHER_CLASS
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.regions import CompareOptions, evaluate_regions, score_regions
from histoscout.evaluation.scores import Scores
from histoscout.evaluation.slide_metrics import PERFECT_OUTLINES
from histoscout.geometry.regions import Regions
from histoscout.network.model_folder import ModelFolder
from histoscout.report.evaluation.page import write_report
from histoscout.report.evaluation.pictures import open_slide_regions
from histoscout.report.evaluation.pixels import shown_methods
from histoscout.report.formatting import ReportData
from histoscout.training.train import train
from histoscout.verdict import Verdict
from tests import toy
from tests.evaluation.slides import RECIPE, comparison, discs
from tests.report.html import ParsedPage

SECTIONS = {
    "Model and data",
    "Pixels",
    "Lesions",
    "Operating points",
    "Other classes",
    "Calibration",
    "Example crops",
    "Results by slide",
    "Sanity checks",
    "Conclusions and limitations",
    "Methods",
}

HOSTILE = "<script>alert('x')</script> \"&\u2603\udcff"


def report_page(
    scores: Scores, folder: Path, cohort: Cohort | None = None, model: ModelFolder | None = None
) -> tuple[str, ParsedPage]:
    path = write_report(scores, folder, cohort, model)
    assert path == folder / "report.html"
    html = path.read_text(encoding="utf-8")
    return html, ParsedPage.of(html)


@pytest.fixture(scope="module")
def evaluated(
    model: ModelFolder, table: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Scores, Path]:
    """The scores of the toy model on its test slide, with itself as the previous model."""
    out = tmp_path_factory.mktemp("scores")
    return evaluate(model, table, out, EvaluateOptions(device="torch", against=model.path)), out


def six_patients(name: str = "slide") -> Scores:
    """Per patient, one lesion is detected and one is missed; every second one has a false positive."""
    slides = []
    for number in range(6):
        truth = [*discs([(60, 60, 20), (180, 60, 10)]), *discs([(60, 180, 20)], "ADH")]
        detected = [*discs([(60, 60, 20)]), *discs([(180, 180, 12)] * (number % 2))]
        slide = comparison(Regions.of(truth), Regions.of(detected), f"{name} {number}")
        slides.append(replace(slide, patient=f"{name} {number} p"))
    return score_regions(slides, recipe=RECIPE)


def test_no_row_is_one_by_definition(evaluated: tuple[Scores, Path]) -> None:
    scores, _ = evaluated
    assert PERFECT_OUTLINES in shown_methods(ReportData(scores))
    alone = tuple(
        replace(
            slide, scored_annotations=tuple(one for one in slide.scored_annotations if one.label == "UDH")
        )
        for slide in scores.slides
    )
    shown = shown_methods(ReportData(replace(scores, slides=alone)))
    assert shown == [name for name in scores.methods if name != PERFECT_OUTLINES]


def test_the_report_of_a_model_holds_everything_in_one_file(
    evaluated: tuple[Scores, Path], model: ModelFolder, table: Path
) -> None:
    scores, out = evaluated
    html, page = report_page(scores, out, read_cohort(table), model)
    assert not page.faults
    assert SECTIONS | {"Comparison with the previous model"} <= set(page.titles)
    assert "http:" not in html
    assert "https:" not in html
    assert len(html) < 2_000_000
    # four crops of lesions, and the overlay
    assert page.tags.count("img") >= 4 + 1
    assert page.tags.count("svg") >= 6
    assert model.hash in page.text
    assert "4 of 4 UDH lesions" in page.text


def test_the_same_scores_give_the_same_report(
    evaluated: tuple[Scores, Path], model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    pages = [report_page(evaluated[0], tmp_path, read_cohort(table), model)[0] for _ in range(2)]
    assert pages[0] == pages[1]


def test_with_few_patients_there_are_no_intervals_but_a_reason(
    evaluated: tuple[Scores, Path], tmp_path: Path
) -> None:
    _, page = report_page(evaluated[0], tmp_path)
    assert "not estimable with fewer than 5 patients" in page.text
    assert "[." not in page.text


def test_without_slides_and_model_their_sections_are_missing(
    evaluated: tuple[Scores, Path], tmp_path: Path
) -> None:
    _, page = report_page(replace(evaluated[0], sanity_checks=()), tmp_path)
    assert not page.faults
    assert "img" not in page.tags
    assert not {"Example crops", "Sanity checks", "Training", "Operating points"} & set(page.titles)


@pytest.mark.slow
def test_every_network_of_an_ensemble_has_its_curves(
    evaluated: tuple[Scores, Path], model: ModelFolder, tmp_path: Path
) -> None:
    choices = {
        "network.ensemble_size": 2,
        "training.epochs": 2,
        "training.steps_per_epoch": 2,
        "training.tuning_share": 0.3,
    }
    cohort = toy.write_cohort(tmp_path, splits=())
    ensemble = train(cohort, tmp_path / "model", toy.RECIPE.with_choices(choices))
    _, page = report_page(evaluated[0], tmp_path / "report", model=ensemble)
    assert not page.faults
    training = page.titles.index("Training")
    assert page.titles[training + 1 : training + 3] == ["Network 1 of 2", "Network 2 of 2"]
    assert "ensemble of 2 unet_bn" in page.text
    assert "in turn" in page.text
    _, single = report_page(evaluated[0], tmp_path / "single", model=model)
    assert "Training" in single.titles
    assert "Network 1 of" not in single.text


def test_detections_on_unannotated_tissue_of_tuning_slides_are_shown(
    evaluated: tuple[Scores, Path], tmp_path: Path
) -> None:
    table = toy.write_cohort(tmp_path)
    # an annotation of the tuning slide is lost
    regions = read_geojson(tmp_path / "slide_2.geojson").regions
    first = next(number for number, region in enumerate(regions) if region.label == "UDH")
    rest = (region for number, region in enumerate(regions) if number != first)
    write_geojson(Regions.of(rest), tmp_path / "slide_2.geojson")
    model = train(table, tmp_path / "model", toy.RECIPE)
    _, page = report_page(evaluated[0], tmp_path / "report", model=model)
    assert not page.faults
    shown = page.after("Detections on unannotated tissue of tuning slides")
    assert shown.index("slide_2") < shown.index("Methods")
    assert page.tags.count("img") >= 1


def test_operating_points_are_score_thresholds_or_not_reached(model: ModelFolder, tmp_path: Path) -> None:
    _, page = report_page(six_patients(), tmp_path, model=model)
    rows = page.after("Operating points")
    # half of the lesions are detected, whatever the score
    assert "sensitivity 0.9 not reached" in rows
    # all detections have the score 1, and six of nine are true positives
    assert "precision 0.9 not reached" in rows
    assert "needs 20 patients" in rows


def test_failed_sanity_checks_come_first(evaluated: tuple[Scores, Path], tmp_path: Path) -> None:
    sanity_checks = (
        Verdict(name="one", state="good", message="all well"),
        Verdict(name="two", state="failed", message="broken", remedy="repair it"),
    )
    _, page = report_page(replace(evaluated[0], sanity_checks=sanity_checks), tmp_path)
    assert page.text.index("broken") < page.text.index("repair it") < page.text.index("all well")


def test_detections_without_a_model_have_confidence_intervals(tmp_path: Path) -> None:
    _, page = report_page(six_patients(), tmp_path)
    assert not page.faults
    assert "6 of 12 UDH lesions" in page.text
    assert re.search(r"\d \[[\d.]+, [\d.]+\] false positives per", page.text)
    assert "Calibration" not in page.titles
    assert "AUROC" not in page.text


def test_markup_in_names_of_slides_and_patients_is_shown_as_text(tmp_path: Path) -> None:
    _, page = report_page(six_patients(HOSTILE), tmp_path)
    assert not page.faults
    assert "script" not in page.tags
    assert "<script>alert('x')</script>" in page.text


def test_a_cohort_without_lesions_and_detections_has_a_report(tmp_path: Path) -> None:
    empty = score_regions([comparison(Regions(), Regions())], recipe=RECIPE)
    _, page = report_page(empty, tmp_path)
    assert not page.faults
    assert "no UDH lesions" in page.text


def test_without_evaluated_slides_the_report_is_short(tmp_path: Path) -> None:
    scores = replace(six_patients(), slides=(), notes=("a: not evaluated, the file is damaged",))
    _, page = report_page(scores, tmp_path)
    assert not page.faults
    assert page.heading_levels.count(2) == 2
    assert "the file is damaged" in page.text


def test_annotations_under_other_names_of_the_class_are_drawn(table: Path, tmp_path: Path) -> None:
    lesions = read_geojson(table.parent / "slide_3.geojson").regions.with_labels("UDH")
    write_geojson(lesions, tmp_path / "found" / "slide_3.geojson")
    write_geojson(lesions.relabel(lambda label: "usual hyperplasia"), tmp_path / "slide_3.geojson")
    case = Case(table.parent / "slide_3.tif", tmp_path / "slide_3.geojson")
    names = {"classes.aliases": {"UDH": ["UDH", "usual hyperplasia"]}}
    options = CompareOptions(recipe=toy.RECIPE.with_choices(names))
    scores = evaluate_regions(tmp_path / "found", Cohort((case,), "one"), tmp_path / "out", options)
    assert len(scores.slides[0].lesions.lesions) == len(lesions)
    with open_slide_regions(ReportData(scores, (case,)), scores.slides[0]) as (_, outlined):
        styles = {(region.label, style) for region, style in outlined.styled}
    assert styles == {("UDH", FOUND), ("UDH", ANNOTATED)}


def test_crops_of_every_kind_are_cut_from_the_slides(table: Path, tmp_path: Path) -> None:
    lesions = read_geojson(table.parent / "slide_3.geojson").regions.with_labels("UDH")
    other = read_geojson(table.parent / "slide_3.geojson").regions.with_labels("ADH")
    # three lesions are detected, one is missed, and two look-alikes are false positives
    detected = Regions.of([*lesions[:3], *other[:2].relabel(lambda label: "UDH")])
    write_geojson(detected, tmp_path / "found" / "slide_3.geojson")
    options = CompareOptions(positive="UDH", recipe=toy.RECIPE)
    scores = evaluate_regions(tmp_path / "found", table, tmp_path / "out", options)
    html, page = report_page(scores, tmp_path / "out", read_cohort(table))
    assert not page.faults
    assert html.count("data:image/jpeg") == 3 + 1 + 2 + 1
    assert "on other class: ADH" in page.text
    assert "IoU 1.00" in page.text
    crops = page.titles.index("Example crops")
    kinds = ["True positives", "False negatives", "False positives"]
    assert page.titles[crops + 1 : crops + 4] == kinds
    assert np.isclose(scores.lesion["sensitivity"].value or 0, 3 / 4)
    # the picture of the slide: every detection is one thing, and the caption counts all of them
    assert "5 detections: 3 find a lesion, 2 false positives (2 on other class: ADH)." in page.text
    with open_slide_regions(ReportData(scores, read_cohort(table).cases), scores.slides[0]) as (_, outlined):
        drawn = Counter(style for _, style in outlined.styled)
    assert (drawn[FOUND], drawn[FALSE_POSITIVE], drawn[MISSED], drawn[ANNOTATED]) == (3, 2, 1, 3)
    assert drawn[OTHER_CLASS] == 3 + 1


def test_statistics_are_folded_behind_what_a_pathologist_asks(tmp_path: Path) -> None:
    html, page = report_page(six_patients(), tmp_path)
    folded = html.index('<details class="folded"')
    order = [title for title in page.titles if title in SECTIONS]
    assert order[:2] == ["Results by slide", "Conclusions and limitations"]
    assert html.index(">Results by slide</h2>") < folded < html.index(">Pixels</h2>")
