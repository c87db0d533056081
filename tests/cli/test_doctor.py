import sys

import pytest
from typer.testing import CliRunner

from histoscout.cli.main import app
from histoscout.machine import MachineCheck


def test_doctor_lists_the_machine_and_its_packages() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code in (0, 1)
    assert result.exit_code == any(line.startswith("missing") for line in result.output.splitlines())
    for name in ("Python", "torch", "openslide"):
        assert name.casefold() in result.output.casefold()


def test_doctor_fails_if_something_needed_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    # the package has a function of the same name
    module = sys.modules[MachineCheck.__module__]
    checks = [
        MachineCheck(name="tifffile", state="ok", detail="2026.1"),
        MachineCheck(name="torch", state="missing", detail="not installed", remedy="pip install torch"),
    ]
    monkeypatch.setattr(module, "doctor", lambda: checks)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "pip install torch" in result.output
    monkeypatch.setattr(module, "doctor", lambda: checks[:1])
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 0
