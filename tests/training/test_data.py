"""The slides of a training, opened and divided; what it does with those it cannot use."""

from dataclasses import replace
from pathlib import Path

from histoscout.cohort.cohort import read_cohort
from histoscout.progress import NoProgress
from histoscout.training.data import open_training_slides
from tests.toy import RECIPE


def test_a_training_goes_on_though_a_slide_has_no_annotations(table: Path, tmp_path: Path) -> None:
    cohort = read_cohort(table)
    first, *rest = cohort.cases
    some = replace(cohort, cases=(replace(first, annotations=None), *rest))
    began, again = (
        open_training_slides(some, RECIPE, tmp_path / "split.csv", NoProgress()) for _ in range(2)
    )
    assert (began.split.train, began.split.tune) == (again.split.train, again.split.tune)
    assert any("without annotations" in note for note in again.notes)
