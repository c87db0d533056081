import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from histoscout.errors import ModelError, OutputError
from histoscout.io.files import sha256
from histoscout.network.model_folder import INDEX, read_model, read_test_vector
from histoscout.network.save import load_network
from tests.network import tiny

FILES = ["card.md", "detector.safetensors", "detector.vector.safetensors", "metrics.json", "recipe.toml"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    tiny.model(folder, tiny.recipe("unet"))
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "model"
    copy.mkdir()
    for file in written.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_what_was_written_is_read(folder: Path) -> None:
    model = read_model(folder)
    assert (model.threshold, model.temperature, model.labels) == (0.4, 1.5, ("UDH",))
    assert model.recipe == tiny.recipe("unet")
    assert model.hash == sha256(folder / "detector.safetensors")[:12]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, INDEX])
    windows, probabilities = read_test_vector(model.vector())
    assert windows.shape == (1, 1, tiny.SIDE, tiny.SIDE, 3)
    assert probabilities.shape == (1, tiny.SIDE, tiny.SIDE, 1)
    assert "research use only" in (folder / "card.md").read_text(encoding="utf-8")
    assert not [path for path in folder.parent.iterdir() if path != folder]


def test_whoever_may_read_the_card_may_read_the_weights(written: Path) -> None:
    modes = {path.name: path.stat().st_mode for path in written.iterdir() if path.is_file()}
    assert len(modes) >= 6
    assert len(set(modes.values())) == 1, modes


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_named(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match="checksum") as caught:
        read_model(folder)
    assert caught.value.where.endswith(name)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match="missing") as caught:
        read_model(folder)
    assert caught.value.where.endswith(name)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format": 99}', "99"),
        ('{"format": 1}', "cannot be read"),
    ],
)
def test_an_index_that_is_broken_or_newer_is_refused(folder: Path, text: str, word: str) -> None:
    (folder / INDEX).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=word):
        read_model(folder)


def test_a_recipe_of_another_version_names_the_version(folder: Path) -> None:
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("class_smoothing_um", "smooth_um"))
    index = json.loads((folder / INDEX).read_text())
    index["files"]["recipe.toml"] = sha256(recipe)
    del index["checksum"]
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"(?s)smooth_um.*histoscout \d"):
        read_model(folder)


def test_files_outside_the_folder_or_unlisted_are_refused(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    del index["checksum"]
    outside = {**index, "files": {**index["files"], "../other": "0"}}
    (folder / INDEX).write_text(json.dumps(outside), encoding="utf-8")
    with pytest.raises(ModelError, match="missing"):
        read_model(folder)
    del index["files"]["recipe.toml"]
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ModelError, match=r"recipe\.toml"):
        read_model(folder)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=INDEX):
        read_model(tmp_path)


def test_a_model_is_only_overwritten_on_request(folder: Path) -> None:
    before = sha256(folder / INDEX)
    with pytest.raises(OutputError, match="--overwrite"):
        tiny.model(folder, tiny.recipe("unet"))
    assert sha256(folder / INDEX) == before


def test_weights_of_another_network_do_not_load(folder: Path) -> None:
    model = read_model(folder)
    other = tiny.network(tiny.recipe("unet_bn")).state_dict()
    from safetensors.torch import save_file

    save_file(other, model.weights())
    with pytest.raises(ModelError, match="tensors"):
        load_network(model)


def test_the_recipes_weights_file_is_not_needed_again(tmp_path: Path) -> None:
    recipe = tiny.recipe("unet")
    network = tiny.network(recipe)
    gone = recipe.with_choices({"network.weights": str(tmp_path / "gone.safetensors")})
    from histoscout.network.save import save_model

    model = save_model(tmp_path / "m", network, gone, threshold=0.5, temperature=1.0, metrics={}, card={})
    window = torch.randn(1, 3, 64, 64)
    assert torch.equal(load_network(model)(window), network.eval()(window))


@pytest.mark.parametrize("module", ["model_folder", "engines"])
def test_these_modules_need_neither_torch_nor_openvino(module: str) -> None:
    script = (
        f"import sys, histoscout.network.{module}; print({{'torch', 'openvino', 'timm'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
