"""Runs use the ordinary loop and its functions; interrupted, they are resumed; finished, they are not made again."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from histoscout.network.losses import make_loss
from histoscout.study.context import StudyContext
from histoscout.study.preparation import RunData, make_network, make_run_recipe, prepare_run
from histoscout.study.protocol import MODELS, STATED_FAULTS, Run, ablation_runs, main_runs
from histoscout.study.run import AccuracyLog, RunTraining, make_training, train_run, with_schedule
from histoscout.study.tiles import iterate_batches
from histoscout.training.loop import fit
from histoscout.training.sanity.network import check_optimizer_parameters
from histoscout.training.validation import predict_logits, validate

SHORT = Run("unet", STATED_FAULTS, epochs=(50,), whole_slides="none")


def start(run: Run, context: StudyContext) -> tuple[RunTraining, RunData]:
    recipe = with_schedule(make_run_recipe(run, context), run, 4, context=context)
    data = prepare_run(run, recipe, context)
    torch.manual_seed(0)
    network = make_network(run, recipe, data, context=context)
    return make_training(run, recipe, data, network=network, context=context), data


def test_without_faults_of_the_code_the_parts_are_the_ordinary_ones(context: StudyContext) -> None:
    training, data = start(SHORT, context)
    recipe, network = training.context.recipe, training.state.network
    training.context.folder.mkdir(parents=True, exist_ok=True)
    batches = iterate_batches(data.test_pixels, frozenset(), recipe)
    ordinary = validate(predict_logits(network, batches, recipe, context.fabric), make_loss(recipe))
    assert training.context.validate(network).loss == ordinary.loss
    assert check_optimizer_parameters(network, training.state.optimizer).state == "good"
    assert np.array_equal(data.train_pixels.own, data.train_pixels.truth)


def test_a_run_is_the_ordinary_fit_on_its_batches(
    context: StudyContext, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The ordinary loop, given the same training directly, ends with the losses that the run reports."""
    result = train_run(SHORT, replace(context, out=tmp_path_factory.mktemp("run")))
    elsewhere = replace(context, out=tmp_path_factory.mktemp("fit"))
    training, data = start(SHORT, elsewhere)
    training.context.folder.mkdir(parents=True)
    shadow = make_network(SHORT, training.context.recipe, data, context=elsewhere)
    batches = training.context.make_batches(0, 4)
    fit(training.context, training.state, batches, shadow=shadow, steps=4)
    rows = [line.split(",") for line in training.context.curves.read_text("utf-8").splitlines()[1:]]
    assert rows
    assert [float(row[1]) for row in rows] == [row["train_loss"] for row in result["curve"]]
    assert [float(row[2]) for row in rows] == [row["tune_loss"] for row in result["curve"]]


def test_finished_runs_and_stages_are_read_and_not_made_again(context: StudyContext) -> None:
    run = replace(SHORT, seed=3, epochs=(50, 100))
    first = train_run(run, context)
    folder = context.out / "runs" / run.name
    (folder / "result.json").write_text(json.dumps(first | {"mark": 1}), encoding="utf-8")
    assert train_run(run, context)["mark"] == 1
    # without a result, the first stage is read and the second is as before
    (folder / "result.json").unlink()
    stage = folder / "training" / "judged-50.json"
    stage.write_text(json.dumps(json.loads(stage.read_text("utf-8")) | {"mark": 2}), encoding="utf-8")
    again = train_run(run, context)
    assert again["epochs"]["50"]["mark"] == 2
    assert again["epochs"]["100"] == first["epochs"]["100"]


def test_effects_of_the_faults_on_a_run(context: StudyContext) -> None:
    faulty = train_run(Run("unet", MODELS["unet"].all_faults, epochs=(50,), whole_slides="none"), context)
    stated = train_run(SHORT, context)
    last = faulty["epochs"]["50"]
    # A and B: the run's own masks differ from the correct ones
    assert last["test"]["own"] != last["test"]["truth"]
    test = stated["epochs"]["50"]["test"]
    assert test["own"]["confusion"] == test["truth"]["confusion"]
    # G: tiles in both sets
    assert faulty["tiles_in_both"] > 0
    assert stated["tiles_in_both"] == 0
    # H: the test set contains the training tiles
    train, both, test_only = (
        sum(last[name]["own"]["confusion"].values()) for name in ("train", "test", "test tiles only")
    )
    assert both == train + test_only


def test_stale_validation_changes_with_the_training_batch(context: StudyContext) -> None:
    """C: each validation shows another training batch, though with E the network learns nothing."""
    rerun = train_run(Run("unet-rerun", MODELS["unet-rerun"].all_faults, whole_slides="none"), context)
    assert len(rerun["curve"]) == len({row["tune_loss"] for row in rerun["curve"]}) == 2
    assert rerun["rate_times_steps"] == pytest.approx(rerun["paper_rate_times_steps"])


def test_every_run_has_a_unique_name_and_only_faults_of_its_model() -> None:
    runs = [*main_runs().values(), *ablation_runs(3)]
    assert len({run.name for run in main_runs().values()}) == len(main_runs())
    assert all(run.faults <= MODELS[run.model].all_faults for run in runs)
    letters = {run.letters for run in ablation_runs(1) if run.model == "unet"}
    all_letters = "ABCFGHIJK"
    all_but_one = {all_letters.replace(letter, "") for letter in all_letters}
    assert {all_letters, "none", *all_letters, *all_but_one} <= letters
    assert len(ablation_runs(3)) == 3 * len(ablation_runs(1))


def test_a_training_that_diverges_is_reported_and_evaluated(context: StudyContext) -> None:
    run = replace(SHORT, rate=1e5)
    last = train_run(run, context)["epochs"]["50"]
    assert last["stopped"]
    assert last["test"]["own"]["prevalence"] > 0
    text = (context.out / "runs" / run.name / "result.json").read_text("utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text


def test_accuracies_of_two_writers_are_all_kept(tmp_path: Path) -> None:
    log = AccuracyLog(tmp_path / "accuracies.json")
    batch = [(torch.tensor([[[[-1.0, 1.0]]]]), torch.tensor([[[0, 1]]]))]

    def write(first: int) -> None:
        for step in range(first, first + 5):
            assert len(list(log.record(batch, step))) == 1

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (0, 100)))
    assert sorted(map(int, log.read())) == [*range(5), *range(100, 105)]
