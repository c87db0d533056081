"""`histoscout plan COHORT -o recipe.toml`."""

from pathlib import Path
from typing import Annotated

import typer

from histoscout.cli.options import (
    ClassProperty,
    CohortOrImages,
    ImageMpp,
    Incomplete,
    KeepFound,
    Minutes,
    MovedSlides,
    Positive,
    Quiet,
    Weights,
    echo,
)


def plan(
    cohort: CohortOrImages,
    out: Annotated[Path, typer.Option("-o", "--out", help="Recipe to write (TOML).")],
    slides: MovedSlides = None,
    positive: Positive = None,
    minutes: Minutes = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Random seed (same seed, same training patches).")
    ] = None,
    incomplete: Incomplete = False,
    weights: Weights = None,
    mpp: ImageMpp = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a recipe that exists.")] = False,
    class_property: ClassProperty = None,
    keep_found: KeepFound = False,
    quiet: Quiet = False,
) -> None:
    """Choose a recipe for a cohort and this machine.

    The recipe gives the reason for each choice in a comment.
    """
    from histoscout.cli.images import read_training_cohort
    from histoscout.errors import OutputError

    if out.suffix != ".toml":
        raise OutputError(out, "the name of a recipe must end in .toml", "Give another name with -o")
    if out.exists() and not overwrite:
        raise OutputError(out, "the file exists already", "Give another name with -o, or use --overwrite")
    cases = read_training_cohort(cohort, slides, mpp, class_property=class_property, keep_found=keep_found)

    # these imports load torch: faults in the options are reported first
    from histoscout.cli.console import Console, command_line, show_cohort, show_next
    from histoscout.training.planning.plan import PlanOptions
    from histoscout.training.planning.plan import plan as make_plan

    with Console(quiet) as console:
        show_cohort(console, cases)
        options = PlanOptions(
            positive=positive,
            minutes=minutes,
            seed=seed,
            progress=console,
            weights=weights,
            incomplete=incomplete,
        )
        result = make_plan(cases, options)
    result.write(out)
    patches = result.recipe.patches
    echo(
        f"{result.recipe.classes.positive}: patches of {patches.size_um:g} um at {patches.mpp:g} um/px "
        f"({result.recipe.patch_px} px)\nrecipe: {out}"
    )
    show_next(command_line("train", cohort, "-o", "model", "--recipe", out))
