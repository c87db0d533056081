"""What looks like lesion and is not outlined teaches nothing; what is outlined always does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load_file
from torch import Tensor

from histoscout.progress import NoProgress
from histoscout.recipe import BACKGROUND, IGNORE
from histoscout.training.loop import PU_MIN_PROBABILITY, ignore_unlabeled_lesions
from histoscout.training.train import TrainOptions, train
from tests import toy
from tests.toy import RECIPE


def logits_for(probability: Tensor) -> Tensor:
    """Logits of one output that answers so."""
    return torch.logit(probability)[:, None]


def test_background_as_sure_as_outlined_lesion_is_ignored() -> None:
    sure = torch.tensor([[[0.9, 0.8, 0.7, 0.6], [0.95, 0.65, 0.2, 0.01]]])
    target = torch.tensor([[[1, 1, 1, 1], [0, 0, 0, 2]]], dtype=torch.uint8)
    kept = ignore_unlabeled_lesions(logits_for(sure), target)
    assert kept.tolist() == [[[1, 1, 1, 1], [IGNORE, IGNORE, 0, 2]]]
    assert target[0, 1, 0] == 0, "what was given is not changed"


def test_several_outputs_are_asked_for_the_positive_one() -> None:
    logits = torch.tensor([[0.0, 5.0, 0.0], [0.0, 4.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]])
    target = torch.tensor([1, 1, 0, 0], dtype=torch.uint8)
    assert ignore_unlabeled_lesions(logits, target).tolist() == [1, 1, IGNORE, 0]


def test_an_unsure_network_doubts_nothing() -> None:
    sure = torch.full((1, 2, 2), PU_MIN_PROBABILITY - 0.01)
    target = torch.tensor([[[1, 0], [0, 0]]], dtype=torch.uint8)
    assert torch.equal(ignore_unlabeled_lesions(logits_for(sure), target), target)


@given(
    arrays.arrays(np.float32, (2, 4, 5), elements=st.floats(2**-10, 1 - 2**-10, width=32)),
    arrays.arrays(np.uint8, (2, 4, 5), elements=st.sampled_from([0, 1, 2, IGNORE])),
)
def test_only_background_is_ever_doubted(
    sure: np.ndarray[tuple[int, int, int], np.dtype[np.float32]],
    target: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]],
) -> None:
    given_target = torch.from_numpy(target)
    kept = ignore_unlabeled_lesions(logits_for(torch.from_numpy(sure)), given_target)
    changed = kept != given_target
    assert kept.dtype == given_target.dtype
    assert (given_target[changed] == BACKGROUND).all()
    assert (kept[changed] == IGNORE).all()
    if not (target == 1).any():
        assert not changed.any()


class Notes(NoProgress):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


@pytest.mark.slow
@pytest.mark.parametrize("complete", [True, False])
def test_a_recipe_that_says_so_is_trained_otherwise(tmp_path: Path, complete: bool) -> None:
    cohort = toy.write_cohort(tmp_path)
    short = RECIPE.with_choices({"training.epochs": 1, "training.steps_per_epoch": 24})
    notes, before = Notes(), train(cohort, tmp_path / "before", short)
    choices = short.with_choices({"classes.complete": complete})
    after = train(cohort, tmp_path / "after", choices, TrainOptions(progress=notes))
    weights = [load_file(model.path / "detector.safetensors") for model in (before, after)]
    same = all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert same == complete
    assert any("the threshold is too high" in note for note in notes.told) != complete
