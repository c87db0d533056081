"""A cohort of corrections: what becomes an annotation, a hard negative, ignored or negative, and which patients may not."""

from pathlib import Path

import pytest
import shapely

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cohort.annotated_slide import drawn_only, labeled_regions
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.errors import OutputError, ReviewError
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe_sections import ClassConfig
from histoscout.review.cohort import (
    collect_corrections,
    make_corrected_cohort,
    write_corrected_cohort,
)
from histoscout.review.operation import Operation
from histoscout.review.review import Review
from tests.review.test_review import FOUND, IDS, operation, square


@pytest.fixture
def review(tmp_path: Path) -> Review:
    return Review(tmp_path / "review", lambda slide: FOUND)


def cases(folder: Path, *names: str, split: str | None = None) -> list[Case]:
    """Cases whose slide files exist."""
    for name in names:
        (folder / f"{name}.tif").touch()
    return [Case(folder / f"{name}.tif", None, f"patient {name}", split=split) for name in names]  # type: ignore[arg-type]


def by_id(regions: Regions) -> dict[str, str]:
    return {region.id: region.label for region in regions}


def test_each_verdict_has_its_place(review: Review) -> None:
    new = square(700)
    review.record(operation("accept", IDS[0]))
    review.record(operation("edit", IDS[1], regions=(square(105, id=IDS[1]),)))
    review.record(operation("reclass", IDS[2], label="ADH"))
    review.record(operation("delete", IDS[3]))
    review.record(operation("add", regions=(new,)))
    review.record(operation("area", regions=(square(0, 900),)))
    made = collect_corrections(review, "A1")
    assert by_id(made.annotations) == {IDS[0]: "UDH", IDS[1]: "UDH", IDS[2]: "ADH", new.id: "UDH"}
    assert by_id(made.rejected) == {IDS[3]: "UDH: rejected"}
    assert by_id(made.ignored) == {IDS[4]: "ignore"}
    assert made.areas.labels == ["reviewed"]
    assert not made.negative


def test_unclear_and_differing_verdicts_are_ignored(review: Review) -> None:
    review.record(operation("unclear", IDS[0]))
    review.record(operation("accept", IDS[1], reader="AB"))
    review.record(operation("reject", IDS[1], reader="CD"))
    made = collect_corrections(review, "A1")
    assert set(by_id(made.ignored)) == set(IDS)
    assert not made.teach


def test_what_its_drawer_deleted_is_no_hard_negative(review: Review) -> None:
    new = square(700)
    review.record(operation("add", regions=(new,)))
    review.record(operation("delete", new.id))
    assert new.id not in by_id(collect_corrections(review, "A1").regions)


def test_annotations_win_over_hard_negatives_and_these_over_what_is_ignored(review: Review) -> None:
    review.record(operation("reject", IDS[0]))
    over = Region(shapely.box(25, 0, 120, 50), "UDH")
    review.record(operation("add", regions=(over,)))
    made = collect_corrections(review, "A1")
    (rejected,) = made.rejected
    assert rejected.outline.area == 25 * 50
    assert all(not one.outline.intersection(over.outline).area for one in made.ignored)


def test_a_slide_without_lesion_is_negative_and_its_findings_are_hard_negatives(
    review: Review, tmp_path: Path
) -> None:
    review.record(operation("no lesion"))
    made = collect_corrections(review, "A1")
    assert made.negative
    assert set(by_id(made.rejected)) == set(IDS)
    empty = Review(tmp_path / "other", lambda slide: Regions())
    empty.record(operation("no lesion"))
    cohort = make_corrected_cohort(empty, cases(tmp_path, "A1"), tmp_path / "out").cohort
    assert cohort.cases[0].negative
    assert cohort.cases[0].annotations is None


def test_the_cohort_is_read_as_it_was_made(review: Review, tmp_path: Path) -> None:
    review.record(operation("accept", IDS[0]))
    review.record(operation("reject", IDS[1]))
    made = make_corrected_cohort(review, cases(tmp_path, "A1", "A2"), tmp_path / "out")
    table = write_corrected_cohort(made, tmp_path / "out")
    (case,) = read_cohort(table).cases
    assert case.patient == "patient A1"
    # a recipe for the class of the model: the rejected region keeps a name of its own, and is sampled as a look-alike
    labels = {
        region.id: region.label for region in labeled_regions(case, ClassConfig(positive="UDH")).regions
    }
    assert labels == {
        IDS[0]: "UDH",
        IDS[1]: "UDH: rejected",
        **dict.fromkeys(IDS[2:], "ignore"),
    }
    # outlines of a detection cannot be displaced, so that the check of alignment leaves them out
    assert not drawn_only(labeled_regions(case, ClassConfig(positive="UDH")).regions)
    with pytest.raises(OutputError):
        write_corrected_cohort(made, tmp_path / "out")
    write_corrected_cohort(made, tmp_path / "out", overwrite=True)


def test_patients_of_the_test_split_do_not_become_training_data(review: Review, tmp_path: Path) -> None:
    for slide in ("A1", "A2"):
        review.record(operation("accept", IDS[0], slide=slide))
    found = cases(tmp_path, "A1", "A2")
    # the cohort spells the patient in another way
    base = Cohort((Case(tmp_path / "B.tif", None, "Patient_A1", split="test"),), "base")
    with pytest.raises(ReviewError, match="patient A1"):
        make_corrected_cohort(review, found, tmp_path / "out", base=base)
    made = make_corrected_cohort(review, found, tmp_path / "out", base=base, skip_test=True)
    assert [case.name for case in made.cohort.cases] == ["B", "A2"]
    # also where the results themselves name the split
    with pytest.raises(ReviewError):
        make_corrected_cohort(review, cases(tmp_path, "A1", split="test"), tmp_path / "out")


def test_corrections_are_added_to_a_cohort(review: Review, tmp_path: Path) -> None:
    review.record(operation("accept", IDS[0]))
    review.record(operation("reject", IDS[1]))
    drawn = Regions.of([Region(shapely.box(110, 0, 130, 50), "UDH", id="drawn"), square(900, label="ADH")])
    write_geojson(drawn, tmp_path / "A1.geojson")
    (found,) = cases(tmp_path, "A1")
    other = Case(tmp_path / "B.tif", None, "p2", split="tune")
    listed = Case(tmp_path / "A1.svs", tmp_path / "A1.geojson", "p1", split="train")
    (tmp_path / "A1.svs").touch()
    made = make_corrected_cohort(review, [found], tmp_path / "out", base=Cohort((listed, other), "base"))
    table = write_corrected_cohort(made, tmp_path / "out")
    assert [(case.patient, case.split) for case in made.cohort.cases] == [("p1", "train"), ("p2", "tune")]
    written = read_geojson(tmp_path / "out" / "annotations" / "A1.geojson").regions
    assert {region.label for region in written} == {"UDH", "ADH", "UDH: rejected", "ignore"}
    # the reader rejected a finding over an outline of the cohort: that outline stays
    (rejected,) = written.with_labels("UDH: rejected")
    assert not rejected.outline.intersection(shapely.box(110, 0, 130, 50)).area
    assert table.read_text().count("\n") == 3


def test_a_review_without_decisions_or_slides_is_refused(review: Review, tmp_path: Path) -> None:
    with pytest.raises(ReviewError):
        make_corrected_cohort(review, cases(tmp_path, "A1"), tmp_path / "out")
    review.record(operation("unclear", IDS[0]))
    with pytest.raises(ReviewError):
        make_corrected_cohort(review, cases(tmp_path, "A1"), tmp_path / "out")
    review.record(Operation(kind="accept", reader="AB", slide="gone", sources=(IDS[0],)))
    with pytest.raises(ReviewError, match="gone"):
        make_corrected_cohort(review, [Case(tmp_path / "gone.tif")], tmp_path / "out")
