"""Weights to begin with, from slides that the package draws."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from histoscout.errors import RecipeError
from histoscout.network.build import build_network
from histoscout.network.save import load_network
from histoscout.recipe import Recipe
from histoscout.training.pretrain import Pretrained, PretrainOptions, pretrain

pytestmark = pytest.mark.slow

OPTIONS = PretrainOptions(minutes=0.02, patients=3, device="cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    return pretrain(tmp_path_factory.mktemp("out") / "weights", OPTIONS)


def test_the_encoder_that_learnt_begins_another_network(made: Pretrained) -> None:
    taught = load_network(made.model).get_submodule("encoder").state_dict()
    recipe = Recipe().with_choices({"network.architecture": "smp.FPN", "network.weights": str(made.encoder)})
    begun = build_network(recipe).get_submodule("encoder").state_dict()
    kept = load_file(made.encoder)
    assert {key.partition(".")[0] for key in kept} == {"conv1", "bn1", "layer1", "layer2", "layer3"}
    assert all(torch.allclose(begun[key].float(), taught[key].float(), rtol=2**-8) for key in kept)


def test_the_ducts_of_built_in_slides_were_told_apart(made: Pretrained) -> None:
    assert made.model.recipe.classes.labels == ("UDH", "ADH", "Normal")
    data = made.model.metrics["data"]
    assert len(data["train_patients"]) == 2  # the one whom a cohort would keep for testing learns, too
    assert len(data["tune_patients"]) == 1
    assert all(name.startswith("P5000000") for name in data["train_patients"])


def test_a_second_call_does_only_what_is_missing(made: Pretrained) -> None:
    before, stamp = load_file(made.encoder), made.model.weights().stat().st_mtime_ns
    made.encoder.unlink()
    again = pretrain(made.encoder.parent, OPTIONS)
    assert again.model.weights().stat().st_mtime_ns == stamp
    after = load_file(again.encoder)
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_an_encoder_that_there_is_not_is_told_before_slides_are_drawn(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no encoder 'resnet51'"):
        pretrain(tmp_path / "weights", PretrainOptions(encoder="resnet51"))
    assert not (tmp_path / "weights").exists()
