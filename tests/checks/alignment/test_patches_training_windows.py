from dataclasses import replace
from pathlib import Path

from histoscout.checks.alignment.patches import check_cohort_patches
from histoscout.checks.integrity import load_case
from histoscout.cohort.cohort import read_cohort
from histoscout.recipe import Recipe
from tests.checks.test_run import RECIPE


def test_sound_windows_fit_and_a_class_stands_in_where_none_is_named(table: Path) -> None:
    reads = [load_case(case) for case in read_cohort(table).cases]
    assert check_cohort_patches(reads, RECIPE).state == "good"
    nameless = RECIPE.with_choices({"classes.positive": "DCIS"})
    assert check_cohort_patches(reads, nameless).state == "good"


def test_strong_colors_are_no_displacement(table: Path) -> None:
    reads = [load_case(case) for case in read_cohort(table).cases]
    strong = {"augment.stain": 0.1, "augment.brightness": 0.2}
    assert check_cohort_patches(reads, RECIPE.with_choices(strong)).state == "good"


def test_without_outlines_none_can_tell(table: Path) -> None:
    bare = [load_case(replace(case, annotations=None)) for case in read_cohort(table).cases]
    assert check_cohort_patches(bare, Recipe()).state == "cannot tell"
