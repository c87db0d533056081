"""`histoscout check COHORT`."""

from pathlib import Path
from typing import Annotated

import typer

from histoscout.cli.options import ClassProperty, CohortPath, KeepFound, MovedSlides, Quiet, echo


def check(
    cohort: CohortPath,
    out: Annotated[Path, typer.Option("-o", "--out", help="HTML page to write.")] = Path("check.html"),
    slides: MovedSlides = None,
    recipe: Annotated[Path | None, typer.Option(help="Recipe that will be trained with (TOML).")] = None,
    positive: Annotated[str | None, typer.Option(help="Class that will be detected.")] = None,
    apply: Annotated[
        Path | None, typer.Option(help="Write corrected annotations here; originals are never modified.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that exists.")] = False,
    class_property: ClassProperty = None,
    keep_found: KeepFound = False,
    quiet: Quiet = False,
) -> None:
    """Check files, alignment and data leakage before training.

    Exits with code 1 if a check fails.
    """
    from histoscout.checks.run import CheckOptions, apply_corrections, check_cohort, refuse_output_folder
    from histoscout.cli.console import Console, command_line, read_recipe, show_cohort, show_next
    from histoscout.cohort.cohort import read_cohort
    from histoscout.errors import OutputError
    from histoscout.io.notes import SlideNotes
    from histoscout.recipe import Recipe
    from histoscout.report.check import write_check

    if out.exists() and not overwrite:
        raise OutputError(out, "the file exists already", "Give another name with -o, or use --overwrite")
    choices = read_recipe(recipe) if recipe else Recipe()
    if positive:
        choices = choices.with_choices({"classes.positive": positive})
    class_named = recipe is not None or positive is not None
    with Console(quiet) as console:
        listed = read_cohort(cohort, slides).reading(
            class_property or choices.classes.class_property, keep_found
        )
        show_cohort(console, listed)
        if apply is not None:
            refuse_output_folder(apply, listed.cases)
        checks = check_cohort(listed, choices, CheckOptions(class_named=class_named, progress=console))
        write_check(checks, out)
        slide_notes = SlideNotes()
        for slide in checks.slides:
            slide_notes.add(slide.name, *slide.loaded.notes)
        for note in slide_notes.notes:
            console.note(note)

    # results: one line for each check, its remedy below it
    for verdict in checks.verdicts:
        echo(f"{verdict.state:<12} {verdict.name}: {verdict.message}")
        if verdict.state != "good" and verdict.remedy:
            echo(f"{'':<12} -> {verdict.remedy}")
    for path in [] if apply is None else apply_corrections(checks.slides, apply):
        echo(f"corrected:   {path}")
    echo(f"page:        {out}")
    if checks.failed:
        show_next(f"open {out} in a browser, and look at the slides named above")
        raise typer.Exit(1)
    # the class that was named, or the one that occurs
    target = ("--positive", positive) if positive else ("--recipe", recipe) if recipe else ()
    show_next(command_line("train", cohort, "-o", "model", *target))
