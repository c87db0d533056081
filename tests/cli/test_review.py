"""`histoscout review`: corrections come back from QuPath, become a cohort; mistakes give one clear line."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cli.main import app
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.detection.detect import DetectOptions, detect
from histoscout.detection.results import ResultFolder
from histoscout.errors import HistoscoutError
from histoscout.geometry.regions import Regions
from histoscout.network.model_folder import ModelFolder
from histoscout.review.operation import Operation
from histoscout.review.review import Review
from tests.viewer.results import NAMES, write_results


@pytest.fixture
def found(tmp_path: Path) -> Path:
    return write_results(tmp_path)


def run(*arguments: object, answer: str = "") -> str:
    result = CliRunner().invoke(app, ["review", *map(str, arguments)], input=answer)
    if isinstance(result.exception, HistoscoutError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def edited(found: Path, folder: Path) -> Path:
    """A folder with the regions of both slides: on the first, one is confirmed and one deleted."""
    folder.mkdir()
    for number, name in enumerate(NAMES):
        regions = list(read_geojson(found / "regions" / f"{name}.geojson").regions)
        if number == 0:
            regions = [replace(regions[0], label="UDH")]
        write_geojson(Regions.of(regions), folder / f"{name}.geojson")
    return folder


def test_changes_are_shown_first_then_taken_once(found: Path, tmp_path: Path) -> None:
    # results whose classes say that they were found
    for name in NAMES:
        path = found / "regions" / f"{name}.geojson"
        write_geojson(read_geojson(path).regions.relabel(lambda label: f"{label}: found"), path)
    back = edited(found, tmp_path / "back")
    review = Review.of_results(ResultFolder(found))
    shown = run("import", found, back, "--dry-run")
    assert "accepted" in shown
    assert "no lesion" in shown
    assert not review.slides
    with pytest.raises(HistoscoutError, match="--yes"):
        run("import", found, back)
    assert not review.slides
    run("import", found, back, "--yes", "--reader", "AB")
    assert review.readers == ("AB",)
    assert (found / "review" / f"{NAMES[0]}.geojson").is_file()
    assert "no change" in run("import", found, back, "--yes")

    run("cohort", found, "-o", tmp_path / "corrected")
    (case,) = read_cohort(tmp_path / "corrected" / "cohort.csv").cases
    assert case.annotations is not None
    labels = {region.label for region in read_geojson(case.annotations).regions}
    # the slide was annotated already
    assert labels == {"UDH", "ADH", "UDH: rejected"}


def test_without_arguments_the_commands_are_listed() -> None:
    assert run() == run("-h")


@pytest.mark.parametrize("command", ["import", "cohort"])
def test_a_folder_without_results_is_refused(tmp_path: Path, command: str) -> None:
    rest = (tmp_path,) if command == "import" else ("-o", tmp_path / "out")
    with pytest.raises(HistoscoutError):
        run(command, tmp_path, *rest)


def test_files_that_do_not_belong_here_are_refused(found: Path, tmp_path: Path) -> None:
    with pytest.raises(HistoscoutError):
        run("import", found, tmp_path / "nowhere.geojson", "--yes")
    other = tmp_path / "other.geojson"
    write_geojson(Regions(), other)
    with pytest.raises(HistoscoutError, match="slide"):
        run("import", found, other, "--yes")
    broken = tmp_path / "back" / f"{NAMES[0]}.geojson"
    broken.parent.mkdir()
    broken.write_text("{")
    with pytest.raises(HistoscoutError, match="geojson"):
        run("import", found, broken, "--yes")
    assert not (found / "review").exists()


def test_a_cohort_without_decisions_is_refused(found: Path, tmp_path: Path) -> None:
    with pytest.raises(HistoscoutError):
        run("cohort", found, "-o", tmp_path / "corrected")
    assert not (tmp_path / "corrected").exists()


def test_results_are_opened_in_qupath_and_taken_back(found: Path, tmp_path: Path) -> None:
    shown = run("open", found, "-o", tmp_path / "project")
    assert str(tmp_path / "project") in shown
    assert "no change on 2 slides" in run("import", found, tmp_path / "project")
    with pytest.raises(HistoscoutError, match="project"):
        run("open", found, "-o", tmp_path / "project")


def test_slides_are_ranked_until_they_are_finished(found: Path) -> None:
    shown = run("rank", found)
    assert all(name in shown for name in NAMES)
    assert (found / "review" / "rank_slides.csv").is_file()
    assert (found / "review" / "rank_regions.csv").is_file()
    review = Review.of_results(ResultFolder(found))
    for name in NAMES:
        review.record(Operation(kind="no lesion", reader="AB", slide=name))
    with pytest.raises(HistoscoutError):
        run("rank", found)


@pytest.mark.slow
def test_a_model_is_trained_further_with_corrections(table: Path, model: ModelFolder, tmp_path: Path) -> None:
    # torch, only for this test
    from histoscout.training.start import start_recipe
    from histoscout.training.train import TrainOptions, train

    slides = [Case(table.parent / "slide_3.tif", None, "new")]
    detect(model, slides, tmp_path / "found", DetectOptions())
    review = Review.of_results(ResultFolder(tmp_path / "found"))
    first, *others = review.findings("slide_3")
    review.record(Operation(kind="reject", reader="AB", slide="slide_3", sources=(first.id,)))
    for region in others:
        review.record(Operation(kind="accept", reader="AB", slide="slide_3", sources=(region.id,)))
    # slide_3 is of the test patient of the cohort: it is refused, whatever the results call its patient
    with pytest.raises(HistoscoutError, match="patient 3"):
        run("cohort", tmp_path / "found", "-o", tmp_path / "corrected", "--with", table)
    run("cohort", tmp_path / "found", "-o", tmp_path / "corrected")
    corrected = read_cohort(tmp_path / "corrected" / "cohort.csv")
    both = Cohort((*read_cohort(table).in_split("train", "tune").cases, *corrected.cases), "both")
    short = start_recipe(model, both, {"training.epochs": 1, "training.steps_per_epoch": 2})
    options = TrainOptions(start=model.path, sanity_checks="quick", device="cpu")
    better = train(both, tmp_path / "better", short, options)
    assert set(better.metrics["data"]["train_patients"]) == {"patient 0", "patient 1", "new"}
    assert better.metrics["data"]["tune_patients"] == ["patient 2"]
