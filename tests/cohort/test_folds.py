"""Every patient is kept apart once, whatever the cohort; the same seed, the same folds; a file says them again."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.cohort.folds import Folds, cohort_of_fold, draw_folds, read_folds, write_folds
from histoscout.errors import CohortError
from histoscout.recipe import Recipe

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[dict[str, bool], int]:
    names = draw(st.lists(NAMES, min_size=2, max_size=30, unique=True))
    positive = {name: number < 2 or draw(st.booleans()) for number, name in enumerate(names)}
    return positive, draw(st.integers(2, min(6, len(names))))


@given(cohorts(), st.integers(0, 99))
def test_every_patient_once_and_folds_alike(made: tuple[dict[str, bool], int], seed: int) -> None:
    positive, count = made
    folds = draw_folds(positive, count, seed)
    dealt = [patient for fold in folds.patients for patient in fold]
    assert sorted(dealt) == sorted(positive)
    sizes = [len(fold) for fold in folds.patients]
    having = [sum(positive[patient] for patient in fold) for fold in folds.patients]
    assert max(sizes) - min(sizes) <= 1
    assert max(having) - min(having) <= 1


@given(cohorts(), st.integers(0, 99), st.randoms())
def test_order_does_not_matter_and_the_seed_decides(
    made: tuple[dict[str, bool], int], seed: int, random: object
) -> None:
    positive, count = made
    turned = dict(reversed(list(positive.items())))
    assert draw_folds(positive, count, seed) == draw_folds(turned, count, seed)


def test_other_seeds_give_other_folds() -> None:
    positive = {f"p{number}": True for number in range(12)}
    assert len({draw_folds(positive, 4, seed) for seed in range(5)}) > 1


@given(made=cohorts(), seed=st.integers(0, 99))
def test_folds_are_read_back(
    made: tuple[dict[str, bool], int], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folds = draw_folds(*made, seed)
    path = tmp_path_factory.mktemp("folds") / "folds.csv"
    write_folds(folds, path)
    assert read_folds(path, list(made[0])) == folds


def test_a_fold_is_a_cohort_with_its_patients_apart() -> None:
    cases = tuple(
        Case(Path(f"{name}.tif"), patient=name[0], split="tune") for name in ("a1", "a2", "b1", "c1")
    )
    folds = Folds((("a",), ("b", "c")))
    part = cohort_of_fold(Cohort(cases, "cohort.csv"), folds, 1)
    assert [case.split for case in part.cases] == ["test", "test", "train", "train"]
    assert "fold 1" in part.where


@pytest.mark.parametrize(
    ("positive", "count", "words"),
    [
        ({"a": True, "b": True}, 1, "--folds"),
        ({"a": True, "b": True}, 3, "3 folds"),
        ({"a": True, "b": False, "c": False}, 2, "--positive"),
    ],
)
def test_what_makes_no_folds(positive: dict[str, bool], count: int, words: str) -> None:
    with pytest.raises(CohortError, match=words):
        draw_folds(positive, count, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("patient,fold\na,1\n", "folds.csv"),
        ("fold,patient\none,a\n", "folds.csv"),
        ("fold,patient\n1,a\n3,b\n", "folds .1, 3."),
        ("fold,patient\n1,a\n2,a\n2,b\n", ": a"),
        ("fold,patient\n1,a\n2,c\n", "not in them: b; not in the cohort or without annotations: c"),
    ],
)
def test_a_file_that_gives_no_folds(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "folds.csv").write_text(text)
    with pytest.raises(CohortError, match=words):
        read_folds(tmp_path / "folds.csv", ["a", "b"])
    with pytest.raises(CohortError, match=r"none\.csv"):
        read_folds(tmp_path / "none.csv", ["a", "b"])


@pytest.mark.shared
def test_the_folds_that_are_kept_for_glas_are_those_of_seed_0(shared_data: Path) -> None:
    recipes = Path(__file__).parents[2] / "recipes"
    cohort, classes = (
        read_cohort(shared_data / "glas" / "cohort.csv"),
        Recipe.read(recipes / "glas.toml").classes,
    )
    positive = {
        case.patient: classes.positive in labeled_regions(case, classes).regions.labels
        for case in cohort.cases
    }
    assert read_folds(recipes / "glas_folds.csv", cohort.patients) == draw_folds(positive, 4, 0)
    assert sum(positive.values()) == 10


def test_folds_find_their_patients_in_another_spelling(tmp_path: Path) -> None:
    (tmp_path / "folds.csv").write_bytes("fold,patient\n1,001\n1,1\n2,M\u00dcLLER\n".encode("cp1252"))
    assert read_folds(tmp_path / "folds.csv", ["1", "Müller"]).patients == (("1",), ("Müller",))
    (tmp_path / "folds.csv").write_text("fold,patient\n1,001\n2,1\n")
    with pytest.raises(CohortError, match="twice"):
        read_folds(tmp_path / "folds.csv", ["1"])
