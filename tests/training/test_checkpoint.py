"""When the state of a training is written."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from histoscout.errors import TrainingError
from histoscout.recipe import Recipe
from histoscout.training.checkpoint import (
    SAVE_SECONDS,
    CheckpointWriter,
    load_state,
    read_weights,
    save_state,
    save_weights,
)
from tests.toy import RECIPE
from tests.training.conftest import Parts


@pytest.fixture(scope="module")
def parts(prepare: Callable[[Recipe], Parts]) -> Parts:
    return prepare(RECIPE)


def test_a_first_validation_is_kept_at_once(parts: Parts, tmp_path: Path) -> None:
    kept = CheckpointWriter(tmp_path / "last.safetensors")
    kept.save_if_due(parts[1], validated=False, finished=False)
    assert not kept.path.exists()
    kept.save_if_due(parts[1], validated=True, finished=False)
    assert kept.path.exists()
    assert kept.seconds > 0


@pytest.mark.parametrize(
    ("finished", "seconds", "written"), [(False, 0, False), (False, SAVE_SECONDS + 1, True), (True, 0, True)]
)
def test_slow_writing_waits_for_half_a_minute_or_the_end(
    parts: Parts, tmp_path: Path, finished: bool, seconds: float, written: bool
) -> None:
    kept = CheckpointWriter(tmp_path / "last.safetensors", seconds=10.0)
    kept.saved -= seconds
    kept.save_if_due(parts[1], validated=True, finished=finished)
    assert kept.path.exists() == written


def damage(path: Path) -> None:
    """Change one number of a file, which stays a file of tensors."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x40
    path.write_bytes(content)
    load_file(path)


def test_a_damaged_checkpoint_is_refused(parts: Parts, tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_state(parts[1], path)
    load_state(parts[1], path)
    damage(path)
    with pytest.raises(TrainingError, match=r"last\.safetensors"):
        load_state(parts[1], path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_weights_come_back_or_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "best.safetensors"
    weights = {"b": torch.arange(6).reshape(2, 3).to(dtype), "a": torch.tensor(3).to(dtype)}
    save_weights(weights, path)
    read = read_weights(path)
    assert all(torch.equal(read[name], value) for name, value in weights.items())
    damage(path)
    with pytest.raises(TrainingError):
        read_weights(path)
    # files of earlier versions have no checksum
    save_file(weights, path)
    assert read_weights(path).keys() == weights.keys()
