"""A few hundred corrupted files of each format, and every file that once made a reader fail."""

from pathlib import Path

import pytest

from histoscout.annotations.read import FORMATS
from tests.fuzz.run import attempt, fuzz
from tests.fuzz.targets import TARGETS

KEPT = sorted(file for file in (Path(__file__).parent / "kept").iterdir() if file.suffix != ".md")


@pytest.mark.parametrize("name", TARGETS)
def test_corrupted_files_are_read_or_refused(name: str) -> None:
    outcome = fuzz(name, count=200)
    assert not outcome.failed, outcome.failed[0]
    # most files are corrupted, but some mutations leave enough to be read
    assert outcome.counts["refused"] > 20
    assert outcome.counts["read"] > 5


@pytest.mark.parametrize("name", TARGETS)
def test_valid_files_are_read(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    for number, content in enumerate(target.valid_files().values()):
        path = tmp_path / f"{number}{target.suffix}"
        path.write_bytes(content if target.pack is None else target.pack(content))
        target.read(path)


def test_every_registered_format_is_fuzzed() -> None:
    assert set(FORMATS) <= {target.suffix for target in TARGETS.values()}


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_files_that_once_failed_are_read_or_refused(path: Path) -> None:
    targets = [target for target in TARGETS.values() if path.name.endswith(target.suffix)]
    assert targets
    for target in targets:
        result, trace = attempt(target, path)
        assert result != "failed", trace
