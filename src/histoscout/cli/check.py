"""`histoscout check COHORT`."""

from pathlib import Path

import typer

from histoscout.cli.options import MovedSlides


def check(
    cohort: Path = typer.Argument(
        help="cohort.csv, a QuPath project, or a folder of slides with outlines.", show_default=False
    ),
    out: Path = typer.Option(
        Path("check.html"), "-o", "--out", help="The page to write; a name ending in .html."
    ),
    slides: MovedSlides = None,
    recipe: Path | None = typer.Option(None, help="The recipe that training will use (TOML)."),
    positive: str | None = typer.Option(None, help="The class that will be looked for."),
    apply: Path | None = typer.Option(
        None, help="Write corrected outlines of slides where a mistake was found into this folder."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a page that is there."),
    quiet: bool = typer.Option(False, "--quiet", help="Say only what must be seen."),
) -> None:
    """Before training: can everything be read, do outlines fit the tissue, does anything leak? Exit code 1 if not."""
    from histoscout.checks.run import CheckOptions, apply_corrections, check_cohort, refuse_used
    from histoscout.cli.console import Console
    from histoscout.cohort.cohort import read_cohort
    from histoscout.errors import OutputError
    from histoscout.recipe import Recipe
    from histoscout.report.check import write_check

    if out.exists() and not overwrite:
        raise OutputError(out, "exists already", "Give another name with -o, or --overwrite")
    choices = Recipe.read(recipe) if recipe else Recipe()
    if positive:
        choices = choices.with_choices({"classes.positive": positive})
    named = recipe is not None or positive is not None
    with Console(quiet) as console:
        listed = read_cohort(cohort, slides)
        if apply is not None:
            refuse_used(apply, listed.cases)
        checks = check_cohort(listed, choices, CheckOptions(named, console))
        write_check(checks, out)
    for verdict in checks.verdicts:
        typer.echo(f"{verdict.state:<12} {verdict.name}: {verdict.message}")
        if verdict.state != "good" and verdict.remedy:
            typer.echo(f"{'':<12} -> {verdict.remedy}")
    for path in [] if apply is None else apply_corrections(checks.slides, apply):
        typer.echo(f"corrected:   {path}")
    typer.echo(f"page:        {out}")
    if checks.failed:
        raise typer.Exit(1)
