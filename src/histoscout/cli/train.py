"""`histoscout train COHORT -o MODEL`."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from histoscout.cli.options import Incomplete, MovedSlides, Weights


class Guards(StrEnum):
    """What training asks itself first, and what becomes of a guard that fails."""

    all = "all"
    quick = "quick"
    warn = "warn"


def train(
    cohort: Path = typer.Argument(
        help="cohort.csv, a QuPath project, a folder of slides with outlines, or images by class (a folder for each).",
        show_default=False,
    ),
    out: Path = typer.Option(..., "-o", "--out", help="The model folder to make."),
    slides: MovedSlides = None,
    recipe: Path | None = typer.Option(
        None, help="A recipe (TOML); without one, what `histoscout plan` would choose."
    ),
    positive: str | None = typer.Option(None, help="The class to look for, as named in QuPath."),
    minutes: float | None = typer.Option(None, min=0.01, help="How long to train."),
    seed: int | None = typer.Option(None, help="Same seed, same windows."),
    incomplete: Incomplete = False,
    weights: Weights = None,
    mpp: float | None = typer.Option(None, min=0, help="um/px of images by class that do not say."),
    scores: Path | None = typer.Option(
        None, help="For images by class: judge by the test images, too, and write the figures here."
    ),
    start: Path | None = typer.Option(None, "--from", help="A model folder whose weights are the start."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a training that is already there."),
    sanity_checks: Guards = typer.Option(
        Guards.all,
        help="quick: without learning a batch by heart; tell: a failed guard is told and does not stop.",
    ),
    quiet: bool = typer.Option(False, "--quiet", help="Say only what must be seen."),
) -> None:
    """Teach a network to find the outlined lesions. Started again, it goes on where it stopped."""
    from histoscout.cli.images import cohort_from, judge_images, ready_to_judge
    from histoscout.recipe import Recipe

    changes = _changes(positive, minutes, seed, weights) | ({"classes.complete": False} if incomplete else {})
    choices = Recipe.read(recipe).with_choices(changes) if recipe else None
    cases = cohort_from(cohort, slides, mpp)
    if scores is not None:
        ready_to_judge(cases, scores, overwrite=overwrite)

    from histoscout.cli.console import Console  # what follows loads torch: mistakes are told before
    from histoscout.cli.tables import training_table
    from histoscout.training.planning.plan import PlanOptions, kept_in, plan_for
    from histoscout.training.train import TrainOptions
    from histoscout.training.train import train as run

    with Console(quiet) as console:
        for note in cases.notes:
            console.note(note)
        planning = PlanOptions(
            positive, minutes, seed, console, notes=False, weights=weights, incomplete=incomplete
        )
        chosen = choices or plan_for(cases, out, planning, overwrite=overwrite)
        model = run(cases, out, chosen, TrainOptions(device, start, overwrite, sanity_checks.value, console))
    typer.echo(training_table(model))
    if choices is None:
        typer.echo(f"recipe, with a reason for each choice: {kept_in(out)}")
    typer.echo(f"model: {model.path}")
    if scores is not None:
        from histoscout.evaluation.images.evaluate import ImageOptions
        from histoscout.evaluation.leakage import SanityMode

        with Console(quiet) as console:
            told: SanityMode = "warn" if sanity_checks is Guards.warn else "all"
            judge_images(
                out, cohort, scores, ImageOptions("torch", mpp, overwrite, console, sanity_checks=told)
            )


def _changes(
    positive: str | None, minutes: float | None, seed: int | None, weights: str | None
) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "classes.positive": positive,
        "seed": seed,
        "training.minutes": minutes,
        "network.weights": weights,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    return given | ({"training.epochs": None} if minutes is not None else {})
