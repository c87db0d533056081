"""What `doctor` says of packages."""

from histoscout.doctor import _package


def test_what_comes_with_another_package_is_there() -> None:
    found = _package("no-such-distribution", "json", "reads JSON")
    assert (found.state, found.detail) == ("ok", "there as part of another package, reads JSON")


def test_what_is_nowhere_is_missing_with_its_remedy() -> None:
    found = _package("no-such-distribution", "no_such_module", "does something")
    assert found.state == "missing"
    assert found.remedy == "pip install no-such-distribution"
