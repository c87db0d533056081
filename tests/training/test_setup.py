"""A tile classifier learns, detects, and lends its encoder to a U-Net; a U-Net begins with a U-Net."""

from pathlib import Path

import pytest
import torch

from histoscout.annotations.geojson import read_geojson
from histoscout.detection.detect import DetectOptions, detect
from histoscout.detection.heatmap import read_heatmap
from histoscout.errors import CohortError, ModelError, TrainingError
from histoscout.evaluation.evaluate import evaluate
from histoscout.network.model_folder import ModelFolder
from histoscout.network.save import load_network
from histoscout.recipe import Recipe
from histoscout.training.train import TrainOptions, train
from tests.toy import CHOICES, RECIPE

TILES = Recipe.from_dict(
    {
        **CHOICES,
        "patches": {"mpp": 2.0, "size_um": 64.0},
        "network": {"architecture": "timm", "encoder": "resnet18"},
        "loss": {"name": "cross_entropy"},
        "training": {**CHOICES["training"], "epochs": 2, "batch_size": 16, "learning_rate": 0.003},
        "detection": {"overlap": 0.5, "min_area_um2": 0},
    }
)


@pytest.fixture(scope="module")
def classifier(table: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return train(table, tmp_path_factory.mktemp("out") / "tiles", TILES)


@pytest.mark.slow
def test_a_tile_classifier_learns_and_finds(classifier: ModelFolder, table: Path, tmp_path: Path) -> None:
    tune = classifier.metrics["tune"]["pixel"]
    assert tune["ap"] > 2 * tune["prevalence"]
    detect(classifier, [table.parent / "slide_3.tif"], tmp_path, DetectOptions(device="torch"))
    heatmap = read_heatmap(tmp_path / "heatmaps" / "slide_3.ome.tiff")
    assert heatmap.mpp == pytest.approx(32.0)  # a cell a stride
    assert len(read_geojson(tmp_path / "regions" / "slide_3.geojson").regions) >= 1


@pytest.mark.slow
def test_its_encoder_becomes_that_of_a_unet(classifier: ModelFolder, table: Path, tmp_path: Path) -> None:
    still = {**CHOICES["training"], "epochs": 1, "steps_per_epoch": 1, "learning_rate": 1e-12, "ema_decay": 0}
    unet = Recipe.from_dict({**CHOICES, "network": {"architecture": "smp.Unet"}, "training": still})
    model = train(table, tmp_path / "unet", unet, TrainOptions(start=classifier.path))
    given, taken = load_network(classifier).state_dict(), load_network(model).state_dict()
    same = [name for name in given if name.startswith("layer") and name.endswith("conv1.weight")]
    assert len(same) == 8
    for name in same:
        assert torch.allclose(given[name], taken[f"encoder.{name}"], atol=1e-4)


def test_other_beginnings_are_refused(classifier: ModelFolder, table: Path, tmp_path: Path) -> None:
    wider = RECIPE.with_choices({"network.architecture": "smp.Unet", "network.encoder": "resnet34"})
    with pytest.raises(ModelError, match="does not fit"):
        train(table, tmp_path / "a", wider, TrainOptions(start=classifier.path))
    other = TILES.with_choices({"network.encoder": "resnet10t"})
    with pytest.raises(ModelError, match="the recipe asks for"):
        train(table, tmp_path / "b", other, TrainOptions(start=classifier.path))


@pytest.mark.slow
def test_several_networks_are_no_beginning_and_that_is_said_before_training(
    table: Path, tmp_path: Path
) -> None:
    short = RECIPE.with_choices({"training.epochs": 1, "training.steps_per_epoch": 1})
    two = train(table, tmp_path / "two", short.with_choices({"network.ensemble_size": 2}))
    for members in (1, 2):
        again = short.with_choices({"network.ensemble_size": members})
        with pytest.raises(ModelError, match="2 networks"):
            train(table, tmp_path / f"again {members}", again, TrainOptions(start=two.path))
    one = train(table, tmp_path / "one", short)
    begun = train(
        table,
        tmp_path / "begun",
        short.with_choices({"network.ensemble_size": 2}),
        TrainOptions(start=one.path),
    )
    assert begun.metrics["training"]["members"] == 2


@pytest.mark.slow
def test_what_is_made_of_a_model_knows_whom_that_model_knew(
    classifier: ModelFolder, table: Path, tmp_path: Path
) -> None:
    """Patients 0 and 1 were learnt from and 2 tuned; now others are learnt from, and those must not judge."""
    unet = Recipe.from_dict(
        {
            **CHOICES,
            "network": {"architecture": "smp.Unet"},
            "training": {**CHOICES["training"], "epochs": 1, "steps_per_epoch": 1},
        }
    )
    begin = TrainOptions(start=classifier.path, sanity_checks="quick")
    splits = {
        "tested": "test,train,tune,train",
        "tuning": "tune,train,train,train",
        "sound": ",train,tune,train",
    }
    for name, split in splits.items():
        rows = [
            f"{table.parent / f'slide_{number}'}.tif,{table.parent / f'slide_{number}'}.geojson,patient {number},{which}"
            for number, which in enumerate(split.split(","))
            if which
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(["slide,annotations,patient,split", *rows]) + "\n")
    for name in ("tested", "tuning"):
        with pytest.raises(TrainingError, match="patient 0"):
            train(tmp_path / f"{name}.csv", tmp_path / name, unet, begin)
    model = train(tmp_path / "sound.csv", tmp_path / "sound", unet, begin)
    data = model.metrics["data"]
    assert data["train_patients"] == ["patient 0", "patient 1", "patient 3"]
    assert len(data["fingerprints"]) == 4
    with pytest.raises(CohortError, match="patient 0"):
        evaluate(model, tmp_path / "tested.csv", tmp_path / "scores")
