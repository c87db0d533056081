"""The exact versions of constraints.txt are among those that pyproject.toml allows."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = sorted({*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)})
PINNED = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(
        r"^([\w.\-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
}

HOLES = {
    "pillow": ("12.3.0", "11.3.0"),
    "jinja2": ("3.1.5",),
    "starlette": ("0.49.0", "1.0.0"),
    "h11": ("0.14.0",),
    "openslide-bin": ("4.0.0.6",),
}
"""Versions with known holes."""


@pytest.mark.parametrize("line", REQUIREMENTS)
def test_the_exact_version_is_allowed(line: str) -> None:
    needed = Requirement(line)
    assert PINNED[canonicalize_name(needed.name)] in needed.specifier


@pytest.mark.parametrize("name", HOLES)
def test_versions_with_known_holes_are_not_allowed(name: str) -> None:
    allowed = [needed for needed in map(Requirement, REQUIREMENTS) if canonicalize_name(needed.name) == name]
    assert allowed
    for needed in allowed:
        assert not any(version in needed.specifier for version in HOLES[name])
