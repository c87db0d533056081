"""Halfway, a training looks for the lesions that nobody outlined, and no longer teaches them as background."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from safetensors.numpy import load_file

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.detection.heatmap import Heatmap
from histoscout.evaluation.pixels.counts import PixelCounts, count_pixels
from histoscout.geometry.regions import Region, Regions
from histoscout.network.model_folder import ModelFolder
from histoscout.progress import NoProgress
from histoscout.recipe import IGNORE, Recipe
from histoscout.training import checkpoint
from histoscout.training.budget import Budget
from histoscout.training.history import read_rows
from histoscout.training.loop import PU_MIN_PROBABILITY
from histoscout.training.pseudo_labels import (
    RIM_UM,
    PseudoLabeler,
    find_unannotated_regions,
    lesion_threshold,
    uses_pseudo_labels,
)
from histoscout.training.train import TrainOptions, train
from tests import toy
from tests.toy import MPP, RECIPE, SIDE
from tests.training.conftest import Parts

INCOMPLETE = RECIPE.with_choices({"classes.complete": False, "training.epochs": 6})
LOOKED = {"step-24": 0.5, "step-36": 0.75}  # of 48 steps


def hide_half(folder: Path, slides: tuple[int, ...] = (0, 1)) -> dict[str, list[Region]]:
    """Leave out every other outline of UDH of these slides; what was left out, by slide."""
    hidden = {}
    for number in slides:
        path = folder / f"slide_{number}.geojson"
        drawn = read_geojson(path).regions
        left_out = [region for region in drawn if region.label == "UDH"][::2]
        ids = {region.id for region in left_out}
        write_geojson(drawn.where(lambda region, ids=ids: region.id not in ids), path)  # type: ignore[misc]
        hidden[path.stem] = left_out
    return hidden


class Told(NoProgress):
    """Keeps what is told, and stops the work at the first note that holds a word."""

    def __init__(self, stop: str = "") -> None:
        self.notes: list[str] = []
        self.stop = stop

    def note(self, text: str) -> None:
        self.notes.append(text)
        if self.stop and self.stop in text:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def half_marked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Region]]]:
    folder = tmp_path_factory.mktemp("half-marked")
    table = toy.write_cohort(folder)
    return table, hide_half(folder)


@pytest.fixture(scope="module")
def looked(
    half_marked: tuple[Path, dict[str, list[Region]]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[ModelFolder, Told]:
    told = Told()
    table, _ = half_marked
    return train(
        table, tmp_path_factory.mktemp("looked") / "model", INCOMPLETE, TrainOptions(progress=told)
    ), told


@pytest.mark.slow
def test_lesions_that_nobody_outlined_are_found_and_no_longer_taught_as_background(
    half_marked: tuple[Path, dict[str, list[Region]]], looked: tuple[ModelFolder, Told]
) -> None:
    model, told = looked
    folder = model.path / "training" / "pseudo-labels"
    assert sorted(path.name for path in folder.iterdir()) == sorted(LOOKED)
    open_ = 0
    for slide, hidden in half_marked[1].items():
        found = read_geojson(folder / "step-36" / f"{slide}.geojson").regions
        drawn = read_geojson(half_marked[0].parent / f"{slide}.geojson").regions
        assert found.labels == ["ignore"]
        assert not any(
            one.outline.intersection(other.outline).area > 1e-6 for one in found for other in drawn
        )
        for lesion in hidden:
            assert any(
                one.outline.intersection(lesion.outline).area > 0.9 * lesion.outline.area for one in found
            )
        open_ += len(found)
    notes = [note for note in told.notes if note.startswith("pseudo-labeling")]
    assert len(notes) == 2
    assert f"after step 36: {open_} " in notes[1]


@pytest.mark.slow
def test_a_training_stopped_at_its_second_look_ends_with_the_same_weights(
    half_marked: tuple[Path, dict[str, list[Region]]],
    looked: tuple[ModelFolder, Told],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0.0)
    for stop in ("after step 24", "after step 36"):
        with pytest.raises(KeyboardInterrupt):
            train(half_marked[0], tmp_path / "model", INCOMPLETE, TrainOptions(progress=Told(stop)))
    told = Told()
    again = train(half_marked[0], tmp_path / "model", INCOMPLETE, TrainOptions(progress=told))
    assert any("36" in note for note in told.notes)
    assert not any(note.startswith("pseudo-labeling") for note in told.notes), (
        "what was found is read, not looked for again"
    )
    whole, resumed = (load_file(one.weights()) for one in (looked[0], again))
    assert all((whole[name] == resumed[name]).all() for name in whole)


@pytest.mark.slow
def test_minutes_leave_time_for_the_looks(
    half_marked: tuple[Path, dict[str, list[Region]]], tmp_path: Path
) -> None:
    recipe = INCOMPLETE.with_choices({"training.epochs": None, "training.minutes": 0.02})
    folder = train(half_marked[0], tmp_path / "model", recipe).path / "training"
    steps = Budget.read(folder / "budget.json").steps
    marks = [f"step-{round(share * steps)}" for share in LOOKED.values()]
    assert sorted(path.name for path in (folder / "pseudo-labels").iterdir()) == sorted(marks)
    assert read_rows(folder / "curves.csv")[-1]["step"] == steps


def test_where_every_lesion_is_outlined_nobody_looks_again(prepare: Callable[[Recipe], Parts]) -> None:
    for complete in (True, False):
        recipe = RECIPE.with_choices({"classes.complete": complete})
        job, _, sets = prepare(recipe)
        assert uses_pseudo_labels(sets, recipe) != complete
        assert (job.pseudo_label_windows > 0) != complete
        assert not uses_pseudo_labels(replace(sets, by_class=True), recipe)


def test_there_are_no_more_windows_than_there_is_time_for(prepare: Callable[[Recipe], Parts]) -> None:
    job, _, sets = prepare(INCOMPLETE)
    few, all_ = (PseudoLabeler(job, sets, steps) for steps in (2, 1000))
    assert len(all_._choose_windows(500)) == len(sets.train) == 2
    assert len(few._choose_windows(1)) == 1, "one slide at least"
    assert {tuple(few._choose_windows(mark)) for mark in range(20)} == {(0,), (1,)}, "another one in turn"
    assert few._choose_windows(7) == few._choose_windows(7)


def test_what_an_earlier_look_found_stays_where_the_next_does_not_look(
    prepare: Callable[[Recipe], Parts],
) -> None:
    job, state, sets = prepare(INCOMPLETE)
    labeler = PseudoLabeler(job, sets, 4)  # marks 2 and 3, one slide each
    found = Regions.of([Region(shapely.box(0, 0, 9, 9), "UDH")])
    for file in labeler._files(labeler.search_steps[0]):
        write_geojson(found, file)
    slides = labeler.label_slides(state, labeler.search_steps[-1])
    seen = set(labeler._choose_windows(labeler.search_steps[-1]))
    assert len(seen) == 1
    for number, slide in enumerate(slides):
        kept = found[0].id in {region.id for region in slide.regions}
        assert kept == (number not in seen)


def test_what_a_look_found_is_ignored_from_its_step_on(prepare: Callable[[Recipe], Parts]) -> None:
    job, state, sets = prepare(INCOMPLETE)
    labeler = PseudoLabeler(job, sets, 4)
    everywhere = Regions.of([Region(shapely.box(-SIDE, -SIDE, 2 * SIDE, 2 * SIDE), "ignore")])
    for file in [file for mark in labeler.search_steps for file in labeler._files(mark)]:
        write_geojson(everywhere, file)
    taught = []
    for _, targets in labeler.batches(replace(state), job.make_batches(0, 4)):
        taught.append(bool((targets != IGNORE).any()))
    assert taught == [True, True, False, False]


def scene(
    prepare: Callable[[Recipe], Parts], shown: dict[str, float], drawn: list[Region]
) -> tuple[LabeledSlide, Heatmap]:
    """A slide with these outlines, and a heatmap of 4 um a cell that shows squares of 120 um at the names' places."""
    recipe = INCOMPLETE.with_choices({"detection.min_area_um2": 4000.0})
    _, _, sets = prepare(recipe)
    values = np.zeros((2, SIDE // 4, SIDE // 4), np.uint8)
    for place, probability in shown.items():
        x, y = PLACES[place]
        values[0, y // 4 : y // 4 + 30, x // 4 : x // 4 + 30] = round(probability * 255)
    heatmap = Heatmap(
        box=sets.train[0].slide.box,
        mpp=4.0,
        slide_mpp=MPP,
        slide_name="toy",
        labels=("UDH", "ADH"),
        values=values,
        windows=1,
    )
    return replace(sets.train[0], regions=Regions.of(drawn)), heatmap


PLACES = {"left": (40, 40), "right": (240, 40), "below": (40, 300), "beside": (240, 300)}


def square(place: str, label: str, side: float = 120) -> Region:
    x, y = PLACES[place]
    return Region(shapely.box(x, y, x + side, y + side), label)


def test_findings_are_ignored_with_a_rim_and_outlines_stand(prepare: Callable[[Recipe], Parts]) -> None:
    drawn = [
        square("left", "UDH"),
        square("below", "normal", 20),
        Region(shapely.box(370, 40, 400, 160), "ADH"),
    ]
    shown = {"left": 0.9, "right": 0.9, "below": 0.9, "beside": 0.6}
    slide, heatmap = scene(prepare, shown, drawn)
    (found,) = find_unannotated_regions(slide, heatmap, 0.7)
    assert found.label == "ignore"
    outside = square("right", "").outline.buffer(RIM_UM / MPP)
    assert found.outline.difference(outside).area < 0.05 * outside.area
    assert outside.difference(found.outline).difference(drawn[2].outline).area < 0.05 * outside.area
    assert found.outline.intersection(drawn[2].outline).area == 0, "10 px beside an outline, which stands"
    assert len(find_unannotated_regions(slide, heatmap, 0.5)) == 2
    assert not len(find_unannotated_regions(slide, heatmap, 0.95))


def test_a_place_is_doubtful_from_what_few_outlined_places_do_not_reach(
    prepare: Callable[[Recipe], Parts],
) -> None:
    drawn = [square("left", "UDH"), square("right", "UDH"), square("below", "UDH", 30)]
    slide, heatmap = scene(prepare, {"left": 0.9, "right": 0.8, "beside": 1.0}, drawn)
    assert lesion_threshold(count_pixels(slide, heatmap, "UDH")) == pytest.approx(0.8, abs=0.01)
    assert lesion_threshold(PixelCounts.empty()) == 1.0
    unseen = replace(heatmap, values=heatmap.values // 4)
    unsure = count_pixels(slide, unseen, "UDH")
    assert lesion_threshold(unsure) == PU_MIN_PROBABILITY, "a network that knows nothing yet doubts nothing"
