"""The parts of a training as it stands before its first step."""

from collections.abc import Callable
from pathlib import Path

import pytest

from histoscout.cohort.cohort import read_cohort
from histoscout.progress import NoProgress
from histoscout.recipe import Recipe
from histoscout.training.checkpoint import TrainingState
from histoscout.training.data import TrainingData, open_training_slides
from histoscout.training.loop import TrainingContext
from histoscout.training.run_folder import open_run, training_fingerprint
from histoscout.training.train import TrainOptions, prepare_training
from tests.toy import RECIPE

Parts = tuple[TrainingContext, TrainingState, TrainingData]


@pytest.fixture(scope="session")
def prepare(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], Parts]:
    """Make context, state and data of the toy cohort, as `train` does."""

    def make(recipe: Recipe) -> Parts:
        cohort = read_cohort(table)
        run = open_run(tmp_path_factory.mktemp("parts") / "model", training_fingerprint(cohort, recipe))
        data = open_training_slides(cohort, recipe, run.split, NoProgress())
        return (*prepare_training(data, recipe, run, options=TrainOptions()), data)

    return make


@pytest.fixture(scope="module")
def parts(prepare: Callable[[Recipe], Parts]) -> Parts:
    """The parts of the toy's ordinary training; tests look at them and change nothing."""
    return prepare(RECIPE.with_choices({"patches.mpp": 2.0, "patches.size_um": 128.0}))
