"""When the state of a training is written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from histoscout.recipe import Recipe
from histoscout.training.checkpoint import SAVE_SECONDS, CheckpointWriter
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
