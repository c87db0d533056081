"""A slide unlike those that were learnt from is told, about one of twenty like them is, and too few are no judge."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from histoscout.detection.detect import DetectOptions, detect
from histoscout.detection.domain_shift import (
    MEASURES,
    MIN_REFERENCE_PATIENTS,
    OUT_OF_DISTRIBUTION,
    AppearanceReference,
    check_appearance,
    measure_appearance,
)
from histoscout.network.model_folder import ModelFolder
from histoscout.progress import NoProgress
from histoscout.slides.image_reader import slide_from_array
from histoscout.tissue.mask import find_tissue
from tests import toy

Pixels = NDArray[np.uint8]


def numbers_of(pixels: Pixels, mpp: float = toy.MPP) -> dict[str, float]:
    slide = slide_from_array(pixels, mpp)
    seen = measure_appearance(slide, find_tissue(slide, toy.RECIPE.tissue, toy.RECIPE.patches), 2.0)
    assert seen is not None
    return seen


@pytest.fixture(scope="module")
def learnt() -> AppearanceReference:
    seen = [numbers_of(toy.draw(number)[0]) for number in range(12)]
    return AppearanceReference(tuple(seen), tuple(f"patient {number}" for number in range(12)))


def stained(pixels: Pixels, gain: float) -> Pixels:
    density = -np.log10(np.maximum(pixels, 1) / 255)
    return np.clip(255 * 10 ** (-density * gain), 0, 255).astype(np.uint8)


def test_slides_like_those_learnt_from_look_known(learnt: AppearanceReference) -> None:
    states = [check_appearance(learnt, numbers_of(toy.draw(number)[0])).state for number in range(20, 30)]
    assert states.count("good") >= 8


@pytest.mark.parametrize(
    ("change", "measure"),
    [
        (lambda pixels: stained(pixels, 2), "amount of eosin"),
        (lambda pixels: gaussian_filter(pixels, (3, 3, 0)), "fine detail"),
        (lambda pixels: np.roll(pixels, 1, -1), "color that is neither dye"),
    ],
    ids=["stain x2", "blur", "channels exchanged"],
)
def test_a_changed_slide_is_out_of_distribution_and_the_measure_named(
    learnt: AppearanceReference, change: Callable[[Pixels], Pixels], measure: str
) -> None:
    verdict = check_appearance(learnt, numbers_of(change(toy.draw(20)[0])))
    assert verdict.state == "warning"
    assert measure in verdict.message


def test_about_one_in_twenty_similar_slides_raises_the_warning() -> None:
    random = np.random.default_rng(0)

    def some(count: int) -> list[dict[str, float]]:
        return [dict(zip(MEASURES, row, strict=True)) for row in random.normal(0, 1, (count, len(MEASURES)))]

    alarms = []
    for _ in range(40):
        known = AppearanceReference(tuple(some(40)), tuple(f"{number}" for number in range(40)))
        alarms += [check_appearance(known, new).state == "warning" for new in some(25)]
    assert 0.02 < np.mean(alarms) < 0.09


def test_slides_of_few_patients_are_no_judge(learnt: AppearanceReference) -> None:
    few = replace(learnt, patients=tuple(f"{number % (MIN_REFERENCE_PATIENTS - 1)}" for number in range(12)))
    verdict = check_appearance(few, learnt.numbers[0])
    assert verdict.state == "cannot tell"
    assert "of 7 patients" in verdict.message
    assert check_appearance(learnt, None).state == "cannot tell"


class Listening(NoProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_detection_notes_slides_out_of_distribution(
    model: ModelFolder,
    table: Path,
    tmp_path: Path,
    learnt: AppearanceReference,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = Listening()
    options = DetectOptions(device="torch", dry_run=True, progress=heard)
    slide = table.parent / "slide_3.tif"
    assert detect(model, [slide], tmp_path, options)[0].reason == ""
    assert any("3 patients" in note for note in heard.notes)
    strange = tuple({name: value + 1 for name, value in row.items()} for row in learnt.numbers)
    monkeypatch.setattr(
        ModelFolder, "metrics", {**model.metrics, "domain_shift": replace(learnt, numbers=strange).to_list()}
    )
    (row,) = detect(model, [slide], tmp_path, options)
    assert OUT_OF_DISTRIBUTION in row.reason
