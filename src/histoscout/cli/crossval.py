"""`histoscout crossval COHORT -o FOLDS`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histoscout.cli.options import (
    ClassProperty,
    CohortPath,
    Device,
    KeepFound,
    Minutes,
    MovedSlides,
    Positive,
    Quiet,
    Sanity,
    SanityChecks,
    echo,
)
from histoscout.errors import RecipeError

if TYPE_CHECKING:
    from histoscout.recipe import Recipe

PLANNED = "plan"
"""Stands on the command line for a recipe that is planned for each fold."""


def crossval(
    cohort: CohortPath,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for all folds.")],
    slides: MovedSlides = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RECIPE", help='Recipe (TOML) or "plan"; repeat to compare recipes.', show_default="plan"
        ),
    ] = None,
    folds: Annotated[int, typer.Option(help="Number of folds.")] = 4,
    folds_file: Annotated[
        Path | None, typer.Option(help="Table of fold and patient, such as OUT/folds.csv.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option(min=1, help="Run this fold only, as one job on a cluster.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed (same seed, same folds).")] = 0,
    positive: Positive = None,
    minutes: Minutes = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Training epochs, instead of --minutes.")] = None,
    device: Device = "auto",
    sanity_checks: Sanity = SanityChecks.all,
    class_property: ClassProperty = None,
    keep_found: KeepFound = False,
    quiet: Quiet = False,
) -> None:
    """Cross-validate one or more recipes by patient.

    Re-run the same command to resume.
    """
    from histoscout.cohort.cohort import read_cohort

    recipes = _read_recipes(recipe or [PLANNED])
    cases = read_cohort(cohort, slides).reading(class_property, keep_found)
    if minutes is not None and epochs is not None:
        raise typer.BadParameter("give either --minutes or --epochs")
    choices: dict[str, Any] = {}
    if minutes is not None or epochs is not None:
        choices = {"training.minutes": minutes, "training.epochs": epochs}

    # these imports load torch: faults in the options are reported first
    from histoscout.cli.console import Console, show_cohort, show_next
    from histoscout.cli.tables import crossval_table
    from histoscout.report.crossval import write_crossval_report
    from histoscout.training.crossval import CrossvalOptions
    from histoscout.training.crossval import crossval as run

    with Console(quiet) as console:
        show_cohort(console, cases)
        options = CrossvalOptions(
            folds=folds,
            seed=seed,
            folds_file=folds_file,
            fold=fold,
            choices=choices,
            positive=positive,
            device=device,
            sanity_checks=sanity_checks.value,
            progress=console,
        )
        result = run(cases, out, recipes, options)
        report = write_crossval_report(result, out) if fold is None else None

    echo(crossval_table(result))
    for note in result.notes:
        echo(f"note: {note}", err=True)
    if report is None:
        echo(f"Fold {fold} of {len(result.folds)} is done. After the last fold, run without --fold.")
    else:
        echo(f"scores: {out / 'crossval.json'}\nreport: {report}")
        show_next(f"open {report} in a browser")


def _read_recipes(names: Sequence[str]) -> "dict[str, Recipe | None]":
    """Recipes by the stem of their file name; None for one that is planned."""
    from histoscout.cli.console import read_recipe

    recipes: dict[str, Recipe | None] = {}
    for text in names:
        name = Path(text).stem
        if name in recipes:
            raise RecipeError(text, f"there are two recipes called {name}", "Rename one of the files")
        recipes[name] = None if text == PLANNED else read_recipe(Path(text))
    return recipes
