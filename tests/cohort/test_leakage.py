"""Slides and patients in two sets, copies under another name, figures under the wrong name."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from histoscout.cohort.case import Case, SplitName
from histoscout.cohort.duplicates import Fingerprint, Landmarks
from histoscout.cohort.leakage import (
    check_disjoint_sets,
    check_duplicate_slides,
    check_known_patients,
    check_patient_count,
    check_patient_splits,
    check_shared_tissue,
)
from histoscout.slides.image_reader import slide_from_array
from histoscout.slides.open import open_slide
from tests import toy


def fingerprint(pixels: NDArray[np.uint8], name: str, patient: str = "", mpp: float = 1.0) -> Fingerprint:
    return Fingerprint.of(slide_from_array(pixels, mpp, name), patient or name)


def compressed(pixels: NDArray[np.uint8], quality: int = 50) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_slides_of_different_patients_are_apart() -> None:
    slides = [fingerprint(toy.draw(seed)[0], f"slide {seed}") for seed in range(8)]
    verdict = check_disjoint_sets(slides[:5], slides[5:])
    assert verdict.state == "good", verdict


def test_a_copy_under_another_name_is_found_after_compression() -> None:
    slides = [fingerprint(toy.draw(seed)[0], f"slide {seed}") for seed in range(4)]
    copy = fingerprint(compressed(toy.draw(2)[0]), "renamed", "another patient")
    verdict = check_disjoint_sets(slides, [copy], "test")
    assert verdict.state == "failed"
    assert "slide 2 = renamed" in verdict.message
    assert "test" in verdict.message


def test_a_copy_at_another_resolution_is_found() -> None:
    pixels = toy.draw(1)[0]
    small = np.asarray(Image.fromarray(pixels).resize((256, 256), Image.Resampling.BOX))
    assert fingerprint(pixels, "a").is_copy_of(fingerprint(small, "b", mpp=2.0))


def test_the_same_file_is_the_same_slide(table: Path) -> None:
    slides = [open_slide(table.parent / "slide_0.tif") for _ in range(2)]
    one, other = (Fingerprint.of(slide, f"patient {number}") for number, slide in enumerate(slides))
    assert check_disjoint_sets([one], [other]).state == "failed"


def test_a_patient_in_two_sets_is_found() -> None:
    one, other = (fingerprint(toy.draw(seed)[0], f"slide {seed}", "patient 7") for seed in range(2))
    verdict = check_disjoint_sets([one], [other])
    assert verdict.state == "failed"
    assert "patient 7" in verdict.message


def test_empty_glass_is_no_copy_of_empty_glass() -> None:
    glass = np.full((300, 300, 3), 244, np.uint8)
    assert not fingerprint(glass, "a").is_copy_of(fingerprint(glass, "b"))


def test_nothing_to_compare_is_no_verdict() -> None:
    assert check_disjoint_sets([], [fingerprint(toy.draw(0)[0], "a")]).state == "cannot tell"


def test_a_fingerprint_goes_through_json_without_its_path(table: Path) -> None:
    one = Fingerprint.of(open_slide(table.parent / "slide_0.tif"), "patient 0")
    text = json.dumps(one.to_dict())
    assert str(table.parent) not in text
    again = Fingerprint.from_dict(json.loads(text))
    assert again.is_copy_of(one)
    assert one.is_copy_of(again)


@pytest.mark.parametrize(
    ("patients", "blocks", "state"), [(2, False, "warning"), (6, True, "warning"), (6, False, "good")]
)
def test_j_too_few_patients_give_a_warning(patients: int, blocks: bool, state: str) -> None:
    verdict = check_patient_count([f"patient {number}" for number in range(patients)] * 2, blocks)
    assert verdict.state == state


def test_h_results_on_training_patients_fail() -> None:
    trained, kept = ["patient 1", "patient 2"], ["patient 3"]
    assert check_known_patients("test", kept, trained).state == "good"
    verdict = check_known_patients("test", [*kept, *trained], trained)
    assert verdict.state == "failed"
    assert "patient 1" in verdict.message


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_a_set_is_good_exactly_if_no_patient_was_trained_on(evaluated: set[int], trained: set[int]) -> None:
    verdict = check_known_patients("test", map(str, evaluated), map(str, trained))
    assert (verdict.state == "good") == (not evaluated & trained)


def test_a_patient_in_two_splits_fails() -> None:
    train, test = (
        Case(Path("a.svs"), patient="p", split="train"),
        Case(Path("b.svs"), patient="p", split="test"),
    )
    other = Case(Path("c.svs"), patient="q", split="test")
    assert check_patient_splits([train, other]).state == "good"
    assert check_patient_splits([train, replace(train, slide=Path("d.svs"))]).state == "good"
    assert check_patient_splits([replace(train, split=None)]).state == "good"
    verdict = check_patient_splits([train, test, other])
    assert (verdict.state, verdict.message) == ("failed", "p in test and train")


def test_a_slide_under_two_names() -> None:
    one, other = fingerprint(toy.draw(0)[0], "a", "p"), fingerprint(toy.draw(1)[0], "b", "q")
    copy = fingerprint(toy.draw(0)[0], "c", "q")
    assert check_duplicate_slides([one, other], ["", ""]).state == "good"
    assert check_duplicate_slides([one, copy], ["", ""]).state == "failed"
    assert check_duplicate_slides([one, replace(copy, patient="p")], ["train", "test"]).state == "failed"
    verdict = check_duplicate_slides([one, replace(copy, patient="p")], ["train", "train"])
    assert (verdict.state, verdict.message) == ("warning", "a and c show the same")


def test_tissue_on_two_slides() -> None:
    patches = np.random.default_rng(0).normal(size=(9, 12, 12)).astype(np.float32)
    patches -= patches.mean((1, 2), keepdims=True)
    patches /= np.sqrt((patches**2).sum((1, 2), keepdims=True))
    one = Landmarks(slide="a", patient="p", split="train", patches=patches)
    assert (
        check_shared_tissue(
            [one, Landmarks(slide="b", patient="q", split="train", patches=patches[:0])]
        ).state
        == "good"
    )
    assert (
        check_shared_tissue([one, replace(one, slide="b")]).state == "good"
    )  # one patient, one split: no harm
    assert check_shared_tissue([one, replace(one, slide="b", patient="q")]).state == "warning"
    verdict = check_shared_tissue([one, replace(one, slide="b", split="test")])
    assert (verdict.state, verdict.message) == ("failed", "a and b share 9 places")


def test_spellings_of_one_patient_are_a_warning_and_in_two_splits_a_failure() -> None:
    def cases(*splits: SplitName) -> list[Case]:
        return [
            Case(Path(f"{number}.svs"), patient=patient, split=split)
            for number, (patient, split) in enumerate(zip(("001", "1", "2"), splits, strict=True))
        ]

    assert check_patient_splits(cases("train", "train", "test")).state == "warning"
    failed = check_patient_splits(cases("train", "test", "test"))
    assert (failed.state, "001 = 1 in test and train" in failed.message) == ("failed", True)
    assert check_patient_splits([Case(Path("a.svs"))], (("P 1", "P1"),)).state == "warning"


def test_a_known_patient_is_recognized_in_another_spelling() -> None:
    assert check_known_patients("test", ["P-01"], ["p1"]).state == "failed"
    assert check_known_patients("test", ["P-02"], ["p1"]).state == "good"
