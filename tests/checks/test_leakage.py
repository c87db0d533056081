"""Patients in two splits, slides twice, tissue twice."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from histoscout.checks.leakage import Landmarks, patients_apart, slides_once, tissue_apart
from histoscout.cohort.case import Case
from histoscout.cohort.leakage import Fingerprint
from histoscout.slides.image_reader import in_memory
from tests import toy


def fingerprint(seed: int, name: str, patient: str) -> Fingerprint:
    return Fingerprint.of(in_memory(toy.draw(seed)[0], toy.MPP, name), patient)


def test_a_patient_in_two_splits_fails() -> None:
    train, test = (
        Case(Path("a.svs"), patient="p", split="train"),
        Case(Path("b.svs"), patient="p", split="test"),
    )
    other = Case(Path("c.svs"), patient="q", split="test")
    assert patients_apart([train, other]).state == "good"
    assert patients_apart([train, replace(train, slide=Path("d.svs"))]).state == "good"
    assert patients_apart([replace(train, split=None)]).state == "good"
    verdict = patients_apart([train, test, other])
    assert (verdict.state, verdict.message) == ("failed", "p in test and train")


def test_a_slide_under_two_names() -> None:
    one, other = fingerprint(0, "a", "p"), fingerprint(1, "b", "q")
    copy = fingerprint(0, "c", "q")
    assert slides_once([one, other], ["", ""]).state == "good"
    assert slides_once([one, copy], ["", ""]).state == "failed"
    assert slides_once([one, replace(copy, patient="p")], ["train", "test"]).state == "failed"
    verdict = slides_once([one, replace(copy, patient="p")], ["train", "train"])
    assert (verdict.state, verdict.message) == ("warning", "a and c show the same")


def test_tissue_on_two_slides() -> None:
    patches = np.random.default_rng(0).normal(size=(9, 12, 12)).astype(np.float32)
    patches -= patches.mean((1, 2), keepdims=True)
    patches /= np.sqrt((patches**2).sum((1, 2), keepdims=True))
    one = Landmarks("a", "p", "train", patches)
    assert tissue_apart([one, Landmarks("b", "q", "train", patches[:0])]).state == "good"
    assert tissue_apart([one, replace(one, slide="b")]).state == "good"  # one patient, one split: no harm
    assert tissue_apart([one, replace(one, slide="b", patient="q")]).state == "warning"
    verdict = tissue_apart([one, replace(one, slide="b", split="test")])
    assert (verdict.state, verdict.message) == ("failed", "a and b share 9 places")
