"""`histoscout crossval COHORT -o FOLDS`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from histoscout.cli.evaluate import Guards
from histoscout.cli.options import MovedSlides
from histoscout.errors import RecipeError

if TYPE_CHECKING:
    from histoscout.recipe import Recipe

PLANNED = "plan"


def crossval(
    cohort: Path = typer.Argument(
        help="cohort.csv, a QuPath project, or a folder of slides with outlines.", show_default=False
    ),
    out: Path = typer.Option(..., "-o", "--out", help="The folder for all folds."),
    slides: MovedSlides = None,
    recipe: list[str] = typer.Option(
        [], help="A recipe (TOML), or the word plan; several are compared. Without one: plan."
    ),
    folds: int = typer.Option(4, help="How many parts the patients are divided into."),
    folds_file: Path | None = typer.Option(
        None, "--folds-file", help="A table of fold and patient, such as OUT/folds.csv."
    ),
    fold: int | None = typer.Option(None, min=1, help="Only this fold: a job of its own on a cluster."),
    seed: int = typer.Option(0, min=0, help="Same seed, same folds."),
    positive: str | None = typer.Option(None, help="The class to look for, where it is planned."),
    minutes: float | None = typer.Option(None, min=0.01, help="How long each training takes."),
    epochs: int | None = typer.Option(None, min=1, help="Epochs of each training, instead of minutes."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, mps, openvino or torch."),
    sanity_checks: Guards = typer.Option(Guards.all, help="tell: a failed guard is told and does not stop."),
    quiet: bool = typer.Option(False, "--quiet", help="Say only what must be seen."),
) -> None:
    """Judge recipes on every patient, none of whom the model has seen. Started again, it goes on."""
    from histoscout.cohort.cohort import read_cohort

    recipes = _recipes(recipe or [PLANNED])
    cases = read_cohort(cohort, slides)
    if minutes is not None and epochs is not None:
        raise typer.BadParameter("give either --minutes or --epochs")
    choices: dict[str, Any] = {}
    if minutes is not None or epochs is not None:
        choices = {"training.minutes": minutes, "training.epochs": epochs}

    from histoscout.cli.console import Console  # what follows loads torch: mistakes are told before
    from histoscout.report.crossval import write_crossval_report
    from histoscout.training.crossval import CrossvalOptions
    from histoscout.training.crossval import crossval as run

    with Console(quiet) as console:
        for note in cases.notes:
            console.note(note)
        options = CrossvalOptions(
            folds, seed, folds_file, fold, choices, positive, device, sanity_checks.value, console
        )
        result = run(cases, out, recipes, options)
        report = write_crossval_report(result, out) if fold is None else None

    from histoscout.cli.tables import crossval_table

    typer.echo(crossval_table(result))
    for note in result.told:
        typer.echo(f"note: {note}", err=True)
    if report is None:
        typer.echo(f"fold {fold} of {len(result.folds)} is done; when all are, run it without --fold")
    else:
        typer.echo(f"figures: {out / 'crossval.json'}\nreport: {report}")


def _recipes(given: Sequence[str]) -> "dict[str, Recipe | None]":
    """Recipes by their file's name without suffix; None where it is to be planned."""
    from histoscout.recipe import Recipe

    recipes: dict[str, Recipe | None] = {}
    for word in given:
        name = Path(word).stem
        if name in recipes:
            raise RecipeError(word, f"is the second recipe called {name}", "Rename one of the files")
        recipes[name] = None if word == PLANNED else Recipe.read(Path(word))
    return recipes
