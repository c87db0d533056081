"""Expert review: export of the surest false positives, and the results read back and applied."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cohort.case import Case
from histoscout.errors import AnnotationError, OutputError
from histoscout.evaluation.lesions.compare import SlideLesions, compare_lesions
from histoscout.evaluation.lesions.summary import count_lesions
from histoscout.evaluation.review import (
    REVIEW_CLASS,
    REVIEW_COLUMNS,
    ReviewPlan,
    prepare_review,
    select_review_items,
)
from histoscout.evaluation.review_results import (
    compare_with_review,
    parse_review_label,
    read_review_results,
    refuse_lost_review,
    review_notes,
)
from histoscout.geometry.regions import Regions
from histoscout.recipe_sections import ClassConfig
from histoscout.slides.pyramid import write_pyramid
from tests.evaluation.scenes import compare, reference, regions, square

CLASSES = ClassConfig(positive="UDH", other=("ADH",))
TRUTH = regions(square(0, 0, 100), square(200, 0, 100, "ADH"))
DETECTED = regions(
    square(0, 0, 100, score=0.95),
    square(200, 0, 100, score=0.9),
    square(0, 300, 100, score=0.6),
    square(300, 300, 100, score=0.7),
    square(600, 600, 100, score=0.2),
)
PLAN = ReviewPlan(folder=Path(), max_items=9)


def _lesions() -> SlideLesions:
    return compare(TRUTH, DETECTED, 0.5)


def _exported_ids() -> list[str]:
    return [item.detection.region.id for item in select_review_items({"one": _lesions()}, PLAN)]


@pytest.fixture
def review(tmp_path: Path) -> Path:
    """A review of one slide with three false positives in use."""
    pixels = np.full((1000, 1000, 3), 200, np.uint8)
    write_pyramid(tmp_path / "one.tif", pixels, 1.0)
    write_geojson(TRUTH, tmp_path / "one.geojson")
    case = Case(tmp_path / "one.tif", tmp_path / "one.geojson")
    plan = ReviewPlan(folder=tmp_path / "review", max_items=10)
    prepare_review({"one": _lesions()}, {"one": case}, CLASSES, plan)
    return tmp_path / "review"


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "review.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _fill(folder: Path, words: list[str], delimiter: str = ",", encoding: str = "utf-8") -> None:
    rows = _rows(folder)
    with (folder / "review.csv").open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, REVIEW_COLUMNS, delimiter=delimiter)
        writer.writeheader()
        writer.writerows({**row, "verdict": word} for row, word in zip(rows, words, strict=True))


def _reclassify(path: Path, classes: dict[int, str]) -> None:
    """Give objects another class, as QuPath does on export."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content.pop("histoscout")
    for feature in content["features"]:
        number = int(feature["properties"]["name"].removeprefix("review "))
        feature["properties"].pop("histoscout", None)
        if number in classes:
            feature["properties"]["classification"] = {"name": classes[number], "color": [1, 2, 3]}
    path.write_text(json.dumps(content), encoding="utf-8")


def _to_version_0_1(folder: Path) -> None:
    """Write a review as histoscout 0.1.0 did."""
    (folder / "review.csv").rename(folder / "audit.csv")
    path = folder / "one.geojson"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("review: ?", "audit: ?").replace('"review ', '"audit '), encoding="utf-8")


# ---------------------------------------------------------------- export


def test_the_surest_false_positives_come_first_whatever_the_slide() -> None:
    other = compare(Regions(), regions(square(0, 0, 50, score=0.65)), 0.5)
    slides = {"one": _lesions(), "two": other}
    items = select_review_items(slides, replace(PLAN, max_items=3))
    assert [(item.number, item.slide, item.detection.score) for item in items] == [
        (1, "one", 0.9),
        (2, "one", 0.7),
        (3, "two", 0.65),
    ]
    # neither what was reviewed before, nor what is below the threshold
    rest = select_review_items(slides, replace(PLAN, skip_ids={items[0].detection.region.id}))
    assert [item.detection.score for item in rest] == [0.7, 0.65, 0.6]


def test_a_review_is_a_table_geojson_and_pictures(review: Path) -> None:
    rows = _rows(review)
    assert [row["location"] for row in rows] == [
        "other class: ADH",
        "unannotated tissue",
        "unannotated tissue",
    ]
    assert {row["verdict"] for row in rows} == {""}
    objects = read_geojson(review / "one.geojson").regions
    assert [region.label for region in objects] == [REVIEW_CLASS] * 3
    assert {region.properties["name"] for region in objects} == {"review 1", "review 2", "review 3"}
    for row in rows:
        with Image.open(review / row["picture"]) as picture:
            assert picture.size[0] == picture.size[1] > 150
            # slide, outline and scale bar
            assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 3


# ---------------------------------------------------------------- reviews are not lost


def test_a_review_is_replaced_only_with_overwrite_and_without_results(review: Path) -> None:
    refuse_lost_review(review.parent / "elsewhere", overwrite=False)
    with pytest.raises(OutputError):
        refuse_lost_review(review, overwrite=False)
    refuse_lost_review(review, overwrite=True)
    _fill(review, ["", "?", ""])
    refuse_lost_review(review, overwrite=True)


SAVED = [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-8"), ("\t", "utf-16"), (";", "cp1252")]


@pytest.mark.parametrize(("delimiter", "encoding"), SAVED)
def test_results_are_not_replaced_however_the_table_was_saved(
    review: Path, delimiter: str, encoding: str
) -> None:
    _fill(review, ["", "yes", ""], delimiter, encoding)
    with pytest.raises(OutputError) as raised:
        refuse_lost_review(review, overwrite=True)
    assert raised.value.where == str(review)


@pytest.mark.parametrize("is_old", [False, True])
def test_results_given_in_qupath_are_not_replaced(review: Path, is_old: bool) -> None:
    _reclassify(review / "one.geojson", {2: "ADH"})
    if is_old:
        _to_version_0_1(review)
    with pytest.raises(OutputError):
        refuse_lost_review(review, overwrite=True)
    (review / ("audit.csv" if is_old else "review.csv")).unlink()
    for overwrite in (False, True):
        with pytest.raises(OutputError):
            refuse_lost_review(review, overwrite=overwrite)


@pytest.mark.parametrize(
    ("name", "content"),
    [("review.csv", b"a,b\n1,yes\n"), ("review.csv", b"\x00\x81"), ("one.geojson", b"{")],
)
def test_a_review_that_cannot_be_read_is_not_replaced(review: Path, name: str, content: bytes) -> None:
    (review / name).write_bytes(content)
    with pytest.raises(OutputError) as raised:
        refuse_lost_review(review, overwrite=True)
    assert name in raised.value.fault


# ---------------------------------------------------------------- results are read


@pytest.mark.parametrize(("delimiter", "encoding"), SAVED)
def test_results_come_back_from_the_table_however_it_was_saved(
    review: Path, delimiter: str, encoding: str
) -> None:
    _fill(review, ["no", "Lesion", "unclear"], delimiter, encoding)
    for path in (review, review / "review.csv"):
        results = read_review_results(path, CLASSES)
        assert [results.labels[id] for id in _exported_ids()] == ["no lesion", "lesion", "unclear"]
        assert results.unreviewed == 0
        assert len(results.regions) == 3


@pytest.mark.parametrize("is_old", [False, True])
def test_results_come_back_from_qupath(review: Path, is_old: bool) -> None:
    _reclassify(review / "one.geojson", {1: "ADH", 2: "UDH"})
    if is_old:
        _to_version_0_1(review)
    for path in (review, review / "one.geojson"):
        results = read_review_results(path, CLASSES)
        assert [results.labels.get(id) for id in _exported_ids()] == ["no lesion", "lesion", None]
        assert results.unreviewed == 1


def test_other_objects_in_an_export_are_no_results(review: Path) -> None:
    everything = Regions.of([*read_geojson(review / "one.geojson").regions, square(0, 0, 10, "Whatever")])
    write_geojson(everything, review.parent / "export.geojson")
    assert read_review_results(review.parent / "export.geojson", CLASSES).unreviewed == 3


def test_all_words_that_are_not_understood_are_reported(review: Path) -> None:
    _fill(review, ["perhaps not", "yes", "Normal"])
    with pytest.raises(AnnotationError) as raised:
        read_review_results(review / "review.csv", CLASSES)
    assert "row 2: 'perhaps not'" in raised.value.fault
    assert "row 4: 'Normal'" in raised.value.fault
    assert "row 3" not in raised.value.fault

    # a class that is annotated on the slides is understood
    _fill(review, ["", "yes", "Normal"])
    results = read_review_results(review / "review.csv", CLASSES, ["Normal"])
    assert sorted(results.labels.values()) == ["lesion", "no lesion"]


def test_a_detection_with_two_results_is_reported(review: Path) -> None:
    _fill(review, ["", "yes", ""])
    _reclassify(review / "one.geojson", {2: "ADH"})
    with pytest.raises(AnnotationError) as raised:
        read_review_results(review, CLASSES)
    assert "review 2" in raised.value.fault


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"", b"\xff\xfe\x00"])
def test_a_file_that_is_no_review_table_is_reported(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "review.csv"
    path.write_bytes(content)
    for where in (path, tmp_path / "nowhere.csv"):
        with pytest.raises(AnnotationError) as raised:
            read_review_results(where, CLASSES)
        assert raised.value.where == str(where)


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("UDH", "lesion"),
        ("udh", "lesion"),
        ("UDH-unsure", "unclear"),
        ("ADH", "no lesion"),
        ("NO", "no lesion"),
        ("review: ?", None),
        ("audit: ?", None),
        ("", None),
        ("Tumour", None),
        ("Reviewed", None),
    ],
)
def test_words_and_classes_are_understood(word: str, label: str | None) -> None:
    assert parse_review_label(word, CLASSES) == label


# ---------------------------------------------------------------- results are applied


def test_reviewed_lesions_are_true_positives_and_unclear_ones_are_ignored(review: Path) -> None:
    _fill(review, ["no", "lesion", "unclear"])
    results = read_review_results(review, CLASSES)
    before = compare_lesions(reference(TRUTH, name="one"), DETECTED, 0.5)
    after = compare_with_review(reference(TRUTH, name="one"), before, results)
    counts = [count_lesions([slide]) for slide in (before, after)]
    assert [(c.lesions, c.true_positives, c.false_positives, c.ignored) for c in counts] == [
        (1, 1, 3, 0),
        (2, 2, 1, 1),
    ]
    assert "3" in review_notes(results, {"one": before}, review)[0]
    with pytest.raises(AnnotationError) as raised:
        review_notes(results, {"two": compare(Regions(), Regions())}, review)
    assert raised.value.where == str(review)


def test_a_reviewed_lesion_that_is_not_detected_any_more_stays_a_lesion(review: Path) -> None:
    _fill(review, ["", "lesion", ""])
    results = read_review_results(review, CLASSES)
    on_slide = reference(TRUTH, name="one")
    after = compare_with_review(on_slide, compare_lesions(on_slide, Regions()), results)
    assert len(after.false_negatives()) == 2

    # on another slide it is none
    on_other = reference(TRUTH, name="two")
    other = compare_with_review(on_other, compare_lesions(on_other, Regions()), results)
    assert len(other.lesions) == 1
