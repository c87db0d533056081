"""Patients in two splits, slides twice, tissue twice."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from histoscout.checks.leakage import Landmarks, check_patient_splits, check_duplicate_slides, check_shared_tissue
from histoscout.cohort.case import Case
from histoscout.cohort.leakage import Fingerprint
from histoscout.slides.image_reader import slide_from_array
from tests import toy


def fingerprint(seed: int, name: str, patient: str) -> Fingerprint:
    return Fingerprint.of(slide_from_array(toy.draw(seed)[0], toy.MPP, name), patient)


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
    one, other = fingerprint(0, "a", "p"), fingerprint(1, "b", "q")
    copy = fingerprint(0, "c", "q")
    assert check_duplicate_slides([one, other], ["", ""]).state == "good"
    assert check_duplicate_slides([one, copy], ["", ""]).state == "failed"
    assert check_duplicate_slides([one, replace(copy, patient="p")], ["train", "test"]).state == "failed"
    verdict = check_duplicate_slides([one, replace(copy, patient="p")], ["train", "train"])
    assert (verdict.state, verdict.message) == ("warning", "a and c show the same")


def test_tissue_on_two_slides() -> None:
    patches = np.random.default_rng(0).normal(size=(9, 12, 12)).astype(np.float32)
    patches -= patches.mean((1, 2), keepdims=True)
    patches /= np.sqrt((patches**2).sum((1, 2), keepdims=True))
    one = Landmarks("a", "p", "train", patches)
    assert check_shared_tissue([one, Landmarks("b", "q", "train", patches[:0])]).state == "good"
    assert check_shared_tissue([one, replace(one, slide="b")]).state == "good"  # one patient, one split: no harm
    assert check_shared_tissue([one, replace(one, slide="b", patient="q")]).state == "warning"
    verdict = check_shared_tissue([one, replace(one, slide="b", split="test")])
    assert (verdict.state, verdict.message) == ("failed", "a and b share 9 places")
