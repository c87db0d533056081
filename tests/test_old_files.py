"""Files that histoscout 0.1.0 wrote: models, results and plans load and give the same figures."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from histoscout.annotations.found import read_found
from histoscout.annotations.geojson import read_geojson
from histoscout.cohort.cohort import read_cohort
from histoscout.detection.detect import DetectOptions, detect
from histoscout.detection.heatmap import read_heatmap
from histoscout.detection.results import read_ledger
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.network.model_folder import read_model
from histoscout.recipe import Recipe
from histoscout.training.planning.plan import read_plan
from tests import toy

OLD = Path(__file__).parent / "fixtures" / "version_0_1"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy slides that the old model was trained and evaluated on."""
    splits = ("train", "train", "tune", "test", "test")
    return toy.write_cohort(tmp_path_factory.mktemp("cohort"), patients=5, splits=splits)


def test_an_old_recipe_is_read_under_its_new_keys() -> None:
    recipe = Recipe.read(OLD / "model" / "recipe.toml")
    assert (recipe.patches.mpp, recipe.patches.size_um) == (4.0, 256.0)
    assert recipe.network.decoder_channels == (32, 16, 8)
    assert recipe.training.ema_decay == 0.8
    assert recipe == toy.RECIPE


def test_the_fingerprint_of_an_old_recipe_is_still_the_same() -> None:
    run = json.loads((OLD / "model" / "training" / "run.json").read_text(encoding="utf-8"))
    recipe = Recipe.read(OLD / "model" / "recipe.toml")
    assert hashlib.sha256(recipe.identity().encode()).hexdigest() == run["recipe"]


def test_an_old_model_folder_is_read() -> None:
    model = read_model(OLD / "model")
    index = json.loads((OLD / "model" / "model.json").read_text(encoding="utf-8"))
    assert model.threshold == index["threshold"]
    assert model.temperature == index["temperature"]
    assert model.prior_correction == index["offset"]
    assert {check["state"] for check in model.metrics["sanity_checks"]} >= {"good"}


def test_an_old_plan_is_read() -> None:
    plan = read_plan(OLD / "plan.toml")
    assert {choice.name.partition(".")[0] for choice in plan.choices} <= {"", *Recipe.model_fields}
    assert plan.with_choices({"training.minutes": 3}).recipe.training.minutes == 3


def test_an_old_model_detects_what_it_detected(cohort: Path, tmp_path: Path) -> None:
    slides = read_cohort(cohort).cases[3:]
    detect(read_model(OLD / "model"), slides, tmp_path, DetectOptions())
    for case in slides:
        before = read_geojson(OLD / "found" / "regions" / f"{case.name}.geojson").regions
        now = read_found(tmp_path / "regions" / f"{case.name}.geojson")
        assert len(now) == len(before)
        for one, other in zip(before, now, strict=True):
            shared = one.outline.intersection(other.outline).area / one.outline.union(other.outline).area
            # old outlines followed the edges of cells; another processor rounds otherwise
            assert shared > 0.9
            assert other.score == pytest.approx(one.score, abs=0.02)
            assert other.label == one.label


def test_a_detection_folder_of_the_old_version_is_finished(cohort: Path, tmp_path: Path) -> None:
    """Nothing is detected again: the old ledger is understood, its settings are those of now."""
    out = tmp_path / "found"
    shutil.copytree(OLD / "found", out)
    for name in ("slide_3", "slide_4"):
        (out / "overlays").mkdir(exist_ok=True)
        (out / "overlays" / f"{name}.png").write_bytes(b"kept")
    shutil.copy(out / "heatmaps" / "slide_3.ome.tiff", out / "heatmaps" / "slide_4.ome.tiff")
    detect(read_model(OLD / "model"), read_cohort(cohort).cases[3:], out, DetectOptions())
    assert (out / "overlays" / "slide_3.png").read_bytes() == b"kept"
    assert {row.slide: row.state for row in read_ledger(out / "ledger.csv").values()}["slide_4"] == "done"


def test_an_old_heatmap_is_read() -> None:
    heatmap = read_heatmap(OLD / "found" / "heatmaps" / "slide_3.ome.tiff")
    assert heatmap.labels == ("UDH", "ADH")
    assert heatmap.values.max() > 200


def test_an_old_model_is_evaluated_with_the_same_figures(cohort: Path, tmp_path: Path) -> None:
    before = json.loads((OLD / "scores" / "scores.json").read_text(encoding="utf-8"))
    scores = evaluate(read_model(OLD / "model"), cohort, tmp_path / "scores", EvaluateOptions())
    assert scores.pixel["ap"].value == pytest.approx(before["pixel"]["ap"]["value"], abs=0.005)
    assert scores.pixel["dice"].value == pytest.approx(before["pixel"]["dice"]["value"], abs=0.005)
    assert scores.lesion["sensitivity"].value == before["lesion"]["sensitivity"]["value"]


def test_old_scores_are_replaced_only_by_those_of_the_same_model(cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    shutil.copytree(OLD / "scores", out)
    scores = evaluate(read_model(OLD / "model"), cohort, out, EvaluateOptions())
    assert len(scores.slides) == 2


def test_old_operating_points_choose_a_score(cohort: Path, tmp_path: Path) -> None:
    options = DetectOptions(at="sensitivity 0.5", operating_points=OLD / "scores")
    rows = detect(read_model(OLD / "model"), read_cohort(cohort).cases[3:4], tmp_path, options)
    assert rows[0].state == "done"
    assert 0 < rows[0].regions < 5
