"""Fine-tuning takes over the recipe of its start model and keeps its patients apart."""

import json
from pathlib import Path

from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort
from histoscout.network.model_folder import METRICS, ModelFolder
from histoscout.recipe import Recipe
from histoscout.training.start import LOOK_ALIKE_SHARE, keep_splits, start_recipe

KNOWN = {"train_patients": ["P1", "P2"], "tune_patients": ["P2", "P3"]}


def make_model(folder: Path, **changes: object) -> ModelFolder:
    """A model folder that holds metrics alone."""
    folder.mkdir(exist_ok=True)
    (folder / METRICS).write_text(json.dumps({"data": KNOWN}))
    recipe = Recipe().with_choices({name.replace("__", "."): value for name, value in changes.items()})
    return ModelFolder(
        path=folder, recipe=recipe, threshold=0.5, temperature=1.0, labels=("UDH",), hash="", facts={}
    )


def cohort_of(*patients: str, **options: object) -> Cohort:
    return Cohort(tuple(Case(Path(f"{p}.tif"), None, p, **options) for p in patients), "cohort.csv")  # type: ignore[arg-type]


def test_patients_keep_the_split_that_the_model_gave_them(tmp_path: Path) -> None:
    # the cohort spells one of them in another way
    cohort = keep_splits(cohort_of("p-1", "P2", "P3", "new"), make_model(tmp_path))
    assert [case.split for case in cohort.cases] == ["train", "train", "tune", None]
    given = keep_splits(cohort_of("P1", split="test"), make_model(tmp_path))
    assert [case.split for case in given.cases] == ["test"]


def test_the_recipe_of_the_model_samples_look_alikes(tmp_path: Path) -> None:
    plain = {"sampler__positive": 0.4, "sampler__other": 0.0, "sampler__tissue": 0.6}
    recipe = start_recipe(make_model(tmp_path, **plain), cohort_of("new"), {"seed": 7})
    assert recipe is not None
    assert recipe.seed == 7
    assert recipe.sampler.other == LOOK_ALIKE_SHARE
    kept = start_recipe(make_model(tmp_path), cohort_of("new"))
    assert kept == Recipe()


def test_where_the_weights_are_a_part_a_recipe_is_planned(tmp_path: Path) -> None:
    assert start_recipe(make_model(tmp_path, network__architecture="timm"), cohort_of("new")) is None
    assert start_recipe(make_model(tmp_path), cohort_of("new", label="UDH")) is None
