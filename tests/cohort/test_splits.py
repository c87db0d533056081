from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from histoscout.cohort.case import Case, SplitName
from histoscout.cohort.cohort import Cohort
from histoscout.cohort.splits import Split, read_split, split_cohort, write_split
from histoscout.errors import CohortError


def positive(case: Case) -> bool:
    """Slides of these tests show by their names whether they hold a lesion."""
    assert case.split != "test", "the test set must not be looked at"
    return "lesion" in case.name


def cohort(*slides: tuple[str, str, SplitName | None]) -> Cohort:
    return Cohort(
        tuple(Case(Path(f"{name}.svs"), patient=p, split=split) for name, p, split in slides), "here.csv"
    )


@st.composite
def cohorts(draw: st.DrawFn) -> Cohort:
    """Patients with one to three slides, some with lesions, some already in a split."""
    cases = []
    for patient in range(draw(st.integers(2, 12))):
        split: SplitName | None = draw(st.sampled_from([None, None, None, "train", "test"]))
        for slide in range(draw(st.integers(1, 3))):
            kind = draw(st.sampled_from(["lesion", "normal"]))
            cases.append(Case(Path(f"{kind}-{patient}-{slide}.svs"), patient=f"P{patient}", split=split))
    return Cohort(tuple(draw(st.permutations(cases))), "here.csv")


def splittable(drawn: Cohort) -> bool:
    return any("lesion" in case.name for case in drawn.cases if case.split != "test")


SHARES, SEEDS = st.floats(0.05, 0.95), st.integers(0, 10)


@given(cohorts(), SHARES, SEEDS)
def test_nothing_is_lost_and_no_patient_is_in_two_parts(drawn: Cohort, share: float, seed: int) -> None:
    assume(splittable(drawn))
    split = split_cohort(drawn, share, seed, positive)
    assert split.test == drawn.in_split("test").cases
    patients = [{case.patient for case in part} for part in (split.train, split.tune, split.test)]
    if split.blocks:
        assert split.train == split.tune
        assert set(split.train) | set(split.test) == set(drawn.cases)
        assert not patients[0] & patients[2]
        assert any("optimistic" in note for note in split.notes)
    else:
        assert len(split.train) + len(split.tune) + len(split.test) == len(drawn.cases)
        assert not patients[0] & patients[1] | patients[0] & patients[2] | patients[1] & patients[2]


@given(cohorts(), SHARES, SEEDS)
def test_both_sides_have_a_patient_with_lesions(drawn: Cohort, share: float, seed: int) -> None:
    assume(splittable(drawn))
    split = split_cohort(drawn, share, seed, positive)
    with_lesions = {case.patient for case in drawn.cases if case.split != "test" and positive(case)}
    assert split.blocks == (len(with_lesions) < 2)
    assert any(map(positive, split.train))
    assert any(map(positive, split.tune))


@given(cohorts(), SHARES, SEEDS)
def test_the_same_seed_gives_the_same_split_in_any_order(drawn: Cohort, share: float, seed: int) -> None:
    assume(splittable(drawn))
    split = split_cohort(drawn, share, seed, positive)
    turned = split_cohort(replace(drawn, cases=drawn.cases[::-1]), share, seed, positive)
    assert set(turned.train) == set(split.train)
    assert set(turned.tune) == set(split.tune)


@given(cohorts(), SHARES, SEEDS)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, drawn: Cohort, share: float, seed: int
) -> None:
    assume(splittable(drawn))
    path = tmp_path_factory.mktemp("law") / "split.csv"
    split = split_cohort(drawn, share, seed, positive)
    write_split(split, path)
    assert read_split(path, drawn) == split


def test_another_seed_gives_another_split() -> None:
    many = cohort(*((f"lesion{n}", f"P{n:02}", None) for n in range(20)))
    drawn = {split_cohort(many, 0.2, seed, positive).tune for seed in range(5)}
    assert len(drawn) > 1
    assert all(len(tune) == 4 for tune in drawn)


def test_turns_let_everybody_tune_before_anybody_does_twice() -> None:
    many = cohort(*((f"{'lesion' if n < 8 else 'normal'}{n}", f"P{n:02}", None) for n in range(20)))
    turns = [{case.patient for case in split_cohort(many, 0.25, 3, positive, turn).tune} for turn in range(4)]
    assert [len(turn) for turn in turns] == [2 + 3] * 4
    assert sum(len(turn) for turn in turns) == len(set().union(*turns)) == 20
    after = {case.patient for case in split_cohort(many, 0.25, 3, positive, 4).tune}
    assert after == turns[0]
    assert turns[0] == {case.patient for case in split_cohort(many, 0.25, 3, positive).tune}


def test_patients_with_and_without_lesions_are_divided_alike() -> None:
    many = cohort(*((f"{'lesion' if n < 5 else 'normal'}{n}", f"P{n:02}", None) for n in range(20)))
    tune = split_cohort(many, 0.4, 0, positive).tune
    assert sum(map(positive, tune)) == 2
    assert len(tune) == 2 + 6


def test_splits_of_the_table_are_kept() -> None:
    given_ = cohort(
        ("lesion1", "A", "train"), ("normal2", "B", "tune"), ("lesion3", "C", "test"), ("normal4", "D", None)
    )
    split = split_cohort(given_, 0.5, 0, positive)
    assert [case.patient for case in split.train] == ["A", "D"]
    assert [case.patient for case in split.tune] == ["B"]
    assert [case.patient for case in split.test] == ["C"]
    assert split.notes == ("no tuning slide has a positive region",)


def test_a_single_patient_is_tuned_on_in_blocks() -> None:
    split = split_cohort(cohort(("lesion1", "A", None), ("normal2", "B", None)), 0.2, 0, positive)
    assert split.blocks
    assert len(split.train) == 2


def test_a_small_tuning_set_is_noted() -> None:
    split = split_cohort(cohort(("lesion1", "A", None), ("lesion2", "B", None)), 0.2, 0, positive)
    assert split.notes == (
        f"only one patient with positive regions is left for tuning ({split.tune[0].patient})",
    )


@pytest.mark.parametrize(
    ("slides", "expected"),
    [
        ((("lesion1", "A", "test"),), "train"),
        ((("normal1", "A", None), ("lesion2", "B", "test")), "--positive"),
    ],
)
def test_nothing_to_learn_is_refused(
    slides: tuple[tuple[str, str, SplitName | None], ...], expected: str
) -> None:
    with pytest.raises(CohortError, match=expected):
        split_cohort(cohort(*slides), 0.2, 0, positive)


# ---------------------------------------------------------------- reading back

TWO = cohort(("lesion1", "A", None), ("lesion2", "B", None))
WRITTEN = Split(TWO.cases[:1], TWO.cases[1:], ())


def test_slides_that_moved_are_recognized_by_name_and_patient(tmp_path: Path) -> None:
    write_split(WRITTEN, tmp_path / "split.csv")
    moved = replace(TWO, cases=tuple(replace(case, slide=Path("new") / case.slide) for case in TWO.cases))
    assert [case.slide for case in read_split(tmp_path / "split.csv", moved).train] == [
        Path("new/lesion1.svs")
    ]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (cohort(("lesion1", "A", None)), "missing slides: lesion2.svs; new slides: none"),
        (
            cohort(("lesion1", "A", None), ("lesion2", "B", None), ("x", "C", None)),
            "missing slides: none; new slides: x",
        ),
    ],
)
def test_another_cohorts_split_is_refused(tmp_path: Path, other: Cohort, expected: str) -> None:
    write_split(WRITTEN, tmp_path / "split.csv")
    with pytest.raises(CohortError, match=expected):
        read_split(tmp_path / "split.csv", other)


@pytest.mark.parametrize(
    "content", [b"", b"a,b\n", b"part,slide,patient\nexam,a,b\n", b"\xff\xfe", b'part,"slide\n']
)
def test_what_is_no_split_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "split.csv").write_bytes(content)
    with pytest.raises(CohortError, match=r"split\.csv"):
        read_split(tmp_path / "split.csv", TWO)


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"split\.csv"):
        read_split(tmp_path / "split.csv", TWO)


def test_a_split_that_another_program_saved_is_read_with_a_note(tmp_path: Path) -> None:
    cases = (Case(tmp_path / "Ü.ome.tif", patient="001"), Case(tmp_path / "b.svs", patient="2"))
    text = "part,slide,patient\ntrain,C:\\old\\U\u0308.tif,1\ntest,C:\\old\\b.svs,2\n"
    (tmp_path / "split.csv").write_bytes(text.encode("utf-16"))
    split = read_split(tmp_path / "split.csv", Cohort(cases, "t.csv"))
    assert (split.train, split.test) == (cases[:1], cases[1:])
    assert any("UTF-16" in note for note in split.notes)
