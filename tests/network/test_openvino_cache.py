"""The cache of converted models: whatever happens to it, the answers stay those of torch."""

import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from histoscout.errors import HistoscoutError, ModelError
from histoscout.network.engines import open_engine
from histoscout.network.model_folder import ModelFolder
from tests.network import tiny

pytest.importorskip("openvino")

from histoscout.network import openvino_engine
from histoscout.network.openvino_engine import open_openvino

posix = pytest.mark.skipif(os.name != "posix", reason="owners and modes of POSIX")
CONVERTED: dict[object, Path] = {}
WINDOWS = np.random.default_rng(3).integers(0, 256, (1, 1, tiny.SIDE, tiny.SIDE, 3), dtype=np.uint8)


QUICK = ("converted/2,000 bits", "compiled/one bit", "compiled/cut")
"""The damage that is tried in every run of the tests; a damaged network takes a conversion, which is slow."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny.model(tmp_path_factory.mktemp("models") / "pixels", tiny.recipe("unet"))


@pytest.fixture(autouse=True)
def convert_once(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A conversion takes seconds: the real one is done once for each model, and copied afterwards."""
    convert = openvino_engine._convert

    def convert_or_copy(model: ModelFolder, folder: Path, *, shape: tuple[int, int]) -> None:
        key = (model.hash, model.temperature, shape)
        if key not in CONVERTED:
            CONVERTED[key] = tmp_path_factory.mktemp("converted") / "network"
            CONVERTED[key].mkdir()
            convert(model, CONVERTED[key], shape=shape)
        shutil.copytree(CONVERTED[key], folder, dirs_exist_ok=True)

    monkeypatch.setattr(openvino_engine, "_convert", convert_or_copy)


def output(model: ModelFolder, notes: list[str] | None = None) -> NDArray[np.float32]:
    engine = open_engine(model, "openvino", on_note=(notes if notes is not None else []).append)
    found = engine(WINDOWS)
    engine.close()
    return found


def files(cache: Path, folder: str) -> list[Path]:
    return sorted(
        file
        for file in (cache / "histoscout").rglob("*")
        if file.is_file() and ("-compiled-" in file.parent.name) == (folder == "compiled")
    )


def flip_bits(file: Path, count: int, seed: int) -> None:
    content, chosen = bytearray(file.read_bytes()), random.Random(seed)
    for _ in range(count):
        content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
    rewrite(file, bytes(content))


def rewrite(file: Path, content: bytes) -> None:
    file.chmod(0o600)
    file.write_bytes(content)


def exchange_for_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def exchange_for_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "one bit": lambda file: flip_bits(file, 1, 0),
    "2,000 bits": lambda file: flip_bits(file, 2000, 1),
    "cut": lambda file: rewrite(file, file.read_bytes()[: file.stat().st_size // 2]),
    "empty": lambda file: rewrite(file, b""),
    "gone": lambda file: file.unlink(),
    "a folder": lambda file: exchange_for_folder(file),
    "a dangling link": lambda file: exchange_for_link(file),
}


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=() if what in QUICK else pytest.mark.slow)
        for what in (f"{folder}/{damage}" for folder in ("converted", "compiled") for damage in DAMAGE)
    ],
)
def test_a_damaged_cache_is_made_again(model: ModelFolder, own_cache: Path, what: str) -> None:
    folder, _, damage = what.partition("/")
    expected = output(model)
    names = [file.name for file in files(own_cache, folder)]
    if what == "converted/2,000 bits":
        names = ["detector.bin"]
    for name in names:
        (file,) = (file for file in files(own_cache, folder) if file.name == name)
        DAMAGE[damage](file)
        np.testing.assert_array_equal(output(model), expected)
    assert not list((own_cache / "histoscout").glob(".part.*"))


def test_a_cache_of_other_weights_with_right_checksums_does_not_answer(
    model: ModelFolder, own_cache: Path, tmp_path: Path
) -> None:
    expected = output(model)
    (kept,) = {file.parent for file in files(own_cache, "converted")}
    other = tiny.model(tmp_path / "other", tiny.recipe("unet"), temperature=20.0)
    shutil.rmtree(own_cache / "histoscout")
    output(other)
    (strange,) = {file.parent for file in files(own_cache, "converted")}
    strange.rename(kept)
    np.testing.assert_array_equal(output(model), expected)


def test_an_intact_cache_is_used(
    model: ModelFolder, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_openvino(model, 1, tiny.SIDE)
    monkeypatch.setattr(openvino_engine, "CONVERT", "histoscout.no_such_module:convert")
    second = open_openvino(model, 1, tiny.SIDE)
    assert (first.was_cached, second.was_cached) == (False, True)
    np.testing.assert_array_equal(first(WINDOWS), second(WINDOWS))


def test_windows_of_another_side_are_checked_too(model: ModelFolder, own_cache: Path) -> None:
    open_openvino(model, 1, 64).close()
    (network,) = (own_cache / "histoscout").rglob("detector.bin")
    flip_bits(network, 2000, 2)
    windows = WINDOWS[:, :, :64, :64].copy()
    expected = open_engine(model, "torch")(windows)
    np.testing.assert_allclose(open_openvino(model, 1, 64)(windows), expected, atol=0.05)


@posix
def test_the_cache_is_private_and_an_open_one_is_emptied(model: ModelFolder, own_cache: Path) -> None:
    folder = own_cache / "histoscout"
    expected = output(model)
    assert folder.stat().st_mode & 0o077 == 0
    for entry in folder.iterdir():
        assert entry.stat().st_mode & 0o022 == 0
    folder.chmod(0o775)
    (folder / "planted").mkdir()
    np.testing.assert_array_equal(output(model), expected)
    assert folder.stat().st_mode & 0o077 == 0
    assert not (folder / "planted").exists()


@posix
def test_a_cache_of_somebody_else_is_not_used(
    model: ModelFolder, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = output(model)
    before = {file: file.stat().st_mtime_ns for file in files(own_cache, "converted")}
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    notes: list[str] = []
    np.testing.assert_array_equal(output(model, notes), expected)
    assert len(notes) == 1
    assert "somebody else" in notes[0]
    assert {file: file.stat().st_mtime_ns for file in files(own_cache, "converted")} == before


def test_a_link_is_no_cache_folder(model: ModelFolder, own_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (own_cache / "histoscout").symlink_to(tmp_path / "elsewhere")
    notes: list[str] = []
    output(model, notes)
    assert len(notes) == 1
    assert not list((tmp_path / "elsewhere").iterdir())


def test_without_a_home_folder_the_model_is_converted_for_each_run(
    model: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = output(model)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    notes: list[str] = []
    np.testing.assert_array_equal(output(model, notes), expected)
    assert "home folder" in notes[0]


def test_two_at_once_make_one_cache(model: ModelFolder, own_cache: Path) -> None:
    expected = output(model)
    shutil.rmtree(own_cache / "histoscout")
    together, answers = threading.Barrier(2, timeout=60), []
    convert = openvino_engine._convert

    def convert_together(model: ModelFolder, folder: Path, *, shape: tuple[int, int]) -> None:
        convert(model, folder, shape=shape)
        together.wait()

    def start() -> None:
        answers.append(open_openvino(model, 1, tiny.SIDE)(WINDOWS))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_engine, "_convert", convert_together)
        threads = [threading.Thread(target=start) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 2
    for answer in answers:
        np.testing.assert_array_equal(answer, expected)
    assert len(list((own_cache / "histoscout").iterdir())) == 2


def test_a_fault_that_is_not_the_cache_names_itself(
    model: ModelFolder, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = output(model)
    with pytest.MonkeyPatch.context() as patch:

        class Core:
            def compile_model(self, *_: object) -> None:
                raise RuntimeError("Exception from src/core.cpp\nstd::bad_alloc")

            def get_property(self, *_: object) -> str:
                return ""

        patch.setattr(openvino_engine.ov, "Core", Core)
        with pytest.raises(ModelError, match="bad_alloc") as caught:
            output(model)
    assert caught.value.where == str(model.path)
    assert isinstance(caught.value, HistoscoutError)
    np.testing.assert_array_equal(output(model), expected)
