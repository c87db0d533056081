"""`histoscout plan COHORT -o recipe.toml`."""

from pathlib import Path

import typer

from histoscout.cli.options import Incomplete, MovedSlides, Weights


def plan(
    cohort: Path = typer.Argument(
        help="cohort.csv, a QuPath project, a folder of slides with outlines, or images by class (a folder for each).",
        show_default=False,
    ),
    out: Path = typer.Option(..., "-o", "--out", help="The recipe to write (TOML)."),
    slides: MovedSlides = None,
    positive: str | None = typer.Option(
        None, help="The class to look for, as named in QuPath; needed if there are several."
    ),
    minutes: float | None = typer.Option(None, min=0.01, help="How long to train."),
    seed: int | None = typer.Option(None, min=0, help="Same seed, same windows."),
    incomplete: Incomplete = False,
    weights: Weights = None,
    mpp: float | None = typer.Option(None, min=0, help="um/px of images by class that do not say."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a recipe that is already there."),
    quiet: bool = typer.Option(False, "--quiet", help="Say only what must be seen."),
) -> None:
    """Choose a recipe for a cohort and this machine, with the reason for each choice as a comment."""
    from histoscout.cli.images import cohort_from
    from histoscout.errors import OutputError

    if out.suffix != ".toml":
        raise OutputError(out, "is not the name of a recipe", "Give a name that ends in .toml with -o")
    if out.exists() and not overwrite:
        raise OutputError(out, "is there already", "Give another name with -o, or --overwrite")
    cases = cohort_from(cohort, slides, mpp)

    from histoscout.cli.console import Console  # what follows loads torch: mistakes are told before
    from histoscout.training.planning.plan import PlanOptions
    from histoscout.training.planning.plan import plan as make

    with Console(quiet) as console:
        for note in cases.notes:
            console.note(note)
        planning = PlanOptions(positive, minutes, seed, console, weights=weights, incomplete=incomplete)
        made = make(cases, planning)
    made.write(out)
    windows = made.recipe.patches
    typer.echo(
        f"{made.recipe.classes.positive}: windows of {windows.size_um:g} um at {windows.mpp:g} um/px "
        f"({made.recipe.patch_px} px)\nrecipe: {out}"
    )
