"""The training chain on toy slides: it learns, it resumes after SIGKILL, it says what is wrong."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file

import histoscout.training.train as train_module
from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.errors import CohortError, ModelError, OutputError, SlideError, TrainingError
from histoscout.geometry.regions import Regions
from histoscout.io.locks import claim_folder
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.progress import NoProgress
from histoscout.recipe import Recipe
from histoscout.training import loop
from histoscout.training.ensemble import TrainedEnsemble, member_recipes
from histoscout.training.run_folder import open_run, training_fingerprint
from histoscout.training.train import TrainOptions, train
from tests import toy
from tests.toy import CHOICES, RECIPE


def test_it_learns_the_toy(model: ModelFolder) -> None:
    tune = model.metrics["tune"]["pixel"]
    assert tune["ap"] > 0.9 > tune["prevalence"] * 3
    assert tune["dice"] > 0.75
    assert 0 < model.threshold < 1


def test_it_leaves_curves_split_and_card(model: ModelFolder) -> None:
    folder = model.path / "training"
    rows = (folder / "curves.csv").read_text().splitlines()
    assert len(rows) == 4
    assert (folder / "curves.png").stat().st_size > 1000
    assert list((folder / "tensorboard").iterdir())
    split = (folder / "split.csv").read_text()
    assert "patient 3" in split
    assert model.metrics["data"]["train_patients"] == ["patient 0", "patient 1"]
    assert model.metrics["data"]["tune_patients"] == ["patient 2"]
    assert "research use only" in (model.path / "card.md").read_text().lower().replace(
        "for research only", "research use only"
    )


def test_test_slides_are_never_opened(table: Path, tmp_path: Path) -> None:
    spoilt = toy.write_cohort(tmp_path)
    (tmp_path / "slide_3.tif").write_bytes(b"no slide at all")
    short = RECIPE.with_choices({"training.epochs": 1, "training.steps_per_epoch": 2})
    assert train(spoilt, tmp_path / "model", short).path == tmp_path / "model"


def test_a_second_run_returns_what_is_finished(table: Path, model: ModelFolder) -> None:
    before = (model.path / "detector.safetensors").stat().st_mtime_ns
    assert train(table, model.path, RECIPE).hash == model.hash
    assert (model.path / "detector.safetensors").stat().st_mtime_ns == before


def test_another_recipe_does_not_overwrite(table: Path, model: ModelFolder) -> None:
    with pytest.raises(OutputError, match="another recipe"):
        train(table, model.path, RECIPE.with_choices({"seed": 5}))


@pytest.mark.parametrize(
    "choices",
    [{"classes.positive": "UHD"}, {"network.weights": "gone.safetensors"}],
    ids=["class", "weights"],
)
def test_a_model_is_not_overwritten_by_a_training_that_is_refused(
    table: Path, model: ModelFolder, tmp_path: Path, choices: dict[str, str]
) -> None:
    out = tmp_path / "model"
    shutil.copytree(model.path, out)
    with pytest.raises((TrainingError, ModelError)):
        train(table, out, RECIPE.with_choices(choices), TrainOptions(overwrite=True))
    kept = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert kept == {
        path.relative_to(model.path): path.read_bytes() for path in model.path.rglob("*") if path.is_file()
    }
    assert train(table, out, RECIPE).hash == model.hash


SHORT = RECIPE.with_choices({"seed": 5, "training.epochs": 1, "training.steps_per_epoch": 2})


def test_a_model_is_overwritten_only_once_the_new_one_is_whole(
    table: Path, model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StoppedError(BaseException):
        pass

    def stop(*_: object) -> None:
        raise StoppedError

    out = tmp_path / "model"
    shutil.copytree(model.path, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    overwrite = TrainOptions(overwrite=True, sanity_checks="quick")
    with monkeypatch.context() as patch:
        patch.setattr("histoscout.training.train.finalize", stop)
        with pytest.raises(StoppedError):
            train(table, out, SHORT, overwrite)
    assert before == {path: path.read_bytes() for path in before}
    assert read_model(out).hash == model.hash
    assert train(table, out, RECIPE).hash == model.hash
    # the same command goes on where it was stopped
    notes: list[str] = []

    class Noting(NoProgress):
        def note(self, text: str) -> None:
            notes.append(text)

    new = train(table, out, SHORT, replace(overwrite, progress=Noting()))
    assert "resuming at step 2 of 2" in notes
    assert (new.hash, new.path) == (read_model(out).hash, out)
    assert new.recipe == SHORT
    assert {path.name for path in out.iterdir()} == {path.name for path in model.path.iterdir()}
    assert len((out / "training" / "curves.csv").read_text().splitlines()) == 2


def test_what_an_older_version_kept_aside_comes_back(table: Path, model: ModelFolder, tmp_path: Path) -> None:
    out = tmp_path / "model"
    shutil.copytree(model.path, out)
    (out / ".replaced").mkdir()
    # killed between its two renames
    (out / "model.json").rename(out / ".replaced" / "model.json")
    assert train(table, out, RECIPE).hash == model.hash
    assert not (out / ".replaced").exists()


def test_a_second_training_is_refused_before_it_does_anything(
    table: Path, model: ModelFolder, tmp_path: Path
) -> None:
    with claim_folder(tmp_path / "model"), pytest.raises(OutputError, match="another run is writing"):
        train(table, tmp_path / "model", SHORT)


@pytest.mark.parametrize("left", ["training", "training/.part.1a2b3c-00.json", ".locks/run-1.lock"])
def test_a_training_killed_in_its_first_moment_begins_again(left: str, table: Path, tmp_path: Path) -> None:
    place = tmp_path / "model" / left
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch() if "." in place.name else place.mkdir()
    cohort = read_cohort(table)
    with claim_folder(tmp_path / "model"):
        run = open_run(tmp_path / "model", training_fingerprint(cohort, SHORT))
    assert run.finished is None


def test_a_slide_that_changes_while_it_is_learned_ends_the_training(table: Path, tmp_path: Path) -> None:
    changing = toy.write_cohort(tmp_path)

    class Touching(NoProgress):
        def start(self, name: str, total: int) -> None:
            os.utime(tmp_path / "slide_1.tif", (1, 1))

    with pytest.raises(SlideError, match="changed while it was read"):
        train(changing, tmp_path / "model", SHORT, TrainOptions(progress=Touching()))


def test_what_never_took_a_step_is_begun_anew_with_another_recipe(table: Path, tmp_path: Path) -> None:
    short = RECIPE.with_choices({"training.epochs": 1, "training.steps_per_epoch": 2})
    with pytest.raises(ModelError, match="safetensors"):
        train(table, tmp_path / "model", short.with_choices({"network.weights": "gone.safetensors"}))
    assert train(table, tmp_path / "model", short).path == tmp_path / "model"


def test_it_goes_on_from_another_model(table: Path, model: ModelFolder, tmp_path: Path) -> None:
    short = RECIPE.with_choices(
        {"training.epochs": 1, "training.steps_per_epoch": 1, "training.learning_rate": 1e-9}
    )
    again = train(table, tmp_path / "model", short, TrainOptions(start=model.path))
    assert again.metrics["tune"]["pixel"]["ap"] > 0.85


KILLED = """
import sys
from pathlib import Path
from typing import Any
from histoscout.recipe import Recipe
from histoscout.training import checkpoint
from histoscout.training.train import train
checkpoint.SAVE_SECONDS = 0.0
train(Path(sys.argv[1]), Path(sys.argv[2]), Recipe.read(Path(sys.argv[3])))
"""


@pytest.mark.slow
def test_a_run_killed_and_started_again_ends_with_the_same_weights(
    table: Path, model: ModelFolder, tmp_path: Path
) -> None:
    RECIPE.write(tmp_path / "recipe.toml")
    command = [
        sys.executable,
        "-c",
        KILLED,
        str(table),
        str(tmp_path / "model"),
        str(tmp_path / "recipe.toml"),
    ]
    last = tmp_path / "model" / "training" / "last.safetensors"
    running = subprocess.Popen(command, env=os.environ)
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "model" / "model.json").exists(), "killed too late to test anything"
    assert last.exists()
    again = train(table, tmp_path / "model", RECIPE)
    whole, resumed = (load_file(one.weights()) for one in (model, again))
    assert whole.keys() == resumed.keys()
    assert all((whole[name] == resumed[name]).all() for name in whole)
    assert again.threshold == model.threshold


@pytest.mark.slow
def test_minutes_become_a_stored_number_of_steps(table: Path, tmp_path: Path) -> None:
    from histoscout.training.budget import Budget

    short = RECIPE.with_choices({"training.epochs": None, "training.minutes": 0.02})
    train(table, tmp_path / "model", short)
    budget = Budget.read(tmp_path / "model" / "training" / "budget.json")
    assert budget.steps >= 20
    assert budget.step_seconds is not None


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_the_number_of_workers_does_not_matter(table: Path, tmp_path: Path, workers: int) -> None:
    short = RECIPE.with_choices(
        {"training.epochs": 1, "training.steps_per_epoch": 3, "training.workers": workers}
    )
    weights = load_file(train(table, tmp_path / "model", short).weights())
    alone = RECIPE.with_choices({"training.epochs": 1, "training.steps_per_epoch": 3})
    reference = load_file(train(table, tmp_path / "reference", alone).weights())
    assert all((weights[name] == reference[name]).all() for name in weights)


def test_no_positive_region_is_said_with_the_classes_there_are(table: Path, tmp_path: Path) -> None:
    with pytest.raises((TrainingError, CohortError), match="DCIS") as raised:
        train(table, tmp_path / "model", RECIPE.with_choices({"classes.positive": "DCIS"}))
    assert "UDH" in str(raised.value)


def test_one_patient_is_tuned_on_blocks_and_called_optimistic(tmp_path: Path) -> None:
    table = toy.write_cohort(tmp_path, patients=1, splits=(), mpp=4.0)
    recipe = Recipe.from_dict(
        {
            **CHOICES,
            "patches": {"mpp": 8.0, "size_um": 256.0},
            "training": {**CHOICES["training"], "epochs": 1, "steps_per_epoch": 2},
        }
    )
    model = train(table, tmp_path / "model", recipe)
    assert model.metrics["tune"]["optimistic"]
    assert "optimistic" in (model.path / "card.md").read_text()
    data = model.metrics["data"]
    assert len(data["fingerprints"]) == len(set(data["train_slides"])), "a slide and its blocks are one slide"


def test_a_folder_that_is_no_training_is_left_alone(table: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not empty"):
        train(table, tmp_path, RECIPE)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.slow
def test_members_learn_one_after_another_and_answer_as_one(
    table: Path, model: ModelFolder, tmp_path: Path
) -> None:
    two = train(table, tmp_path / "model", RECIPE.with_choices({"network.ensemble_size": 2}))
    found, alone = load_file(two.weights()), load_file(model.weights())
    first, second = (
        {key.removeprefix(head): value for key, value in found.items() if key.startswith(head)}
        for head in ("networks.0.", "networks.1.")
    )
    assert first.keys() == second.keys() == alone.keys()
    assert all((first[key] == alone[key]).all() for key in alone), (
        "the first member is the model without others"
    )
    assert any((first[key] != second[key]).any() for key in alone)
    assert two.metrics["training"]["steps"] == 2 * model.metrics["training"]["steps"]
    assert two.metrics["tune"]["pixel"]["ap"] > 0.9
    assert (two.path / "training" / "member-2" / "curves.png").exists()


@pytest.mark.slow
def test_a_run_stopped_between_members_goes_on(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = RECIPE.with_choices(
        {"training.epochs": 1, "training.steps_per_epoch": 2, "network.ensemble_size": 2}
    )
    whole = train(table, tmp_path / "whole", short)
    calls = []

    def once(*arguments: object, **options: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        loop.fit(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(train_module, "fit", once)
    with pytest.raises(KeyboardInterrupt):
        train(table, tmp_path / "model", short)
    monkeypatch.undo()
    again = train(table, tmp_path / "model", short)
    assert again.hash == whole.hash


def test_minutes_are_shared_by_the_members() -> None:
    recipe = RECIPE.with_choices(
        {"training.epochs": None, "training.minutes": 6.0, "network.ensemble_size": 3, "seed": 5}
    )
    members = member_recipes(recipe)
    assert [member.training.minutes for member in members] == [2.0, 2.0, 2.0]
    assert len({member.seed for member in members}) == 3
    assert member_recipes(RECIPE) == [RECIPE]


def test_members_tune_on_other_patients_in_turn(tmp_path: Path) -> None:
    short = RECIPE.with_choices(
        {
            "training.epochs": 1,
            "training.steps_per_epoch": 4,
            "training.tuning_share": 0.3,
            "network.ensemble_size": 2,
        }
    )
    table = toy.write_cohort(tmp_path, splits=())
    model = train(table, tmp_path / "model", short)
    splits = [
        (tmp_path / "model" / "training" / folder / "split.csv").read_text() for folder in (".", "member-2")
    ]
    tuned = [
        {line.rsplit(",", 1)[1] for line in text.splitlines() if line.startswith("tune")} for text in splits
    ]
    assert len(tuned[0]) == len(tuned[1]) == 1
    assert tuned[0] != tuned[1]
    data = model.metrics["data"]
    assert set(data["tune_patients"]) == tuned[0] | tuned[1]
    assert set(data["train_patients"]) == {f"patient {number}" for number in range(4)}
    assert model.metrics["operating_points"]["patients"] == sorted(tuned[0] | tuned[1])
    assert "2 networks" in (model.path / "card.md").read_text()


def test_nobody_tunes_by_what_a_member_has_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = RECIPE.with_choices(
        {
            "training.epochs": 1,
            "training.steps_per_epoch": 1,
            "training.tuning_share": 0.3,
            "network.ensemble_size": 3,
        }
    )
    kept: list[TrainedEnsemble] = []
    made = TrainedEnsemble.calibrated.__func__  # type: ignore[attr-defined]

    def keep(cls: type[TrainedEnsemble], /, *arguments: object, **words: object) -> TrainedEnsemble:
        kept.append(made(cls, *arguments, **words))
        return kept[-1]

    monkeypatch.setattr(TrainedEnsemble, "calibrated", classmethod(keep))
    train(toy.write_cohort(tmp_path, patients=3, splits=()), tmp_path / "model", short)
    (trained,) = kept
    assert len(trained.tuning_slides) == 3
    for one in trained.tuning_slides:
        network = one.engine.detector.network
        learnt_it = [
            number
            for number, member in enumerate(trained.members)
            if any(labeled.patient == one.labeled.patient for labeled in member.data.train)
        ]
        assert len(learnt_it) == 2
        assert all(network is not trained.members[number].network for number in learnt_it)


def test_an_unannotated_lesion_is_exported_for_review(tmp_path: Path) -> None:
    table = toy.write_cohort(tmp_path)
    drawn = read_geojson(tmp_path / "slide_2.geojson").regions
    hidden = next(region for region in drawn if region.label == "UDH")
    write_geojson(
        Regions.of(region for region in drawn if region is not hidden), tmp_path / "slide_2.geojson"
    )
    folder = train(table, tmp_path / "model", RECIPE).path / "training" / "unannotated"
    exported = read_geojson(folder / "slide_2.geojson").regions
    assert any(region.outline.intersects(hidden.outline.centroid) for region in exported)
    rows = list(csv.DictReader((folder / "review.csv").read_text().splitlines()))
    assert len(rows) == len(exported)
    assert {row["location"] for row in rows} == {"unannotated tissue"}
    assert all((folder / row["picture"]).stat().st_size > 1000 for row in rows)


def test_nothing_is_exported_where_nothing_unannotated_is_found(model: ModelFolder) -> None:
    table = model.path / "training" / "unannotated" / "review.csv"
    assert not table.exists()


def test_a_moved_cohort_is_the_same_and_other_masks_or_weights_are_not(table: Path, tmp_path: Path) -> None:
    """What decides how a training ends, and what does not."""
    cohort = read_cohort(table)

    def marked(cohort: Cohort, recipe: Recipe, out: Path) -> str:
        open_run(out, training_fingerprint(cohort, recipe))
        return (out / "training" / "run.json").read_text()

    shutil.copytree(table.parent, tmp_path / "moved")
    here = marked(cohort, RECIPE, tmp_path / "a")
    assert marked(read_cohort(tmp_path / "moved" / table.name), RECIPE, tmp_path / "b") == here
    labeled = replace(cohort, cases=tuple(replace(case, mask_labels=((2, "UDH"),)) for case in cohort.cases))
    assert marked(labeled, RECIPE, tmp_path / "c") != here
    weights, begun = tmp_path / "w.safetensors", []
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        chosen = RECIPE.with_choices({"network.weights": str(weights)})
        begun.append(marked(cohort, chosen, tmp_path / content.decode()))
    assert begun[0] != begun[1]
