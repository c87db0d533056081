"""What comes back from QuPath: accepted, edited, deleted and added regions are recognized by id, once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import scale, translate

from histoscout.annotations.found import mark_found
from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.errors import ReviewError
from histoscout.geometry.regions import Region, Regions
from histoscout.review.changes import Change, Returned, SlideChanges, find_changes, record_changes
from histoscout.review.operation import Operation
from histoscout.review.review import Review
from histoscout.review.statement import read_statement, region_key, same_outline
from tests.review.test_review import FOUND, IDS, act, operation, sessions, square

SLIDE = "A1"


def returned(regions: Sequence[Region], reader: str = "QP", **options: Regions) -> Returned:
    return Returned(slide=SLIDE, regions=Regions.of(regions), reader=reader, **options)


def exported(review: Review, folder: Path) -> list[Region]:
    """The regions of a slide as QuPath shows and exports them again: in single precision, without private values."""
    path = folder / "export.geojson"
    write_geojson(review.regions(SLIDE), path)
    return [
        replace(
            region,
            id=region_key(region.id),
            outline=shapely.transform(
                region.outline, lambda points: points.astype(np.float32).astype(np.float64)
            ),
        )
        for region in read_geojson(path).regions
    ]


def kinds(changes: SlideChanges) -> dict[str, int]:
    return {str(kind): number for kind, number in changes.counts.items()}


@pytest.fixture
def review(tmp_path: Path) -> Review:
    return Review(tmp_path / "review", lambda slide: mark_found(FOUND))


def test_what_was_not_touched_is_no_change(review: Review, tmp_path: Path) -> None:
    assert not find_changes(review, returned(exported(review, tmp_path))).changes


@settings(max_examples=20)
@given(steps=sessions())
def test_after_any_session_an_export_comes_back_without_change(
    steps: list[tuple[str, int, str, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("session")
    review = Review(folder / "review", lambda slide: FOUND)
    act(review, steps)
    assert not find_changes(review, returned(exported(review, folder))).changes


EDITS = st.lists(
    st.sampled_from(["leave", "accept", "other class", "edit", "reject", "unclear", "delete"]),
    min_size=len(FOUND),
    max_size=len(FOUND),
)


def edit(regions: Sequence[Region], edits: Sequence[str]) -> list[Region]:
    """What a reader makes of the regions in QuPath."""
    labels = {"accept": "UDH", "other class": "ADH", "reject": "UDH: rejected", "unclear": "UDH: unclear"}
    edited = []
    for region, what in zip(regions, edits, strict=True):
        if what == "edit":
            edited.append(replace(region, outline=scale(region.outline, 1.2, 1.2)))
        elif what != "delete":
            edited.append(replace(region, label=labels.get(what, region.label)))
    return edited


KINDS = {
    "accept": "accepted",
    "other class": "other class",
    "edit": "edited",
    "reject": "no lesion",
    "delete": "no lesion",
    "unclear": "unclear",
}


@settings(max_examples=20)
@given(edits=EDITS, added=st.integers(0, 3))
def test_each_change_is_recognized_and_taken_once(
    edits: list[str], added: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("edits")
    review = Review(folder / "review", lambda slide: FOUND)
    new = [square(1000.0 + 50 * number) for number in range(added)]
    back = [*edit(exported(review, folder), edits), *new]
    changes = find_changes(review, returned(back))
    wanted = [KINDS[what] for what in edits if what != "leave"] + ["added"] * added
    assert sorted(change.kind for change in changes.changes) == sorted(wanted)
    assert record_changes(review, [changes]) == 0

    # the state is what the reader made of it
    state = review.slide(SLIDE)
    outcomes = {"edit": "accept", "other class": "accept", "delete": "reject", "leave": "open"}
    assert [state.outcome(one) for one in IDS] == [outcomes.get(what, what) for what in edits]
    assert {region.id for region in new} <= {one.region.id for one in state.existing}
    for one, what in zip(IDS, edits, strict=True):
        if what == "other class":
            assert state.regions[one].label == "ADH"
        if what == "edit":
            assert state.regions[one].region.score is not None

    # taking it again, or the file as it is now, changes nothing
    assert not find_changes(review, returned(back)).changes
    assert not find_changes(review, returned(exported(review, folder))).changes


def test_regions_that_lost_their_ids_are_found_by_their_outlines(review: Review, tmp_path: Path) -> None:
    back = [Region(region.outline, region.label) for region in exported(review, tmp_path)]
    assert not find_changes(review, returned(back)).changes
    back[0] = replace(back[0], label="UDH")
    assert kinds(find_changes(review, returned(back))) == {"accepted": 1}


def test_split_merged_and_redrawn_regions_are_edits_and_no_false_positives(
    review: Review, tmp_path: Path
) -> None:
    back = exported(review, tmp_path)
    left, right = (shapely.box(x, 0, x + 24, 50) for x in (0, 26))
    redrawn = Region(scale(back[1].outline, 1.1, 1.1), "UDH")
    merged = Region(shapely.box(200, 0, 350, 50), "UDH")
    changes = find_changes(
        review, returned([Region(left, "UDH"), Region(right, "UDH"), redrawn, merged, back[4]])
    )
    assert sorted(change.operation.kind for change in changes.changes) == ["edit", "merge", "split"]
    assert record_changes(review, [changes]) == 0
    assert len(review.slide(SLIDE).existing) == 4
    assert not find_changes(review, returned(exported(review, tmp_path))).changes


def test_annotations_of_the_cohort_are_not_taken(review: Review, tmp_path: Path) -> None:
    reference = square(700, label="UDH", id="reference 1")
    shown = replace(reference, id=region_key(reference.id), properties={"isLocked": True})
    back = [*exported(review, tmp_path), shown]
    changes = find_changes(review, returned(back, references=Regions.of([reference])))
    assert not changes.changes
    assert not changes.notes
    moved = replace(shown, outline=translate(shown.outline, 9, 0))
    changes = find_changes(review, returned([*back[:-1], moved], references=Regions.of([reference])))
    assert not changes.changes
    assert len(changes.notes) == 1


def test_what_nobody_drew_is_left_out_with_a_note(review: Review, tmp_path: Path) -> None:
    cell = square(700)
    back = [
        *exported(review, tmp_path),
        replace(cell, properties={"objectType": "cell"}),
        square(800, label=""),
        square(900, label="UDH: found"),
    ]
    changes = find_changes(review, returned(back))
    assert not changes.changes
    assert len(changes.notes) == 3


def test_copies_under_one_id_are_taken_once(review: Review, tmp_path: Path) -> None:
    new = square(700)
    changes = find_changes(review, returned([*exported(review, tmp_path), new, new]))
    assert kinds(changes) == {"added": 1}
    assert len(changes.notes) == 1


def test_operations_are_recorded_together_or_not_at_all(review: Review) -> None:
    good, bad = operation("accept", IDS[0]), operation("accept", "nowhere")
    with pytest.raises(ReviewError):
        review.record_all([good, bad])
    assert not review.slides
    with pytest.raises(ReviewError):
        review.record_all([good, operation("accept", IDS[1], slide="A2")])
    assert len(review.record_all([good, operation("reject", IDS[1])]).regions) == 2
    assert len(review.operations(SLIDE)) == 2


def test_a_reviewed_area_is_taken_once(review: Review, tmp_path: Path) -> None:
    back = [*exported(review, tmp_path), square(0, 900, label="Reviewed")]
    changes = find_changes(review, returned(back))
    assert kinds(changes) == {"area": 1}
    record_changes(review, [changes])
    assert len(review.slide(SLIDE).areas) == 1
    assert not find_changes(review, returned(back)).changes


def test_a_negative_that_somebody_drew_is_kept_as_one(review: Review, tmp_path: Path) -> None:
    changes = find_changes(
        review, returned([*exported(review, tmp_path), square(700, label="UDH: rejected")])
    )
    assert kinds(changes) == {"no lesion": 1}
    record_changes(review, [changes])
    assert [one.outcome for one in review.slide(SLIDE).regions.values()] == ["reject"]


def test_an_old_file_does_not_undo_what_was_done_since(review: Review, tmp_path: Path) -> None:
    old = exported(review, tmp_path)
    drawn = square(700)
    review.record(operation("edit", IDS[0], regions=(square(5, id=IDS[0]),)))
    review.record(operation("reject", IDS[1]))
    review.record(operation("add", regions=(drawn,)))
    changes = find_changes(review, returned(old))
    assert not changes.changes
    # nobody knows whether the file ever held what was drawn since
    assert any("drawn since" in note for note in changes.notes)


def test_a_project_knows_what_it_was_given(review: Review, tmp_path: Path) -> None:
    drawn = square(700)
    review.record(operation("add", regions=(drawn,)))
    snapshot = review.regions(SLIDE)
    back = exported(review, tmp_path)
    without = [region for region in back if region.id != region_key(drawn.id)]
    assert kinds(find_changes(review, returned(without, given=snapshot))) == {"no lesion": 1}

    # somebody else edits the same region meanwhile: a conflict, and nothing is lost
    back[0] = replace(back[0], outline=scale(back[0].outline, 1.3, 1.3))
    changes = find_changes(review, returned(back, given=snapshot))
    review.record(operation("edit", IDS[0], regions=(square(5, id=IDS[0]),)))
    assert record_changes(review, [changes]) == 1
    assert same_outline(review.slide(SLIDE).regions[IDS[0]].region.outline, square(5).outline)


def test_files_of_earlier_versions_confirm_nothing_by_their_class(tmp_path: Path) -> None:
    review = Review(tmp_path / "review", lambda slide: FOUND)
    changes = find_changes(review, returned(list(FOUND), findings=FOUND))
    assert not changes.changes


@pytest.mark.parametrize(
    ("label", "decision", "base"),
    [
        ("UDH", "accept", "UDH"),
        ("Tumor: Invasive", "accept", "Tumor: Invasive"),
        ("UDH: found", None, "UDH"),
        ("UDH: differ", None, "UDH"),
        ("Tumor: Invasive: rejected", "reject", "Tumor: Invasive"),
        ("rejected", "reject", ""),
        ("UDH: unclear", "unclear", "UDH"),
        ("Ignore*", "unclear", ""),
        ("", None, ""),
    ],
)
def test_what_a_class_says(label: str, decision: str | None, base: str) -> None:
    said = read_statement(label)
    assert (said.decision, said.label) == (decision, base)


def test_many_regions_are_compared_in_a_moment(tmp_path: Path) -> None:
    many = Regions.of(
        Region(shapely.Point(60 * (i % 50), 60 * (i // 50)).buffer(20), "UDH", 0.5, id=f"m{i}")
        for i in range(300)
    )
    review = Review(tmp_path / "review", lambda slide: mark_found(many))
    lost = [Region(region.outline, "UDH") for region in many]
    changes = find_changes(review, returned(lost))
    assert kinds(changes) == {"accepted": 300}


def test_a_change_names_its_operation() -> None:
    accept = Operation(kind="accept", reader="AB", slide=SLIDE, sources=("r1",))
    assert SlideChanges(SLIDE, (Change("accepted", accept),)).counts == {"accepted": 1}
