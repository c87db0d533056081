"""The surest false alarms laid before a reader, and what he says of them."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cohort.case import Case
from histoscout.errors import AnnotationError, OutputError
from histoscout.evaluation.lesions.compare import SlideLesions, compare_lesions
from histoscout.evaluation.lesions.summary import count_lesions_of
from histoscout.evaluation.reference import Ground
from histoscout.evaluation.review import (
    COLUMNS,
    QUESTION,
    AuditPlan,
    audited_lesions,
    judgement_of,
    lay_out_audit,
    questions,
    read_verdicts,
    refuse_lost_verdicts,
    verdict_notes,
)
from histoscout.geometry.regions import Regions
from histoscout.recipe import ClassConfig
from histoscout.slides.pyramid import write_pyramid
from tests.evaluation.scenes import RECIPE, compared, ground, regions, square

CLASSES = ClassConfig(positive="UDH", other=("ADH",))
DRAWN = regions(square(0, 0, 100), square(200, 0, 100, "ADH"))
FOUND = regions(
    square(0, 0, 100, score=0.95),
    square(200, 0, 100, score=0.9),
    square(0, 300, 100, score=0.6),
    square(300, 300, 100, score=0.7),
    square(600, 600, 100, score=0.2),
)


def _lesions() -> SlideLesions:
    return compared(DRAWN, FOUND, 0.5)


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """An audit of one slide with three false alarms in use."""
    pixels = np.full((1000, 1000, 3), 200, np.uint8)
    write_pyramid(tmp_path / "one.tif", pixels, 1.0)
    write_geojson(DRAWN, tmp_path / "one.geojson")
    case = Case(tmp_path / "one.tif", tmp_path / "one.geojson")
    lay_out_audit({"one": _lesions()}, {"one": case}, CLASSES, AuditPlan(tmp_path / "audit", 10))
    return tmp_path / "audit"


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "audit.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _fill(folder: Path, verdicts: list[str], delimiter: str = ",", encoding: str = "utf-8") -> None:
    rows = _rows(folder)
    with (folder / "audit.csv").open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter=delimiter)
        writer.writeheader()
        writer.writerows({**row, "verdict": verdict} for row, verdict in zip(rows, verdicts, strict=True))


def _reclassify(path: Path, classes: dict[int, str]) -> None:
    """Give objects another class, as QuPath does on export."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content.pop("histoscout")
    for feature in content["features"]:
        number = int(feature["properties"]["name"].removeprefix("audit "))
        feature["properties"].pop("histoscout", None)
        if number in classes:
            feature["properties"]["classification"] = {"name": classes[number], "color": [1, 2, 3]}
    path.write_text(json.dumps(content), encoding="utf-8")


def test_the_surest_false_alarms_come_first_whatever_the_slide() -> None:
    other = compared(Regions(), regions(square(0, 0, 50, score=0.65)), 0.5)
    asked = questions({"one": _lesions(), "two": other}, 3)
    assert [(one.number, one.slide, one.finding.score) for one in asked] == [
        (1, "one", 0.9),
        (2, "one", 0.7),
        (3, "two", 0.65),
    ]
    again = questions({"one": _lesions(), "two": other}, 9, {asked[0].finding.region.id})
    assert [one.finding.score for one in again] == [
        0.7,
        0.65,
        0.6,
    ]  # not what was asked, nor what is not in use


def test_the_audit_is_a_table_outlines_for_qupath_and_pictures(audit: Path) -> None:
    rows = _rows(audit)
    assert [row["lies on"] for row in rows] == ["other class: ADH", "unmarked tissue", "unmarked tissue"]
    assert {row["verdict"] for row in rows} == {""}
    outlines = read_geojson(audit / "one.geojson").regions
    assert [region.label for region in outlines] == [QUESTION] * 3
    assert {region.properties["name"] for region in outlines} == {"audit 1", "audit 2", "audit 3"}
    for row in rows:
        with Image.open(audit / row["picture"]) as picture:
            assert picture.size[0] == picture.size[1] > 150
            assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 3  # slide, outline, scale bar


def test_an_audit_is_never_written_over_without_leave_nor_verdicts_at_all(audit: Path) -> None:
    refuse_lost_verdicts(audit.parent / "elsewhere", overwrite=False)
    with pytest.raises(OutputError, match="holds an audit already"):
        refuse_lost_verdicts(audit, overwrite=False)
    refuse_lost_verdicts(audit, overwrite=True)
    _fill(audit, ["", "?", ""])
    refuse_lost_verdicts(audit, overwrite=True)


SAVED = [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-8"), ("\t", "utf-16"), (";", "cp1252")]


@pytest.mark.parametrize(("delimiter", "encoding"), SAVED)
def test_verdicts_are_not_written_over_however_the_table_was_saved(
    audit: Path, delimiter: str, encoding: str
) -> None:
    _fill(audit, ["", "yes", ""], delimiter, encoding)
    with pytest.raises(OutputError, match="would be lost"):
        refuse_lost_verdicts(audit, overwrite=True)


def test_verdicts_given_in_qupath_are_not_written_over(audit: Path) -> None:
    _reclassify(audit / "one.geojson", {2: "ADH"})
    with pytest.raises(OutputError, match="with verdicts, which would be lost"):
        refuse_lost_verdicts(audit, overwrite=True)
    (audit / "audit.csv").unlink()
    with pytest.raises(OutputError, match="holds an audit already"):
        refuse_lost_verdicts(audit, overwrite=False)
    with pytest.raises(OutputError, match="with verdicts, which would be lost"):
        refuse_lost_verdicts(audit, overwrite=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [("audit.csv", b"a,b\n1,yes\n"), ("audit.csv", b"\x00\x81"), ("one.geojson", b"{")],
)
def test_an_audit_that_cannot_be_read_is_not_written_over(audit: Path, name: str, content: bytes) -> None:
    (audit / name).write_bytes(content)
    with pytest.raises(OutputError, match=rf"cannot be read and would be lost .*{name}"):
        refuse_lost_verdicts(audit, overwrite=True)


@pytest.mark.parametrize(("delimiter", "encoding"), SAVED)
def test_verdicts_come_back_from_the_table_however_it_was_saved(
    audit: Path, delimiter: str, encoding: str
) -> None:
    _fill(audit, ["no", "Lesion", "unclear"], delimiter, encoding)
    for path in (audit, audit / "audit.csv"):
        verdicts = read_verdicts(path, CLASSES)
        assert [verdicts.judged[row.id] for row in _asked()] == ["no lesion", "lesion", "unclear"]
        assert verdicts.unjudged == 0
        assert len(verdicts.regions) == 3


def _asked() -> list[Any]:
    return [one.finding.region for one in questions({"one": _lesions()}, 9)]


def test_verdicts_come_back_from_qupath(audit: Path) -> None:
    _reclassify(audit / "one.geojson", {1: "ADH", 2: "UDH"})
    for path in (audit, audit / "one.geojson"):
        verdicts = read_verdicts(path, CLASSES)
        assert [verdicts.judged.get(region.id) for region in _asked()] == ["no lesion", "lesion", None]
        assert verdicts.unjudged == 1


def test_other_objects_in_an_export_are_no_verdicts(audit: Path) -> None:
    everything = Regions.of([*read_geojson(audit / "one.geojson").regions, square(0, 0, 10, "Whatever")])
    write_geojson(everything, audit.parent / "export.geojson")
    assert read_verdicts(audit.parent / "export.geojson", CLASSES).unjudged == 3


def test_words_that_are_not_understood_are_all_told_and_nothing_is_guessed(audit: Path) -> None:
    _fill(audit, ["perhaps not", "yes", "Normal"])
    with pytest.raises(AnnotationError) as caught:
        read_verdicts(audit / "audit.csv", CLASSES)
    assert "2 verdicts" in str(caught.value)
    assert "row 2: 'perhaps not'" in str(caught.value)
    assert "row 4: 'Normal'" in str(caught.value)
    _fill(audit, ["", "yes", "Normal"])
    verdicts = read_verdicts(audit / "audit.csv", CLASSES, ["Normal"])  # a class that is drawn on the slides
    assert sorted(verdicts.judged.values()) == ["lesion", "no lesion"]


def test_a_finding_judged_in_two_ways_is_told(audit: Path) -> None:
    _fill(audit, ["", "yes", ""])
    _reclassify(audit / "one.geojson", {2: "ADH"})
    with pytest.raises(AnnotationError, match="no lesion, but lesion elsewhere"):
        read_verdicts(audit, CLASSES)


@pytest.mark.parametrize(
    ("text", "fault"),
    [("a,b\n1,2\n", "no column 'id'"), ("", "no column 'id'"), (b"\xff\xfe\x00", "not a text table")],
)
def test_a_table_that_is_none_is_told(tmp_path: Path, text: str | bytes, fault: str) -> None:
    path = tmp_path / "audit.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(AnnotationError, match=fault):
        read_verdicts(path, CLASSES)
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_verdicts(tmp_path / "nowhere.csv", CLASSES)


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("UDH", "lesion"),
        ("udh", "lesion"),
        ("UDH-unsure", "unclear"),
        ("ADH", "no lesion"),
        ("NO", "no lesion"),
        ("audit: ?", None),
        ("", None),
        ("Tumour", None),
        ("Reviewed", None),
    ],
)
def test_what_words_and_classes_mean(word: str, meaning: str | None) -> None:
    assert judgement_of(word, CLASSES) == meaning


def test_scored_again_lesions_are_hits_and_unclear_ones_count_neither_way(audit: Path) -> None:
    _fill(audit, ["no", "lesion", "unclear"])
    verdicts = read_verdicts(audit, CLASSES)
    here = Ground("one", "p", DRAWN, ground(DRAWN).tissue, 1.0, RECIPE)
    before = compare_lesions(here, FOUND, 0.5)
    after = audited_lesions(here, before, verdicts)
    counts = [count_lesions_of([slide]) for slide in (before, after)]
    assert [(one.lesions, one.found, one.false, one.ignored) for one in counts] == [
        (1, 1, 3, 0),
        (2, 2, 1, 1),
    ]
    said = verdict_notes(verdicts, {"one": before}, audit)
    assert "judged 3 findings" in said[0]
    with pytest.raises(AnnotationError, match="no verdict on a finding"):
        verdict_notes(verdicts, {"two": compared(Regions(), Regions())}, audit)


def test_a_lesion_that_the_next_model_misses_stays_a_lesion(audit: Path) -> None:
    _fill(audit, ["", "lesion", ""])
    here = Ground("one", "p", DRAWN, ground(DRAWN).tissue, 1.0, RECIPE)
    after = audited_lesions(here, compare_lesions(here, Regions()), read_verdicts(audit, CLASSES))
    assert len(after.missed()) == 2
    elsewhere = Ground("two", "p", DRAWN, ground(DRAWN).tissue, 1.0, RECIPE)
    other = audited_lesions(elsewhere, compare_lesions(elsewhere, Regions()), read_verdicts(audit, CLASSES))
    assert len(other.lesions) == 1  # on another slide it is none
