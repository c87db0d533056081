from pathlib import Path
from types import MappingProxyType

import pytest
from typer.testing import CliRunner

from histoscout.cli.main import app
from histoscout.errors import CohortError, RecipeError
from histoscout.study import slides
from tests.study.miniature import SCALE


def test_a_dry_run_lists_the_runs_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slides, "SCALES", MappingProxyType({**slides.SCALES, "miniature": SCALE}))
    command = ["study", "-o", str(tmp_path / "study"), "--scale", "miniature", "--device", "cpu", "--dry-run"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["run", "faults", "steps", "minutes"]
    assert any("minutes in all" in line for line in lines)
    assert not (tmp_path / "study").exists()


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    command = ["study", "-o", str(tmp_path / "study")]
    both = CliRunner().invoke(app, [*command, "--data", "a", "--cohort", "b"])
    assert isinstance(both.exception, CohortError)
    unknown = CliRunner().invoke(app, [*command, "--scale", "huge"])
    assert isinstance(unknown.exception, RecipeError)
    assert not (tmp_path / "study").exists()
