"""From a folder of images by class to a classifier and its figures, in miniature."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from histoscout.cli.main import app
from histoscout.cohort.image_folders import read_image_cohort
from histoscout.errors import CohortError, OutputError, RecipeError, TrainingError
from histoscout.evaluation.images.evaluate import ImageOptions, evaluate_images
from histoscout.network.losses import make_loss
from histoscout.network.model_folder import read_model
from histoscout.progress import NoProgress
from histoscout.recipe import Recipe
from histoscout.sampling.datasets import SampledExamples
from histoscout.training.data import open_training_images
from histoscout.training.planning.plan import PlanOptions, plan, read_plan
from histoscout.training.train import TrainOptions, make_sampler, train
from histoscout.training.validation import validate

COLORS = {"0_N": (230, 170, 200), "2_UDH": (120, 60, 150), "5_DCIS": (170, 120, 190)}
SPLITS = ("train", "train", "train", "val", "val", "test", "test", "test", "test", "test")
RECIPE = Recipe.from_dict(
    {
        "classes": {"positive": "UDH", "other": ["N", "DCIS"]},
        "patches": {"mpp": 1.0, "size_um": 64.0, "tile_coverage": 0.0},
        "network": {"architecture": "timm", "encoder": "resnet10t"},
        "loss": {"name": "cross_entropy"},
        "augment": {"stain": 0.02, "brightness": 0.05},
        "training": {
            "epochs": 3,
            "steps_per_epoch": 8,
            "batch_size": 8,
            "learning_rate": 0.005,
            "ema_decay": 0.7,
            "workers": 0,
            "precision": "float32",
        },
    }
)


@pytest.fixture(scope="module")
def rois(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of three classes that differ in colour, larger and smaller than a window, of ten slides."""
    folder = tmp_path_factory.mktemp("rois")
    random = np.random.default_rng(0)
    for slide, split in enumerate(SPLITS):
        for number, (name, color) in enumerate(COLORS.items()):
            height, width = random.integers(30, 130, 2).tolist()
            noise = gaussian_filter(random.normal(0, 1, (height, width)), 2) * 80
            pixels = np.clip(np.array(color) + noise[..., None], 0, 255).astype(np.uint8)
            file = folder / split / name / f"BRACS_{slide + 1}_{name[2:]}_{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return folder


@pytest.fixture(scope="module")
def made(rois: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The model and the scores that one command makes."""
    folder = tmp_path_factory.mktemp("made")
    recipe, model, scores = folder / "recipe.toml", folder / "model", folder / "scores"
    RECIPE.write(recipe)
    words = ["train", str(rois), "-o", str(model), "--recipe", str(recipe), "--mpp", "1"]
    app(
        [*words, "--scores", str(scores), "--device", "cpu", "--guards", "quick", "--quiet"],
        standalone_mode=False,
    )
    return model, scores


def test_images_that_were_learnt_from_are_refused_under_any_name(
    made: tuple[Path, Path], rois: Path, tmp_path: Path
) -> None:
    for number, file in enumerate(sorted((rois / "train").glob("*/*.png"))):
        copy = tmp_path / "again" / file.parent.name[2:] / f"{number}.png"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    options = ImageOptions(device="torch", mpp=1.0)
    with pytest.raises(CohortError, match=r"BRACS_1_N_0 = 0.*--sanity warn"):
        evaluate_images(made[0], tmp_path / "again", tmp_path / "scores", options)
    told = replace(options, sanity_checks="warn")
    scores = evaluate_images(made[0], tmp_path / "again", tmp_path / "scores", told)
    assert any("too good" in note for note in scores.notes)


def test_one_command_gives_a_classifier_and_its_figures(made: tuple[Path, Path]) -> None:
    model, scores = made
    written = json.loads((scores / "scores.json").read_text())
    assert written["images"]["count"] == 15
    assert written["images"]["overall"]["accuracy"]["value"] > 0.8  # guessing gives a third
    assert written["images"]["overall"]["weighted_f1"]["low"] is not None
    assert set(written["images"]["classes"]) == {"UDH", "N", "DCIS"}
    assert written["in_groups"]["confusion"]["classes"] == ["benign", "malignant"]
    assert np.array(written["images"]["confusion"]["shares"]).sum(1) == pytest.approx([1, 1, 1])
    assert {row["patient"] for row in csv.DictReader((scores / "images.csv").read_text().splitlines())} == {
        f"BRACS_{slide}" for slide in range(6, 11)
    }
    assert (scores / "report.html").is_file()
    told = read_model(model).metrics
    assert told["data"]["train_patients"] == ["BRACS_1", "BRACS_2", "BRACS_3"]
    assert told["data"]["tune_patients"] == ["BRACS_4", "BRACS_5"]
    assert told["tune"]["images"]["count"] == 6
    assert "image" in (model / "card.md").read_text()


def test_training_again_goes_on_or_returns_what_is_finished(rois: Path, made: tuple[Path, Path]) -> None:
    again = train(read_image_cohort(rois, 1.0), made[0], RECIPE)
    assert again.hash == read_model(made[0]).hash
    with pytest.raises(OutputError, match="another recipe"):
        train(read_image_cohort(rois, 0.5), made[0], RECIPE)


@pytest.mark.slow
def test_a_training_that_was_killed_ends_with_the_same_weights(
    rois: Path, made: tuple[Path, Path], tmp_path: Path
) -> None:
    cohort = read_image_cohort(rois, 1.0)
    train(cohort, tmp_path / "model", RECIPE, TrainOptions(device="cpu", sanity_checks="quick"))
    for file in (tmp_path / "model").glob("*"):
        if file.is_file():
            file.unlink()  # as if it had been killed before the model folder was written
    ended = train(cohort, tmp_path / "model", RECIPE, TrainOptions(device="cpu", sanity_checks="quick"))
    network = next(ended.path.glob("*.safetensors")).read_bytes()
    assert network == next(made[0].glob("*.safetensors")).read_bytes()


def test_windows_are_of_every_class_alike_and_stay_on_their_image(rois: Path, tmp_path: Path) -> None:
    cohort = read_image_cohort(rois, 1.0)
    many = replace(cohort, cases=(*cohort.cases, *_more_of(cohort.cases[0].slide, tmp_path, 12)))
    sets = open_training_images(many, RECIPE, tmp_path / "split.csv", NoProgress())
    sampler = make_sampler(sets, RECIPE)
    seen = []
    for number in range(600):
        window = sampler.draw(number)
        labeled = sets.train[window.slide]
        seen.append(labeled.regions.labels[0])
        whole, side = labeled.slide.box, window.box.width
        assert side == pytest.approx(64.0 / labeled.slide.mpp)
        for start, length in ((window.box.x, whole.width), (window.box.y, whole.height)):
            assert min(0.0, length - side) - 1e-9 <= start <= max(0.0, length - side) + 1e-9
    assert [seen.count(label) / 600 for label in ("UDH", "N", "DCIS")] == pytest.approx([1 / 3] * 3, abs=0.06)
    assert sampler.draw(7) == make_sampler(sets, RECIPE).draw(7)
    answers = {int(SampledExamples(sets.train, sampler, RECIPE)[number][1]) for number in range(40)}
    assert answers == {1, 2, 3}  # neither background nor ignored, however little of an image a window shows


def _more_of(image: Path, folder: Path, count: int) -> list:  # type: ignore[type-arg]
    from histoscout.cohort.case import Case

    files = [Path(shutil.copy(image, folder / f"more_{number}.png")) for number in range(count)]
    return [Case(file, None, "BRACS_1", split="train", mpp=1.0, label="N") for file in files]


def test_classes_that_are_not_looked_for_are_left_out_and_told(rois: Path, tmp_path: Path) -> None:
    two = RECIPE.with_choices({"classes.other": ["N"]})
    sets = open_training_images(read_image_cohort(rois, 1.0), two, tmp_path / "split.csv", NoProgress())
    assert {labeled.regions.labels[0] for labeled in sets.train} == {"UDH", "N"}
    assert any("left out: DCIS" in note for note in sets.notes)
    none = RECIPE.with_choices({"classes.positive": "FEA"})
    with pytest.raises(TrainingError, match="FEA"):
        open_training_images(read_image_cohort(rois, 1.0), none, tmp_path / "other.csv", NoProgress())


def test_the_plan_tells_all_classes_apart_and_looks_at_whole_images(rois: Path, tmp_path: Path) -> None:
    cohort = read_image_cohort(rois, 1.0)
    made = plan(cohort, PlanOptions(minutes=2.0, weights="weights.safetensors"))
    recipe = made.recipe
    assert recipe.classes.labels == ("UDH", "N", "DCIS")
    assert (recipe.network.architecture, recipe.network.weights) == ("timm", "weights.safetensors")
    assert recipe.patches.mpp == 1.0  # no finer than the images
    assert recipe.patches.tile_coverage == 0
    made.write(tmp_path / "plan.toml")
    assert read_plan(tmp_path / "plan.toml").recipe == recipe
    assert "15 images of the split test were not opened" in made.to_toml()
    assert plan(cohort, PlanOptions(positive="dcis")).recipe.classes.labels == ("DCIS", "N", "UDH")
    with pytest.raises(RecipeError, match="no image has the class 'ADH'"):
        plan(cohort, PlanOptions(positive="ADH"))


def test_images_are_judged_over_all_classes() -> None:
    truth = torch.tensor([1, 2, 3, 1, 2, 3])
    sure = 8 * torch.nn.functional.one_hot(truth, 4).float()
    mixed = sure.clone()
    mixed[truth != 1] = 8 * torch.tensor([0.0, 0.0, 1.0, 1.0])  # 2 and 3 are not told apart
    loss = make_loss(RECIPE)
    assert validate([(sure, truth)], loss, (1, 2, 3)).ap == pytest.approx(1)
    assert validate([(mixed, truth)], loss, (1,)).ap == pytest.approx(1)
    assert validate([(mixed, truth)], loss, (1, 2, 3)).ap == pytest.approx((1 + 0.5 + 0.5) / 3, abs=0.01)
    two = truth < 3
    assert validate([(sure[two], truth[two])], loss, (1, 2, 3)).ap == pytest.approx(
        1
    )  # nothing is of class 3
