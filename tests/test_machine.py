"""The checks of the machine that `doctor` makes."""

from pathlib import Path

import pytest

from histoscout.machine import PACKAGES, check_package, doctor


def test_every_part_of_the_machine_is_checked(tmp_path: Path) -> None:
    checks = {check.name: check for check in doctor(tmp_path)}
    assert {"python", "processor", "memory", "disk", *(name for name, _, _ in PACKAGES)} <= checks.keys()
    assert str(tmp_path) in checks["disk"].detail
    assert all(check.remedy for check in checks.values() if check.state == "missing")


def test_a_package_that_is_part_of_another_is_ok() -> None:
    check = check_package("no-such-distribution", "json", "reads JSON")
    assert check.state == "ok"
    assert "reads JSON" in check.detail


def test_a_package_that_is_not_installed_is_missing() -> None:
    check = check_package("no-such-distribution", "no_such_module", "does something")
    assert (check.state, check.remedy) == ("missing", "pip install no-such-distribution")


def test_a_full_disk_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("histoscout.machine.MIN_DISK_GB", 1e12)
    (disk,) = [check for check in doctor(tmp_path) if check.name == "disk"]
    assert disk.state == "note"
    assert disk.remedy
