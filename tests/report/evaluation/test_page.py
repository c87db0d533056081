from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.regions import ComparedSlide, CompareOptions, evaluate_regions, score_regions
from histoscout.evaluation.scores import Scores
from histoscout.geometry.regions import Regions
from histoscout.network.model_folder import ModelFolder
from histoscout.report.evaluation.figures import Measured
from histoscout.report.evaluation.page import write_report
from histoscout.report.evaluation.pictures import opened
from histoscout.training.train import train
from histoscout.verdict import Verdict
from tests import toy
from tests.evaluation.slides import BOX, MPP, RECIPE, discs
from tests.report.html import Reading

SECTIONS = (
    "What was run, and on what",
    "Pixels",
    "Lesions",
    "Other classes",
    "Calibration",
    "Hits, misses, false alarms",
    "Slide by slide",
    "Guards",
    "What may be claimed, and what not",
    "How the figures are made",
)


def written(scores: Scores, folder: Path, *about: object) -> tuple[str, Reading]:
    path = write_report(scores, folder, *about)  # type: ignore[arg-type]
    assert path == folder / "report.html"
    page = path.read_text(encoding="utf-8")
    return page, Reading.of(page)


@pytest.fixture(scope="module")
def measured(
    model: ModelFolder, table: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Scores, Path]:
    """The toy model judged on its test slide, beside itself as the previous model."""
    out = tmp_path_factory.mktemp("scores")
    return evaluate(model, table, out, EvaluateOptions("torch", against=model.path)), out


def test_the_report_of_a_model_holds_everything_in_one_file(
    measured: tuple[Scores, Path], model: ModelFolder, table: Path
) -> None:
    scores, out = measured
    page, reading = written(scores, out, read_cohort(table), model)
    assert not reading.faults
    assert all(title in reading.text for title in SECTIONS)
    assert "Against the previous model" in reading.text
    assert "http:" not in page
    assert "https:" not in page
    assert len(page) < 2_000_000
    assert reading.tags.count("img") >= 4 + 1  # crops of the hits, and the overlay
    assert reading.tags.count("svg") >= 6
    assert model.hash in reading.text
    assert "4 of 4 lesions" in reading.text


def test_the_same_scores_give_the_same_report(
    measured: tuple[Scores, Path], model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    pages = [written(measured[0], tmp_path, read_cohort(table), model)[0] for _ in range(2)]
    assert pages[0] == pages[1]


def test_with_few_patients_no_interval_is_shown_and_it_is_said_why(
    measured: tuple[Scores, Path], tmp_path: Path
) -> None:
    _, reading = written(measured[0], tmp_path)
    assert "Intervals are not estimable with fewer than 5 patients." in reading.text
    assert "1 patient: the figures describe these slides" in reading.text
    assert "[." not in reading.text


def test_without_slides_or_model_nothing_is_said_of_them(
    measured: tuple[Scores, Path], tmp_path: Path
) -> None:
    _, reading = written(replace(measured[0], sanity_checks=()), tmp_path)
    assert not reading.faults
    assert "img" not in reading.tags
    for title in ("Hits, misses, false alarms", "Guards", "How it was trained"):
        assert title not in reading.text


def test_every_network_of_a_model_shows_its_curves(
    measured: tuple[Scores, Path], model: ModelFolder, tmp_path: Path
) -> None:
    recipe = toy.RECIPE.with_choices(
        {
            "network.ensemble_size": 2,
            "training.epochs": 2,
            "training.steps_per_epoch": 2,
            "training.tuning_share": 0.3,
        }
    )
    two = train(toy.write_cohort(tmp_path, splits=()), tmp_path / "model", recipe)
    _, reading = written(measured[0], tmp_path / "report", (), two)
    assert not reading.faults
    trained = reading.text[reading.text.index("How it was trained") :]
    assert trained.index("Network 1 of 2") < trained.index("Network 2 of 2")
    assert "2 of unet_bn, their probabilities averaged" in reading.text
    assert "no network on patients that it learnt from" in reading.text
    _, alone = written(measured[0], tmp_path / "alone", (), model)
    assert "Network 1 of" not in alone.text


def test_findings_on_unmarked_tissue_of_tuning_slides_are_shown(
    measured: tuple[Scores, Path], tmp_path: Path
) -> None:
    table = toy.write_cohort(tmp_path)
    drawn = read_geojson(tmp_path / "slide_2.geojson").regions
    first = next(number for number, region in enumerate(drawn) if region.label == "UDH")
    left = (region for number, region in enumerate(drawn) if number != first)
    write_geojson(Regions.of(left), tmp_path / "slide_2.geojson")
    missed = train(table, tmp_path / "model", toy.RECIPE)
    _, reading = written(measured[0], tmp_path / "report", (), missed)
    assert not reading.faults
    shown = reading.text[reading.text.index("Found on tuning slides where nothing is drawn") :]
    assert shown.index("slide_2") < shown.index("What may be claimed")
    assert reading.tags.count("img") >= 1


def test_wishes_are_met_by_a_score_or_said_not_to_be(model: ModelFolder, tmp_path: Path) -> None:
    _, reading = written(many(), tmp_path, (), model)
    rows = reading.text[reading.text.index("Which score for which wish") :]
    assert "sensitivity 0.9 not reached" in rows  # half of the lesions are found, at no score more
    assert "precision 0.9 not reached" in rows or "precision 0.9 1" in rows
    assert "it needs 20 patients with lesions, and there are 6" in rows
    _, without = written(many(), tmp_path)
    assert "Which score for which wish" not in without.text


def test_guards_are_told_the_gravest_first(measured: tuple[Scores, Path], tmp_path: Path) -> None:
    sanity_checks = (
        Verdict(name="one", state="good", message="all well"),
        Verdict(name="two", state="failed", message="broken", remedy="mend it"),
    )
    _, reading = written(replace(measured[0], sanity_checks=sanity_checks), tmp_path)
    assert reading.text.index("mend it") < reading.text.index("all well")


HOSTILE = "<script>alert('x')</script> \"&\u2603\udcff"


def many(names: str = "slide", patients: int = 6) -> Scores:
    """Some found, some missed, some false: other figures for each patient."""
    slides = []
    for number in range(patients):
        drawn = [*discs([(60, 60, 20), (180, 60, 10)]), *discs([(60, 180, 20)], "ADH")]
        found = [*discs([(60, 60, 20)]), *discs([(180, 180, 12)] * (number % 2))]
        name = f"{names} {number}"
        slides.append(ComparedSlide(name, Regions.of(drawn), Regions.of(found), BOX, MPP, f"{name} p"))
    return score_regions(slides, recipe=RECIPE)


def test_outlines_alone_have_figures_with_intervals(tmp_path: Path) -> None:
    _, reading = written(many(), tmp_path)
    assert not reading.faults
    assert "6 of 12 lesions of UDH found" in reading.text
    assert "In brackets: 95 % intervals over patients." in reading.text
    assert "Calibration" not in reading.text
    assert "AUROC" not in reading.text


def test_names_of_slides_and_patients_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    _, reading = written(many(HOSTILE), tmp_path)
    assert not reading.faults
    assert "script" not in reading.tags
    assert "<script>alert('x')</script>" in reading.text


def test_slides_without_lesions_and_findings_are_told(tmp_path: Path) -> None:
    empty = score_regions([ComparedSlide("a", Regions(), Regions(), BOX, MPP)], recipe=RECIPE)
    _, reading = written(empty, tmp_path)
    assert not reading.faults
    assert "there is no lesion of UDH to find" in reading.text


def test_nothing_that_could_be_judged_is_a_short_report(tmp_path: Path) -> None:
    scores = replace(many(), slides=(), notes=("a: not evaluated, it is broken",))
    _, reading = written(scores, tmp_path)
    assert not reading.faults
    assert "No slide could be judged." in reading.text
    assert "it is broken" in reading.text


def test_what_a_recipe_calls_the_lesion_is_drawn(table: Path, tmp_path: Path) -> None:
    drawn = read_geojson(table.parent / "slide_3.geojson").regions.labeled("UDH")
    write_geojson(drawn, tmp_path / "found" / "slide_3.geojson")
    write_geojson(drawn.relabeled(lambda label: "usual hyperplasia"), tmp_path / "slide_3.geojson")
    case = Case(table.parent / "slide_3.tif", tmp_path / "slide_3.geojson")
    names = {"classes.aliases": {"UDH": ["UDH", "usual hyperplasia"]}}
    options = CompareOptions(recipe=toy.RECIPE.with_choices(names))
    scores = evaluate_regions(tmp_path / "found", Cohort((case,), "one"), tmp_path / "out", options)
    assert len(scores.slides[0].lesions.lesions) == len(drawn)
    with opened(Measured(scores, (case,)), scores.slides[0]) as (_, outlined):
        assert outlined.drawn.labels == ["UDH"]


def test_hits_misses_and_false_alarms_are_cut_from_the_slides(table: Path, tmp_path: Path) -> None:
    drawn = read_geojson(table.parent / "slide_3.geojson").regions.labeled("UDH")
    other = read_geojson(table.parent / "slide_3.geojson").regions.labeled("ADH")
    found = Regions.of([*drawn[:3], *other[:2].relabeled(lambda label: "UDH")])
    write_geojson(found, tmp_path / "found" / "slide_3.geojson")
    options = CompareOptions("UDH", toy.RECIPE)
    scores = evaluate_regions(tmp_path / "found", table, tmp_path / "out", options)
    page, reading = written(scores, tmp_path / "out", read_cohort(table))
    assert not reading.faults
    assert page.count("data:image/jpeg") == 3 + 1 + 2 + 1
    assert "on other class: ADH" in reading.text
    assert "shared area (IoU) 1.00" in reading.text
    assert reading.text.index("Misses") < reading.text.index("False alarms Findings")
    assert np.isclose(scores.lesion["sensitivity"].value or 0, 3 / 4)
