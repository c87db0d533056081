"""Model folders that somebody made or changed: each ends in a `ModelError`, with checksums that are right."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from histoscout.detection.domain_shift import AppearanceReference
from histoscout.errors import HistoscoutError, ModelError
from histoscout.io.inputs import seal
from histoscout.network.engines import open_engine
from histoscout.network.model_folder import INDEX, METRICS, RECIPE, ModelFolder, read_model
from histoscout.network.save import load_network
from tests.network.tiny import model, recipe

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model(tmp_path_factory.mktemp("hostile") / "model", recipe("unet")).path


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "model")
    return tmp_path / "model"


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change model.json, with a checksum that fits."""
    values = json.loads((folder / INDEX).read_text())
    del values["checksum"]
    change(values)
    (folder / INDEX).write_text(json.dumps(seal(values)))


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Replace a file, with a checksum that fits."""
    (folder / name).write_bytes(content)
    rewrite(folder, lambda index: index["files"].update({name: hashlib.sha256(content).hexdigest()}))


def use(folder: Path) -> None:
    """Read all of a model, as detect does."""
    read = read_model(folder)
    AppearanceReference.of(read)
    load_network(read)
    open_engine(read, "torch").close()


def test_the_whole_model_can_be_used(folder: Path) -> None:
    rewrite(folder, lambda index: None)
    use(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("detector.safetensors", b"x" * 5000),
        ("detector.safetensors", b""),
        ("detector.safetensors", (2**40).to_bytes(8, "little") + b"{}"),
        ("detector.vector.safetensors", b"x" * 5000),
        (METRICS, b"[1, 2]"),
        (METRICS, b"\xff\xfe\0"),
        (METRICS, b"[" * 100_000),
        (METRICS, b"9" * 10_000),
        (METRICS, b'{"domain_shift": "x"}'),
        (METRICS, b'{"domain_shift": [{"patient": "a"}]}'),
        (METRICS, b'{"domain_shift": [{"patient": "a", "numbers": {"x": NaN}}]}'),
        (METRICS, b'{"data": 5}'),
        (METRICS, b'{"data": {"train_patients": [[]]}}'),
        (
            METRICS,
            b'{"data": {"fingerprints": [{"name": "a", "patient": "b", "size_um": [1, 2], "grey": "zz"}]}}',
        ),
        (METRICS, b'{"tune": [], "training": {}}'),
        (RECIPE, b"a = " + b"[" * 100_000),
        (RECIPE, b"\0\1\2"),
        (RECIPE, b"seed = " + b"9" * 10_000),
    ],
)
def test_files_with_anything_in_them(folder: Path, name: str, content: bytes) -> None:
    replace_file(folder, name, content)
    with pytest.raises(HistoscoutError) as raised:
        use(folder)
    assert raised.value.where == str(folder / name)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    "values",
    [
        {"labels": ["ADH"]},
        {"labels": []},
        {"labels": ["UDH", "more"]},
        {"threshold": 2},
        {"threshold": float("nan")},
        {"temperature": 0},
        {"temperature": 1e300},
        {"temperature": float("inf")},
        {"prior_correction": 1e300},
        {"prior_correction": float("nan")},
        {"networks": []},
        {"networks": ["../other"]},
        {"networks": ["detector"] * 1000},
        {"files": {}},
        {"format": 99},
        {"unknown": 1},
    ],
)
def test_values_that_cannot_be(folder: Path, values: dict[str, Any]) -> None:
    rewrite(folder, lambda index: index.update(values))
    with pytest.raises(ModelError):
        use(folder)


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "5", '{"format": ' + "9" * 10_000 + "}", "\0", ""])
def test_an_index_with_anything_in_it(folder: Path, content: str) -> None:
    (folder / INDEX).write_text(content)
    with pytest.raises(ModelError) as raised:
        use(folder)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("key", ["threshold", "temperature", "prior_correction", "labels", "facts"])
def test_values_that_decide_are_in_the_checksum(folder: Path, key: str) -> None:
    values = json.loads((folder / INDEX).read_text())
    values[key] = {"threshold": 0.41, "labels": ["X"], "facts": {}}.get(key, 1.1)
    (folder / INDEX).write_text(json.dumps(values))
    with pytest.raises(ModelError, match="checksum"):
        read_model(folder)


def test_an_index_of_an_earlier_version_has_no_checksum(folder: Path) -> None:
    values = json.loads((folder / INDEX).read_text())
    del values["checksum"]
    (folder / INDEX).write_text(json.dumps(values))
    assert isinstance(read_model(folder), ModelFolder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", [INDEX, RECIPE, METRICS, "detector.safetensors"])
def test_pipes_in_a_model_folder(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ModelError):
        use(folder)


def test_without_metrics(folder: Path) -> None:
    (folder / METRICS).unlink()
    rewrite(folder, lambda index: index["files"].pop(METRICS))
    with pytest.raises(ModelError) as raised:
        use(folder)
    assert raised.value.where == str(folder / METRICS)
