"""Image classification data as a cohort: patients, scale and splits."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort
from histoscout.cohort.image_folders import RoiImage, assign_scale, is_image_folder, read_image_cohort
from histoscout.cohort.splits import split_by_class
from histoscout.errors import CohortError


def _images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / name)
    return folder


@pytest.mark.parametrize("order", ["{split}/{label}", "{label}/{split}"])
def test_both_orders_of_folders_give_cases_with_labels(tmp_path: Path, order: str) -> None:
    for split, label, slide in (("train", "2_UDH", 1), ("val", "0_N", 2), ("test", "2_UDH", 3)):
        folder = order.format(split=split, label=label)
        _images(tmp_path, f"{folder}/BRACS_{slide}_{label[2:]}_1.png")
    cohort = read_image_cohort(tmp_path)
    assert cohort.by_class
    assert sorted((case.patient, case.label, case.split, case.mpp) for case in cohort.cases) == [
        ("BRACS_1", "UDH", "train", 0.25),
        ("BRACS_2", "N", "tune", 0.25),
        ("BRACS_3", "UDH", "test", 0.25),
    ]
    assert "0.25 um/px is used" in cohort.notes[0]
    assert not read_image_cohort(tmp_path, 0.5).notes[0].startswith("3 images are named as in BRACS")


def test_a_scale_is_given_or_that_of_bracs_or_none() -> None:
    named, other, tabled = (RoiImage(Path(name), "N", mpp=mpp) for name, mpp in _NAMES)
    assert [image.mpp for image in assign_scale((named, other, tabled), None)[0]] == [0.25, None, 1.0]
    assert "1 images" in assign_scale((named, other, tabled), None)[1][0]
    assert [image.mpp for image in assign_scale((named, other, tabled), 0.5)[0]] == [0.5, 0.5, 1.0]
    assert assign_scale((other,), None)[1] == ()


_NAMES = (("BRACS_1_N_1.png", None), ("a.png", None), ("b.png", 1.0))


def test_images_without_a_patient_are_patients_of_their_own(tmp_path: Path) -> None:
    _images(tmp_path, "train/UDH/1.png", "test/UDH/1.png", "train/N/1.png")
    cohort = read_image_cohort(tmp_path, 1.0)
    assert cohort.patients == ("test/UDH/1", "train/N/1", "train/UDH/1")
    assert "3 images name no patient" in cohort.notes


def test_patients_in_two_splits_and_images_listed_twice_are_refused(tmp_path: Path) -> None:
    _images(tmp_path, "train/N/BRACS_1_N_1.png", "test/UDH/BRACS_1_UDH_2.png")
    with pytest.raises(CohortError, match=r"BRACS_1 \(test, train\)"):
        read_image_cohort(tmp_path)
    table = tmp_path / "twice.csv"
    table.write_text("image,class\ntrain/N/BRACS_1_N_1.png,N\ntrain/../train/N/BRACS_1_N_1.png,UDH\n")
    with pytest.raises(CohortError, match=r"BRACS_1_N_1\.png"):
        read_image_cohort(table)


def test_rows_without_a_split_follow_their_patient(tmp_path: Path) -> None:
    _images(tmp_path, "a.png", "b.png", "c.png")
    table = tmp_path / "images.csv"
    table.write_text("image,class,patient,split\na.png,N,p1,test\nb.png,UDH,p1,\nc.png,N,p2,\n")
    assert [case.split for case in read_image_cohort(table).cases] == ["test", "test", None]


def test_a_table_of_annotated_slides_is_not_one_of_images(tmp_path: Path) -> None:
    for head, images in (("image,class", True), ("slide,label", False), ("image,label,annotations", False)):
        (tmp_path / "table.csv").write_text(f"{head}\n")
        assert is_image_folder(tmp_path / "table.csv") is images


def test_headings_are_read_as_those_of_slides_are(tmp_path: Path) -> None:
    _images(tmp_path, "a.png", "b.png")
    table = tmp_path / "images.csv"
    table.write_text(
        "File,Class,Patient ID,um per px,dataset,grade\na.png,N,p1,0.5,train,2\nb.png,UDH,p1,,,\n"
    )
    assert is_image_folder(table)
    cohort = read_image_cohort(table)
    assert [(case.patient, case.mpp, case.split) for case in cohort.cases] == [
        ("p1", 0.5, "train"),
        ("p1", None, "train"),
    ]
    assert cohort.notes == ("columns that are not used: grade",)


@pytest.mark.parametrize("mpp", ["-0.5", "0", "1e9"])
def test_a_scale_that_is_not_possible_is_refused(tmp_path: Path, mpp: str) -> None:
    _images(tmp_path, "a.png")
    (tmp_path / "images.csv").write_text(f"image,class,mpp\na.png,N,{mpp}\n")
    with pytest.raises(CohortError, match=r"row 2: .* um/px is not possible"):
        read_image_cohort(tmp_path / "images.csv")


def test_spellings_of_a_class_are_one_class(tmp_path: Path) -> None:
    _images(tmp_path, "UDH sure/1.png", "udh-sure/2.png", "udh-sure/3.png", "N/4.png")
    cohort = read_image_cohort(tmp_path)
    assert {case.label for case in cohort.cases} == {"udh-sure", "N"}
    assert cohort.notes[0] == "classes taken as one: udh-sure = UDH sure"


@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from("ABC")), min_size=4, max_size=60),
    st.floats(0.05, 0.5),
    st.integers(0, 3),
)
def test_no_patient_is_divided_and_no_class_is_lost(
    drawn: list[tuple[int, str]], share: float, seed: int
) -> None:
    cases = tuple(
        Case(Path(f"{number}.png"), None, f"p{patient}", label=label)
        for number, (patient, label) in enumerate(drawn)
    )
    cohort = Cohort(cases, "here")
    try:
        split = split_by_class(cohort, share, seed)
    except CohortError:
        of_class = [
            {case.patient for case in cases if case.label == label} for label in {c.label for c in cases}
        ]
        assert len(of_class) < 2 or all(  # nobody can be spared
            any(len(patients - {one}) == 0 for patients in of_class) for one in set().union(*of_class)
        )
        return
    train, tune = ({case.patient for case in part} for part in (split.train, split.tune))
    assert train
    assert tune
    assert not train & tune
    assert {case.label for case in split.train} == {case.label for case in cases}
    assert split == split_by_class(cohort, share, seed)


def test_the_split_that_images_have_is_kept() -> None:
    parts = (("a", "A", "train"), ("b", "B", "train"), ("c", "A", "tune"), ("d", "B", "test"))
    cases = tuple(Case(Path(f"{who}.png"), None, who, split=part, label=label) for who, label, part in parts)  # type: ignore[arg-type]
    split = split_by_class(Cohort(cases, "here"), 0.3, 0)
    assert [[case.patient for case in part] for part in (split.train, split.tune, split.test)] == [
        ["a", "b"],
        ["c"],
        ["d"],
    ]
    assert split.notes == ("no tuning patient has images of: B",)
