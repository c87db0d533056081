"""`histoscout train COHORT -o MODEL`."""

from pathlib import Path
from typing import Annotated, Any

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
    TrainingChecks,
    TrainingDevice,
    Weights,
    echo,
)


def train(
    cohort: CohortOrImages,
    out: Annotated[Path, typer.Option("-o", "--out", help="Model folder to write.")],
    slides: MovedSlides = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Recipe (TOML).", show_default="that of --from, or from `histoscout plan`"),
    ] = None,
    positive: Positive = None,
    minutes: Minutes = None,
    seed: Annotated[int | None, typer.Option(help="Random seed (same seed, same training patches).")] = None,
    incomplete: Incomplete = False,
    weights: Weights = None,
    mpp: ImageMpp = None,
    scores: Annotated[
        Path | None, typer.Option(help="For image folders: also evaluate on test images, into this folder.")
    ] = None,
    start: Annotated[Path | None, typer.Option("--from", help="Fine-tune from this model folder.")] = None,
    device: TrainingDevice = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a training that exists.")] = False,
    sanity_checks: Annotated[
        TrainingChecks,
        typer.Option(
            "--sanity", help="all; quick: skip the overfit-one-batch check; warn: report and continue."
        ),
    ] = TrainingChecks.all,
    class_property: ClassProperty = None,
    keep_found: KeepFound = False,
    quiet: Quiet = False,
) -> None:
    """Train a lesion detector.

    Ctrl-C at a terminal ends a training early with what is learned; a second one stops it. Re-run the same command to
    resume.
    """
    from histoscout.cli.console import read_recipe
    from histoscout.cli.images import check_image_scores, read_training_cohort, report_images
    from histoscout.network.model_folder import read_model

    changes = _recipe_changes(positive, minutes, seed, weights)
    if incomplete:
        changes["classes.complete"] = False
    given = read_recipe(recipe).with_choices(changes) if recipe else None
    cases = read_training_cohort(cohort, slides, mpp, class_property=class_property, keep_found=keep_found)
    begun = None if start is None else read_model(start)
    if scores is not None:
        check_image_scores(cases, scores, overwrite=overwrite)

    # these imports load torch: faults in the options are reported first
    from histoscout.cli.console import Console, command_line, end_early_on_interrupt, show_cohort, show_next
    from histoscout.cli.tables import training_table
    from histoscout.training.planning.plan import PlanOptions, load_or_make_plan, plan_file
    from histoscout.training.start import start_recipe
    from histoscout.training.train import TrainOptions
    from histoscout.training.train import train as run

    with Console(quiet) as console:
        show_cohort(console, cases)
        if given is None and begun is not None and (given := start_recipe(begun, cases, changes)):
            console.say(f"recipe: that of {begun.path}")
        plan_options = PlanOptions(
            positive=positive,
            minutes=minutes,
            seed=seed,
            progress=console,
            notes=False,
            weights=weights,
            incomplete=incomplete,
        )
        chosen = given or load_or_make_plan(cases, out, plan_options, overwrite=overwrite)
        options = TrainOptions(
            device=device,
            start=start,
            overwrite=overwrite,
            sanity_checks=sanity_checks.value,
            progress=console,
        )
        with end_early_on_interrupt(console, options.early_end):
            model = run(cases, out, chosen, options)
    echo(training_table(model))
    if given is None:
        echo(f"recipe, with a reason for each choice: {plan_file(out)}")
    echo(f"model: {model.path}")
    if scores is None and not cases.by_class:
        if cases.in_split("test").cases:
            show_next(command_line("evaluate", out, cohort, "-o", "scores"))
        else:
            show_next(f"{command_line('detect', out, 'SLIDES', '-o', 'found')}   (slides of other patients)")

    # images by class are evaluated in the same run
    if scores is not None:
        from histoscout.evaluation.images.evaluate import ImageOptions

        with Console(quiet) as console:
            image_options = ImageOptions(
                device="torch",
                mpp=mpp,
                overwrite=overwrite,
                progress=console,
                sanity_checks="warn" if sanity_checks is TrainingChecks.warn else "all",
            )
            report_images(out, cohort, scores, image_options)


def _recipe_changes(
    positive: str | None, minutes: float | None, seed: int | None, weights: str | None
) -> dict[str, Any]:
    """What options change in a recipe that is given, by dotted key."""
    choices: dict[str, Any] = {
        "classes.positive": positive,
        "seed": seed,
        "training.minutes": minutes,
        "network.weights": weights,
    }
    changes = {name: value for name, value in choices.items() if value is not None}
    # a recipe has either minutes or epochs
    if minutes is not None:
        changes["training.epochs"] = None
    return changes
