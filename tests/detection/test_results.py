"""The folder of results: the table of slides that were given."""

from pathlib import Path

import pytest

from histoscout.cohort.case import Case
from histoscout.detection.results import ResultFolder, read_cases, write_cases
from histoscout.errors import CohortError


def test_cases_come_back_though_their_slides_are_gone(tmp_path: Path) -> None:
    output = ResultFolder(tmp_path / "found")
    case = Case(
        tmp_path / "A 1 (ü).svs",
        tmp_path / "A1.geojson",
        "patient 1",
        split="test",
        mpp=0.25,
        mask_labels=((1, "UDH"), (2, "ADH")),
        mask_threshold=128,
    )
    write_cases([case], output)
    assert read_cases(output) == (case,)


def test_a_later_run_adds_its_cases(tmp_path: Path) -> None:
    output = ResultFolder(tmp_path)
    write_cases([Case(tmp_path / "A.svs"), Case(tmp_path / "B.svs")], output)
    write_cases([Case(tmp_path / "B.svs", patient="p"), Case(tmp_path / "C.svs")], output)
    assert [(case.name, case.patient) for case in read_cases(output)] == [("A", "A"), ("B", "p"), ("C", "C")]


def test_folders_without_the_table_have_no_cases(tmp_path: Path) -> None:
    assert read_cases(ResultFolder(tmp_path)) == ()


def test_a_spoiled_table_is_an_error(tmp_path: Path) -> None:
    output = ResultFolder(tmp_path)
    output.cohort.write_text("slide,mpp\nA.svs,small\n", encoding="utf-8")
    with pytest.raises(CohortError):
        read_cases(output)
