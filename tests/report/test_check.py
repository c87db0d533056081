from dataclasses import replace
from pathlib import Path

import pytest

from histoscout.checks.run import Checks, check_cohort
from histoscout.report.check import check_page, write_check
from histoscout.verdict import Verdict
from tests.report.html import ParsedPage


@pytest.fixture(scope="module")
def checks(table: Path) -> Checks:
    return check_cohort(table)


def test_the_page_of_a_check_shows_results_classes_and_slides(checks: Checks, tmp_path: Path) -> None:
    write_check(checks, tmp_path / "check.html")
    page = ParsedPage.of((tmp_path / "check.html").read_text(encoding="utf-8"))
    assert not page.faults
    assert {"Check results", "Cohort", "Alignment of annotations and tissue", "Slides"} <= set(page.titles)
    assert page.tags.count("img") == len(checks.slides)
    for verdict in checks.verdicts:
        assert verdict.name in page.text
        assert verdict.message in page.text
    for slide in checks.slides:
        assert slide.name in page.text


def test_the_summary_names_failures_first(checks: Checks) -> None:
    failed = Verdict(name="files", state="failed", message="one is damaged", remedy="Copy it again")
    unsure = Verdict(name="leakage", state="cannot tell", message="too few slides")
    assert "files" in check_page(replace(checks, verdicts=(unsure, failed), slides=())).lead
    assert "leakage" not in check_page(replace(checks, verdicts=(unsure, failed), slides=())).lead
    assert "leakage" in check_page(replace(checks, verdicts=(unsure,), slides=())).lead


def test_without_slides_the_page_says_so(checks: Checks, tmp_path: Path) -> None:
    write_check(replace(checks, slides=(), classes=()), tmp_path / "check.html")
    page = ParsedPage.of((tmp_path / "check.html").read_text(encoding="utf-8"))
    assert not page.faults
    assert "img" not in page.tags
