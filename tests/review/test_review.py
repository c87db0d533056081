"""The storage of a review: log, replay, conflicts, undo, GeoJSON, tables."""

import csv
import json
import multiprocessing
import random
from pathlib import Path

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.detection.results import ResultFolder
from histoscout.errors import AnnotationError, HistoscoutError, ReviewError
from histoscout.geometry.regions import Region, Regions
from histoscout.review.agreement import measure_agreement
from histoscout.review.log import LOG, read_log
from histoscout.review.operation import (
    KINDS,
    Kind,
    Operation,
    dump_operation,
    read_operation,
    write_operation,
)
from histoscout.review.review import Review, found_class
from histoscout.review.state import SlideReview, replay
from histoscout.review.tables import write_validation

FOUND = Regions.of(
    Region(shapely.box(100 * i, 0, 100 * i + 50, 50), "UDH", 0.9 - i / 10, id=f"r{i}") for i in range(5)
)
IDS = [region.id for region in FOUND]


def operation(
    kind: Kind,
    *sources: str,
    reader: str = "AB",
    slide: str = "A1",
    regions: tuple[Region, ...] = (),
    versions: dict[str, str] | None = None,
    label: str = "",
) -> Operation:
    return Operation(
        kind=kind,
        reader=reader,
        slide=slide,
        sources=sources,
        regions=regions,
        versions=versions or {},
        label=label,
    )


def square(x: float, size: float = 30, label: str = "UDH", id: str = "") -> Region:
    region = Region(shapely.box(x, 200, x + size, 200 + size), label)
    return Region(region.outline, label, id=id) if id else region


@pytest.fixture
def review(tmp_path: Path) -> Review:
    return Review(tmp_path / "review", lambda slide: FOUND)


# ---------------------------------------------------------------- random sequences of what readers do


@st.composite
def sessions(draw: st.DrawFn) -> list[tuple[str, int, str, float]]:
    step = st.tuples(
        st.sampled_from(sorted(KINDS)),
        st.integers(0, 10),
        st.sampled_from(["AB", "CD"]),
        st.integers(1, 400).map(float),
    )
    return draw(st.lists(step, max_size=14))


def act(review: Review, steps: list[tuple[str, int, str, float]]) -> None:
    """Do what the steps say, as far as it is possible on the regions that exist."""
    for kind, number, reader, x in steps:
        state = review.slide("A1")
        there = [
            one for one in [*IDS, *state.regions] if one not in state.regions or state.regions[one].exists
        ]
        there = list(dict.fromkeys(there))
        source = there[number % len(there)] if there else ""
        versions = {source: state.regions[source].version if source in state.regions else ""}
        if kind == "undo":
            try:
                review.undo("A1", reader)
            except ReviewError:
                continue
        elif kind in ("add", "area"):
            review.record(operation(kind, reader=reader, regions=(square(x),)))  # type: ignore[arg-type]
        elif kind == "no lesion":
            review.record(operation("no lesion", reader=reader))
        elif not source:
            continue
        elif kind == "edit":
            new = (square(x, id=source),)
            review.record(operation("edit", source, reader=reader, regions=new, versions=versions))
        elif kind == "split":
            parts = (square(x), square(x + 40))
            review.record(operation("split", source, reader=reader, regions=parts, versions=versions))
        elif kind == "merge":
            if len(there) > 1:
                two = (source, there[(number + 1) % len(there)])
                review.record(operation("merge", *two, reader=reader, regions=(square(x),)))
        else:
            label = "ADH" if kind == "reclass" else ""
            review.record(operation(kind, source, reader=reader, versions=versions, label=label))  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=sessions())
def test_the_replayed_log_is_the_state_that_was_shown(
    steps: list[tuple[str, int, str, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("review")
    review = Review(folder, lambda slide: FOUND)
    act(review, steps)
    again = Review(folder, lambda slide: FOUND)
    assert again.slide("A1") == review.slide("A1")
    assert replay("A1", read_log(folder / LOG).operations) == review.slide("A1")
    assert again.regions("A1") == review.regions("A1")
    # the file for QuPath says the same
    for path in again.write_geojson():
        assert read_geojson(path).regions == again.regions("A1")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=sessions(), data=st.data())
def test_a_crash_at_any_byte_loses_no_confirmed_operation(
    steps: list[tuple[str, int, str, float]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("review")
    act(Review(folder, lambda slide: FOUND), steps)
    log = folder / LOG
    content = log.read_bytes() if log.exists() else b""
    lines = content.splitlines(keepends=True)
    # the process dies while it writes the next line
    torn = dump_operation(operation("reject", "r0", regions=(FOUND[0],)))
    cut = data.draw(st.integers(0, len(torn) - 1))
    log.write_bytes(content + torn[:cut])
    review = Review(folder, lambda slide: FOUND)
    assert len(review.operations("A1")) == len(lines)
    assert not review.notes

    # the next process goes on; the torn line is left out with a note, unless only its end is missing
    last = operation("no lesion", reader="EF")
    review.record(last)
    kept = Review(folder).operations("A1")
    complete = cut == len(torn) - 1
    assert len(kept) == len(lines) + 1 + complete
    assert kept[-1] == last
    assert [dump_operation(one) for one in kept[: len(lines)]] == lines
    assert len(Review(folder).notes) == (cut > 0 and not complete)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(IDS),
            st.sampled_from(["accept", "reject", "unclear", "edit", "delete"]),
            st.booleans(),
        ),
        unique_by=lambda step: (step[0], step[2]),
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_independent_operations_does_not_matter(
    steps: list[tuple[str, Kind, bool]], chance: random.Random
) -> None:
    # a reader judges each region once; two readers may judge the same one, but only one may change it
    changed = {source for source, kind, _ in steps if kind in ("edit", "delete")}
    found = {region.id: region for region in FOUND}
    operations = [
        operation(
            kind,
            source,
            reader="AB" if first else "CD",
            regions=(square(7, id=source) if kind == "edit" else found[source],),
        )
        for source, kind, first in steps
        if source not in changed or first
    ]
    shuffled = list(operations)
    chance.shuffle(shuffled)
    state, other = replay("A1", operations), replay("A1", shuffled)
    assert other == state
    assert other.regions.keys() == state.regions.keys()


def _append_many(folder: Path, reader: str, count: int) -> None:
    review = Review(folder)
    for number in range(count):
        review.record(operation("add", reader=reader, regions=(square(number, id=f"{reader}{number}"),)))


def test_several_processes_append_without_loss(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_append_many, args=(tmp_path, reader, 25)) for reader in ("AB", "CD", "EF")
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    state = Review(tmp_path).slide("A1")
    assert len(state.regions) == 75
    assert not Review(tmp_path).notes


# ---------------------------------------------------------------- what single operations do


def test_verdicts_of_two_readers_stand_side_by_side(review: Review) -> None:
    review.record(operation("accept", "r0"))
    state = review.record(operation("reject", "r0", reader="CD"))
    assert state.outcome("r0") == "differ"
    assert {reader: verdict.decision for reader, verdict in state.regions["r0"].verdicts.items()} == {
        "AB": "accept",
        "CD": "reject",
    }
    assert review.record(operation("accept", "r0", reader="CD")).outcome("r0") == "accept"


def test_the_second_of_two_browsers_gets_a_conflict_and_nothing_is_lost(tmp_path: Path) -> None:
    first, second = (Review(tmp_path, lambda slide: FOUND) for _ in range(2))
    first.record(operation("edit", "r0", regions=(square(1, id="r0"),), versions={"r0": ""}))
    late = operation("edit", "r0", reader="CD", regions=(square(9, id="r0"),), versions={"r0": ""})
    state = second.record(late)
    assert [conflict.id for conflict in state.conflicts] == [late.id]
    assert state.regions["r0"].region.outline.bounds[0] == 1
    # done again on what is there now
    again = Operation(
        kind="edit",
        reader="CD",
        slide="A1",
        sources=("r0",),
        regions=late.regions,
        versions={"r0": state.regions["r0"].version},
    )
    assert second.record(again).regions["r0"].region.outline.bounds[0] == 9
    solved = second.record(Operation(kind="undo", reader="CD", slide="A1", undoes=late.id))
    assert not solved.conflicts
    assert first.slide("A1") == solved


def test_an_operation_sent_twice_is_saved_once(review: Review) -> None:
    once = operation("accept", "r0")
    assert review.record(once) == review.record(once)
    assert len(review.operations("A1")) == 1


def test_undo_goes_back_without_end_and_undo_of_undo_does_it_again(review: Review) -> None:
    states = [review.slide("A1")]
    for one in (
        operation("accept", "r0"),
        operation("edit", "r0", regions=(square(3, id="r0"),), versions={"r0": ""}),
        operation("merge", "r1", "r2", regions=(square(5, id="new"),)),
        operation("delete", "new"),
    ):
        states.append(review.record(one))
    for earlier in states[-2::-1]:
        assert review.undo("A1", "AB") == earlier
    with pytest.raises(ReviewError):
        review.undo("A1", "AB")
    last = review.operations("A1")[-1]
    redone = review.record(Operation(kind="undo", reader="AB", slide="A1", undoes=last.id))
    assert redone == states[1]


def test_what_others_built_on_is_not_undone(review: Review) -> None:
    added = operation("add", regions=(square(5, id="new"),))
    review.record(added)
    review.record(operation("reject", "new", reader="CD"))
    with pytest.raises(ReviewError, match="CD"):
        review.undo("A1", "AB")
    review.undo("A1", "CD")
    assert not review.undo("A1", "AB").regions


def test_a_deleted_detection_stays_a_negative_and_a_deleted_drawing_is_gone(review: Review) -> None:
    review.record(operation("delete", "r0"))
    review.record(operation("add", regions=(square(5, id="mine"),)))
    state = review.record(operation("delete", "mine"))
    assert state.outcome("r0") == "reject"
    shown = {region.id: region.label for region in review.regions("A1")}
    assert shown["r0"] == "UDH: rejected"
    assert "mine" not in shown


def test_a_slide_without_lesion_rejects_what_was_not_judged(review: Review) -> None:
    review.record(operation("accept", "r1"))
    state = review.record(operation("no lesion"))
    assert [state.outcome(one) for one in IDS] == ["reject", "accept", "reject", "reject", "reject"]
    assert review.regions("A1").with_labels("UDH: rejected").labels == ["UDH: rejected"]


def test_a_reviewed_detection_outlives_another_run_of_the_detector(tmp_path: Path) -> None:
    Review(tmp_path, lambda slide: FOUND).record(operation("reject", "r3"))
    later = Review(tmp_path)
    assert later.slide("A1").regions["r3"].region == FOUND[3]
    assert later.regions("A1").labels == ["UDH: rejected"]


@pytest.mark.parametrize(
    "wrong",
    [
        operation("accept", "nowhere"),
        operation("accept"),
        operation("accept", "r0", "r1"),
        operation("edit", "nowhere", regions=(square(1, id="nowhere"),)),
        operation("edit", "r0", regions=(square(1),)),
        operation("add", regions=(square(1, id="r0"),)),
        operation("split", "r0", regions=(square(1),)),
        operation("merge", "r0", regions=(square(1),)),
        operation("reclass", "r0"),
        operation("undo"),
        operation("accept", "r0", slide="../r0"),
        operation("accept", "r0", reader=" "),
        operation("no lesion", slide="x" * 2000),
        Operation(kind="undo", reader="AB", slide="A1", undoes="nothing"),
    ],
)
def test_impossible_operations_are_refused_and_not_saved(review: Review, wrong: Operation) -> None:
    with pytest.raises(ReviewError):
        review.record(wrong)
    assert not review.operations(wrong.slide)


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        {"kind": "explode"},
        {"kind": "accept", "reader": 3},
        {"kind": "accept", "sources": "r0"},
        {"kind": "accept", "versions": {"r0": 1}},
        {"kind": "add", "regions": [7]},
        {"kind": "add", "regions": [{"outline": {"type": "Point", "coordinates": [1, 2]}}]},
        {"kind": "add", "regions": [{"outline": {"type": "Polygon", "coordinates": [[["a", 0]]]}}]},
        {"kind": "add", "regions": [{"label": 4}]},
    ],
)
def test_values_that_are_no_operation_are_refused(values: object) -> None:
    with pytest.raises((ReviewError, AnnotationError)) as raised:
        read_operation(values)
    assert isinstance(raised.value, HistoscoutError)


def test_an_outline_that_crosses_itself_is_repaired(review: Review) -> None:
    bow = Region(shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)]), "UDH", id="bow")
    state = review.record(operation("add", regions=(bow,)))
    assert state.regions["bow"].region.outline.is_valid
    assert state.regions["bow"].region.outline.area == 50


def test_operations_survive_json() -> None:
    holed = Region(
        shapely.Polygon([(0, 0), (9, 0), (9, 9)], [[(4, 2), (6, 2), (6, 4)]]), "α <b>", 0.25, id="x y"
    )
    one = operation("edit", "x y", regions=(holed,), versions={"x y": "v"})
    assert read_operation(json.loads(json.dumps(write_operation(one)))) == one


# ---------------------------------------------------------------- agreement, tables, results


def test_kappa_of_the_textbook_example(tmp_path: Path) -> None:
    review = Review(tmp_path)
    # 20 both yes, 5 and 10 one yes, 15 both no: kappa 0.4
    counts: dict[tuple[Kind, Kind], int] = {
        ("accept", "accept"): 20,
        ("accept", "reject"): 5,
        ("reject", "accept"): 10,
        ("reject", "reject"): 15,
    }
    answers = [pair for pair, count in counts.items() for _ in range(count)]
    operations = [
        operation(kind, f"r{number}", reader=reader, regions=(square(number, id=f"r{number}"),))
        for number, pair in enumerate(answers)
        for reader, kind in zip(("AB", "CD"), pair, strict=True)
    ]
    agreement = measure_agreement([replay("A1", operations)], "AB", "CD")
    assert (agreement.regions, agreement.agreed, len(agreement.differing)) == (50, 35, 15)
    assert agreement.kappa == pytest.approx(0.4)
    assert measure_agreement([review.slide("A1")], "AB", "CD").kappa is None


def test_tables_of_validation_count_what_was_accepted(review: Review, tmp_path: Path) -> None:
    review.record(operation("accept", "r0"))
    review.record(operation("reclass", "r1", label="ADH"))
    review.record(operation("reject", "r2"))
    tables = write_validation(review, {"A1": 2.0}, tmp_path)
    with tables.slides.open(newline="") as file:
        rows = {row["label"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"ADH", "UDH"}
    assert float(rows["UDH"]["area_mm2"]) == pytest.approx(50 * 50 * 4e-6)
    assert (rows["UDH"]["rejected"], rows["UDH"]["open"], rows["UDH"]["reader"]) == ("1", "2", "AB")
    with tables.regions.open(newline="") as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == ["accept", "accept", "reject"]


def test_the_detectors_own_files_stay_as_they_are(tmp_path: Path) -> None:
    output = ResultFolder(tmp_path)
    own = output.regions("A1")
    write_geojson(FOUND.relabel(lambda label: f"{label}: found"), own)
    before = own.read_bytes()
    review = Review.of_results(output)
    review.record(operation("edit", "r0", regions=(square(1, id="r0", label="UDH: found"),)))
    review.record(operation("reject", "r1"))
    review.write_geojson()
    assert own.read_bytes() == before
    assert review.regions("A1").labels == ["UDH", "UDH: found", "UDH: rejected"]
    assert found_class("UDH: rejected") == "UDH"


def test_an_empty_review_writes_nothing(tmp_path: Path) -> None:
    review = Review(tmp_path / "review")
    assert review.slide("A1") == SlideReview(slide="A1")
    assert not review.slide("A1").started
    assert not review.write_geojson()
    assert not review.folder.exists()
