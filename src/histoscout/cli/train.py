"""`histoscout train COHORT -o MODEL`."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from histoscout.cli.options import MovedSlides


class Guards(StrEnum):
    """What training asks itself first, and what becomes of a guard that fails."""

    all = "all"
    quick = "quick"
    tell = "tell"


def train(
    cohort: Path = typer.Argument(
        help="cohort.csv, a QuPath project, or a folder of slides with outlines.", show_default=False
    ),
    out: Path = typer.Option(..., "-o", "--out", help="The model folder to make."),
    slides: MovedSlides = None,
    recipe: Path | None = typer.Option(
        None, help="A recipe (TOML); without one, what `histoscout plan` would choose."
    ),
    positive: str | None = typer.Option(None, help="The class to look for, as named in QuPath."),
    minutes: float | None = typer.Option(None, help="How long to train."),
    seed: int | None = typer.Option(None, help="Same seed, same windows."),
    start: Path | None = typer.Option(None, "--from", help="A model folder whose weights are the start."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Delete a training that is already there."),
    guards: Guards = typer.Option(
        Guards.all,
        help="quick: without learning a batch by heart; tell: a failed guard is told and does not stop.",
    ),
    quiet: bool = typer.Option(False, "--quiet", help="Say only what must be seen."),
) -> None:
    """Teach a network to find the outlined lesions. Started again, it goes on where it stopped."""
    from histoscout.cohort.cohort import read_cohort
    from histoscout.recipe import Recipe

    choices = Recipe.read(recipe).with_choices(_changes(positive, minutes, seed)) if recipe else None
    cases = read_cohort(cohort, slides)

    from histoscout.cli.console import Console  # what follows loads torch: mistakes are told before
    from histoscout.cli.tables import training_table
    from histoscout.training.plan import PlanOptions, kept_in, plan_for
    from histoscout.training.train import TrainOptions
    from histoscout.training.train import train as run

    with Console(quiet) as console:
        for note in cases.notes:
            console.note(note)
        planning = PlanOptions(positive, minutes, seed, console, notes=False)
        chosen = choices or plan_for(cases, out, planning, overwrite=overwrite)
        model = run(cases, out, chosen, TrainOptions(device, start, overwrite, guards.value, console))
    typer.echo(training_table(model))
    if choices is None:
        typer.echo(f"recipe, with a reason for each choice: {kept_in(out)}")
    typer.echo(f"model: {model.path}")


def _changes(positive: str | None, minutes: float | None, seed: int | None) -> dict[str, Any]:
    changes: dict[str, Any] = {"classes.positive": positive, "seed": seed, "training.minutes": minutes}
    given = {name: value for name, value in changes.items() if value is not None}
    return given | ({"training.epochs": None} if minutes is not None else {})
