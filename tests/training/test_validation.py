"""Calibration: probabilities of a network that learnt from windows full of lesions, on slides that hold few."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from histoscout.cohort.annotated_slide import open_labeled_slide
from histoscout.cohort.cohort import read_cohort
from histoscout.detection.detect import DetectOptions, detect
from histoscout.detection.heatmap import LEVELS, read_heatmap
from histoscout.evaluation.pixels.counts import count_pixels
from histoscout.network.model_folder import ModelFolder
from histoscout.recipe import IGNORE
from histoscout.training.validation import fit_calibration, validate


def answers_of(classes: int, prevalence: float, sampled: float) -> list[tuple[Tensor, Tensor]]:
    """Logits of a perfect network for windows with a share `sampled` of the class, twice too sure, on slides with less."""
    random = np.random.default_rng(1)
    truth = (random.random((40, 32, 32)) < prevalence).astype(np.int64)
    seen = random.normal(1.5 * truth, 1.0)  # the one thing that tells the class from the rest
    log_odds = 1.5 * seen - 1.5**2 / 2 + np.log(sampled / (1 - sampled))
    logits = np.zeros((classes, *truth.shape), np.float32)
    logits[min(1, classes - 1)] = 2 * log_odds
    if classes > 2:
        logits[2] = -40  # never seen
    truth[:, 0] = IGNORE
    pairs = zip(np.moveaxis(logits, 1, 0), truth, strict=True)
    return [(torch.from_numpy(one)[None], torch.from_numpy(target)[None]) for one, target in pairs]


def probabilities(
    found: list[tuple[Tensor, Tensor]], temperature: float, offset: float
) -> tuple[Tensor, Tensor]:
    logits = torch.cat([one for one, _ in found]) / temperature
    truth = torch.cat([target for _, target in found])
    if logits.shape[1] == 1:
        said = (logits[:, 0] + offset).sigmoid()
    else:
        logits[:, 1] += offset
        said = logits.softmax(1)[:, 1]
    return said[truth != IGNORE], truth[truth != IGNORE] == 1


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_the_sampled_share_is_corrected_to_that_of_the_slides(classes: int) -> None:
    prevalence, sampled = 0.05, 0.4
    found = answers_of(classes, prevalence, sampled)
    temperature, offset = fit_calibration(found, 0)
    true_offset = np.log(prevalence / (1 - prevalence)) - np.log(sampled / (1 - sampled))
    assert temperature == pytest.approx(2, rel=0.1)
    assert offset == pytest.approx(true_offset, abs=0.15)
    said, truth = probabilities(found, temperature, offset)
    assert float(said.mean()) == pytest.approx(float(truth.float().mean()), rel=0.03)
    before, _ = probabilities(found, 2.0, 0.0)
    assert float(before.mean()) > 3 * float(said.mean())  # what a temperature alone leaves


def test_of_one_class_alone_nothing_is_known() -> None:
    found = [(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.int64))]
    assert fit_calibration(found, 0) == (1.0, 0.0)
    assert fit_calibration([], 0) == (1.0, 0.0)


def test_tiles_are_calibrated_like_pixels() -> None:
    random = np.random.default_rng(0)
    truth = (random.random(3000) < 0.2).astype(np.int64)
    logits = np.zeros((3000, 2), np.float32)
    logits[:, 1] = random.normal(2 * truth, 1)
    found = [(torch.from_numpy(logits), torch.from_numpy(truth))]
    said, is_true = probabilities(found, *fit_calibration(found, 0))
    assert float(said.mean()) == pytest.approx(float(is_true.float().mean()), rel=0.03)


def test_on_tuning_tissue_as_much_is_said_as_is_true(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    """From windows of which 40 % are drawn at lesions, to a slide of which they are a twelfth, the whole chain."""
    case = read_cohort(table).cases[2]
    detect(model, [case], tmp_path, DetectOptions(device="torch"))
    labeled, _ = open_labeled_slide(case, model.recipe)
    with labeled.slide:
        counts = count_pixels(labeled, read_heatmap(tmp_path / "heatmaps" / "slide_2.ome.tiff"), "UDH")
    every = counts.positive + counts.negative
    said = np.arange(LEVELS) @ every / (LEVELS - 1) / every.sum()
    assert said == pytest.approx(counts.prevalence, rel=0.15)


def test_where_nothing_is_of_the_class_it_is_not_taken_away_for_good() -> None:
    """Tuning windows of a rare lesion may show look-alikes only: an offset would go down until nothing is ever found."""
    random = np.random.default_rng(0)
    truth = np.where(random.random((20, 16, 16)) < 0.3, 2, 0)
    logits = random.normal(0, 1, (20, 3, 16, 16)).astype(np.float32)
    found = [
        (torch.from_numpy(one)[None], torch.from_numpy(target)[None])
        for one, target in zip(logits, truth, strict=True)
    ]
    temperature, offset = fit_calibration(found, 0)
    assert offset == 0
    assert temperature > 1  # noise was too sure of itself


def test_windows_of_which_nothing_is_known_say_nothing() -> None:
    unknown = [(torch.zeros(1, 2, 4, 4), torch.full((1, 4, 4), IGNORE))]
    known = [(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64))]

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return torch.tensor(0.0)

    assert not validate(unknown, loss).has_targets
    assert not validate([], loss).has_targets
    assert validate([*unknown, *known], loss).has_targets
