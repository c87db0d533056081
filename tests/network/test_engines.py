import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from histoscout.errors import ModelError
from histoscout.network.engines import DEVICES, ENGINES, choose_engine, open_engine
from histoscout.network.model_folder import ModelFolder
from histoscout.network.openvino_engine import open_openvino
from tests.network import tiny

HERE = ["torch", *(["openvino"] if find_spec("openvino") else [])]
LABELS = ("UDH", "ADH")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    recipe = tiny.recipe(choices={"classes.other": ("ADH",), "network.input_channels": 1})
    return tiny.model(tmp_path_factory.mktemp("models") / "pixels", recipe)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny.model(tmp_path_factory.mktemp("models") / "tiles", tiny.recipe("timm", "bce"))


def windows(count: int, side: int = tiny.SIDE, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, side, side, 3), dtype=np.uint8)


def exact(model: ModelFolder, looked_at: NDArray[np.uint8]) -> NDArray[np.float32]:
    return open_engine(model, "torch")(looked_at)


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_stream_answers_each_batch_in_order(model: ModelFolder, device: str, batch: int) -> None:
    engine = open_engine(model, device, batch=batch)
    batches = [windows(size, seed=size) for size in (3, 1, 4, 2, 7)]
    answers = list(engine.stream(iter(batches)))
    assert [answer.shape for answer in answers] == [(len(b), tiny.SIDE, tiny.SIDE, 2) for b in batches]
    for looked_at, answer in zip(batches, answers, strict=True):
        np.testing.assert_allclose(answer, exact(model, looked_at), atol=0.05)
    assert engine.labels == LABELS
    assert engine.answers == "pixels"
    assert all(answer.dtype == np.float32 for answer in answers)
    engine.close()


@pytest.mark.parametrize("device", HERE)
def test_a_tile_classifier_answers_once_a_window(classifier: ModelFolder, device: str) -> None:
    engine = open_engine(classifier, device, batch=2)
    found = engine(windows(3))
    assert engine.answers == "tile"
    assert found.shape == (3, 1)
    np.testing.assert_allclose(found, exact(classifier, windows(3)), atol=0.05)


@pytest.mark.parametrize("device", HERE)
def test_windows_of_another_side(model: ModelFolder, device: str) -> None:
    looked_at = windows(2, side=64)
    found = open_engine(model, device, window_px=64)(looked_at)
    np.testing.assert_allclose(found, exact(model, looked_at), atol=0.05)


@pytest.mark.parametrize("device", HERE)
def test_a_stream_left_early_leaves_the_engine_usable(model: ModelFolder, device: str) -> None:
    engine = open_engine(model, device)
    started = engine.stream(windows(1, seed=seed) for seed in range(100))
    first = next(started)
    assert isinstance(started, Iterator)
    del started
    np.testing.assert_array_equal(engine(windows(1)), first)


def test_torch_and_openvino_agree(model: ModelFolder) -> None:
    pytest.importorskip("openvino")
    looked_at = windows(2)
    wanted = exact(model, looked_at)
    precise = open_openvino(model, 2, tiny.SIDE, "f32")
    assert precise.exact
    np.testing.assert_allclose(precise(looked_at), wanted, atol=1e-4)
    short = open_openvino(model, 2, tiny.SIDE, "bf16")(looked_at)
    np.testing.assert_allclose(short, wanted, atol=0.05)


@pytest.mark.parametrize("device", HERE)
def test_an_engine_that_does_not_reproduce_the_test_vector_is_refused(tmp_path: Path, device: str) -> None:
    model = tiny.model(tmp_path / "model", tiny.recipe("unet"))
    vector = load_file(model.vector())
    vector["probabilities"] = 1 - vector["probabilities"]
    save_file(vector, model.vector())
    with pytest.raises(ModelError, match=r"probabilities differ"):
        open_engine(model, device)


def run_alone(script: str, model: ModelFolder, cache: Path, home: Path) -> str:
    """In a process of its own that cannot connect to anything."""
    blocked = (
        "import socket, sys\n"
        "def refuse(*_): print('CONNECTED'); raise OSError('no network')\n"
        "socket.socket.connect = socket.socket.sendto = socket.getaddrinfo = refuse\n"
        "import numpy as np\nfrom pathlib import Path\n"
        "from histoscout.network.engines import open_engine\n"
        "from histoscout.network.model_folder import read_model\n"
        f"model = read_model(Path({str(model.path)!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", blocked + script],
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "HOME": str(home), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_second_start_needs_no_torch_and_nothing_goes_to_the_network(
    model: ModelFolder, own_cache: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    script = (
        "engine = open_engine(model, 'openvino')\n"
        f"print(engine(np.full((1, 1, {tiny.SIDE}, {tiny.SIDE}, 3), 99, np.uint8)).sum(), 'torch' in sys.modules)\n"
    )
    first = run_alone(script, model, own_cache, tmp_path).split()
    second = run_alone(script, model, own_cache, tmp_path).split()
    assert first == [second[0], "True"]
    assert second[1:] == ["False"]
    assert not list(tmp_path.iterdir())  # telemetry would leave its mark in the home folder


def test_a_cache_that_cannot_be_written_is_noted(
    model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    notes: list[str] = []
    found = open_engine(model, "openvino", on_note=notes.append)(windows(1))
    np.testing.assert_allclose(found, exact(model, windows(1)), atol=0.05)
    assert len(notes) == 1
    assert "XDG_CACHE_HOME" in notes[0]


def test_other_temperature_other_conversion(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    recipe, looked_at = tiny.recipe("unet"), windows(1)
    for temperature in (0.5, 4.0):
        model = tiny.model(tmp_path / f"model {temperature}", recipe, temperature)
        found = open_openvino(model, 1, tiny.SIDE, "f32")(looked_at)
        np.testing.assert_allclose(found, exact(model, looked_at), atol=1e-4)


def test_an_empty_batch_is_refused(model: ModelFolder) -> None:
    with pytest.raises(ValueError, match="window"):
        open_engine(model, "torch")(windows(0))


def test_devices_are_names_or_refused() -> None:
    assert set(ENGINES) < set(DEVICES)
    assert choose_engine("cpu") in ENGINES
    assert choose_engine("auto") in ENGINES
    with pytest.raises(ModelError, match="cuda"):
        choose_engine("gpu")


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_says_so(model: ModelFolder, device: str) -> None:
    there = torch.cuda.is_available() if device == "cuda" else torch.backends.mps.is_available()
    if there:
        np.testing.assert_allclose(
            open_engine(model, device)(windows(3)), exact(model, windows(3)), atol=0.05
        )
    else:
        with pytest.raises(ModelError, match="--device cpu"):
            open_engine(model, device)
