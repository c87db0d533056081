"""Runs: without faults the ordinary loop and its functions; killed, they go on; kept, they are not made again."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from histoscout.network.losses import make_loss
from histoscout.study.bench import Bench
from histoscout.study.faults import LastBatch
from histoscout.study.protocol import MODELS, STATED, Run, ablation_runs, main_runs
from histoscout.study.run import make_job, prepare_run, recipe_for, start_network, timed, train_run
from histoscout.study.tiles import plain
from histoscout.training.checkpoint import State
from histoscout.training.loop import Job, fit
from histoscout.training.sanity.network import optimizer_owns
from histoscout.training.validation import answers, validate

SHORT = Run("unet", STATED, epochs=(50,), whole="none")


def parts(run: Run, bench: Bench) -> tuple[Job, State, LastBatch]:
    recipe = timed(recipe_for(run, bench), run, 4, bench)
    prepared = prepare_run(run, recipe, bench)
    torch.manual_seed(0)
    return make_job(run, recipe, prepared, start_network(run, recipe, prepared, bench), bench)


def test_without_faults_of_the_code_the_parts_are_the_ordinary_ones(bench: Bench) -> None:
    recipe = timed(recipe_for(SHORT, bench), SHORT, 4, bench)
    prepared = prepare_run(SHORT, recipe, bench)
    job, state, _ = parts(SHORT, bench)
    job.folder.mkdir(parents=True, exist_ok=True)
    ordinary = validate(
        answers(state.network, plain(prepared.test_pixels, frozenset(), recipe), recipe, bench.fabric),
        make_loss(recipe),
    )
    assert job.validate(state.network).loss == ordinary.loss
    assert optimizer_owns(state.network, state.optimizer).state == "good"
    assert np.array_equal(prepared.train_pixels.own, prepared.train_pixels.truth)


def test_a_run_is_the_ordinary_fit_on_its_batches(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same job, handed to the ordinary loop directly, ends with the losses that the run reports."""
    result = train_run(SHORT, replace(bench, out=tmp_path_factory.mktemp("run")))
    elsewhere = replace(bench, out=tmp_path_factory.mktemp("fit"))
    job, state, _ = parts(SHORT, elsewhere)
    job.folder.mkdir(parents=True)
    shadow = start_network(SHORT, job.recipe, prepare_run(SHORT, job.recipe, elsewhere), elsewhere)
    fit(job, state, shadow, 4, job.batches(0, 4))
    written = [line.split(",") for line in job.curves.read_text("utf-8").splitlines()[1:]]
    assert [float(row[1]) for row in written] == [row["train_loss"] for row in result["curve"]]
    assert [float(row[2]) for row in written] == [row["tune_loss"] for row in result["curve"]]


def test_a_finished_run_is_read_and_a_stage_is_not_made_again(bench: Bench) -> None:
    run = replace(SHORT, seed=3, epochs=(50, 100))
    first = train_run(run, bench)
    folder = bench.out / "runs" / run.name
    (folder / "result.json").write_text(json.dumps(first | {"mark": 1}), encoding="utf-8")
    assert train_run(run, bench)["mark"] == 1
    (folder / "result.json").unlink()
    stage = folder / "training" / "judged-50.json"
    stage.write_text(json.dumps(json.loads(stage.read_text("utf-8")) | {"mark": 2}), encoding="utf-8")
    again = train_run(run, bench)
    assert again["epochs"]["50"]["mark"] == 2
    assert again["epochs"]["100"] == first["epochs"]["100"]


def test_what_each_fault_does_to_a_run(bench: Bench) -> None:
    had = train_run(Run("unet", MODELS["unet"].had, epochs=(50,), whole="none"), bench)
    stated = train_run(SHORT, bench)
    rerun = train_run(Run("unet-rerun", MODELS["unet-rerun"].had, whole="none"), bench)
    assert had["tiles_in_both"] > 0
    assert stated["tiles_in_both"] == 0
    own, truth = (stated["epochs"]["50"]["test"][kind]["confusion"] for kind in ("own", "truth"))
    assert own == truth
    both, alone = (
        sum(had["epochs"]["50"][name]["own"]["confusion"].values()) for name in ("test", "test tiles only")
    )
    train = sum(had["epochs"]["50"]["train"]["own"]["confusion"].values())
    assert both == train + alone  # H
    assert had["epochs"]["50"]["test"]["own"] != had["epochs"]["50"]["test"]["truth"]  # A, B
    tests = {row["tune_loss"] for row in rerun["curve"]}
    assert (
        len(rerun["curve"]) == len(tests) == 2
    )  # C: each time another training batch, though E learns nothing
    assert rerun["rate_times_steps"] == pytest.approx(rerun["paper_rate_times_steps"])


def test_every_run_has_a_name_of_its_own_and_only_faults_that_its_model_had() -> None:
    runs = [*main_runs().values(), *ablation_runs(3)]
    assert len({run.name for run in main_runs().values()}) == len(main_runs())
    assert all(run.faults <= MODELS[run.model].had for run in runs)
    letters = {run.letters for run in ablation_runs(1) if run.model == "unet"}
    had = "ABCFGHIJK"
    assert {had, "none", *had, *(had.replace(letter, "") for letter in had)} <= letters
    assert len(ablation_runs(3)) == 3 * len(ablation_runs(1))


def test_a_training_that_bursts_is_told_and_judged_all_the_same(bench: Bench) -> None:
    result = train_run(replace(SHORT, rate=1e30), bench)
    judged = result["epochs"]["50"]
    assert "loss is" in judged["stopped"]
    assert judged["test"]["own"]["prevalence"] > 0
    text = (bench.out / "runs" / replace(SHORT, rate=1e30).name / "result.json").read_text("utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
