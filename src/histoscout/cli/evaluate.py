"""`histoscout evaluate MODEL COHORT -o SCORES`, for a model or for detections of any origin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from histoscout.cli.options import (
    ClassProperty,
    CohortOrImages,
    Device,
    EvaluatedSplit,
    ImageMpp,
    KeepFound,
    MovedSlides,
    OperatingPoints,
    OperatingTarget,
    Quiet,
    Sanity,
    SanityChecks,
    Verbose,
    echo,
)


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A model folder, or a folder of detections: one file per slide."
        ),
    ],
    cohort: CohortOrImages,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the scores.")],
    slides: MovedSlides = None,
    against: Annotated[
        Path | None, typer.Option(help="Previous model to compare with on the same patients.")
    ] = None,
    on: Annotated[
        EvaluatedSplit, typer.Option("--split", help="Patients to evaluate on; the tuning set is optimistic.")
    ] = EvaluatedSplit.test,
    positive: Annotated[str | None, typer.Option(help="For detections: the class to evaluate.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="For detections: recipe with the class names (TOML).")
    ] = None,
    review: Annotated[
        int,
        typer.Option(
            "--review", metavar="N", min=0, help="Export the N surest false positives to OUT/review."
        ),
    ] = 0,
    reviewed: Annotated[
        Path | None, typer.Option(help="Completed expert review: OUT/review, its table, or a GeoJSON.")
    ] = None,
    at: OperatingTarget = None,
    operating: OperatingPoints = None,
    tiles: Annotated[
        Path | None,
        typer.Option(help="Table of labeled tiles to score as well: slide or patient, x_px, y_px, label."),
    ] = None,
    tile_um: Annotated[
        float | None,
        typer.Option("--tile-um", metavar="UM", help="Side of these tiles; without a table, of a grid."),
    ] = None,
    mpp: ImageMpp = None,
    sanity_checks: Sanity = SanityChecks.all,
    device: Device = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Detect on finished slides again; replace other scores.")
    ] = False,
    verbose: Verbose = False,
    class_property: ClassProperty = None,
    keep_found: KeepFound = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate a model, or any detections, against annotations.

    A model is evaluated on patients it was not trained on, beside trivial baselines.
    """
    from histoscout.cli.console import Console, command_line, read_recipe, show_cohort, show_next
    from histoscout.cli.images import report_images
    from histoscout.cli.tables import answer_text, score_table
    from histoscout.cohort.cohort import read_cohort
    from histoscout.cohort.image_folders import is_image_folder
    from histoscout.evaluation.evaluate import EvaluateOptions
    from histoscout.evaluation.evaluate import evaluate as run
    from histoscout.evaluation.images.evaluate import ImageOptions
    from histoscout.evaluation.regions import CompareOptions, evaluate_regions
    from histoscout.network.model_folder import INDEX, read_model
    from histoscout.report.evaluation.page import write_report

    # options that hold for slides alone, or for detections alone
    for_models: dict[str, object] = {
        "--against": against,
        "--split": on if on is EvaluatedSplit.tuning else None,
        "--review": review or None,
        "--reviewed": reviewed,
        "--at": at,
        "--operating-points": operating,
    }
    for_detections: dict[str, object] = {"--positive": positive, "--recipe": recipe}

    if is_image_folder(cohort):
        _refuse(
            {**for_models, **for_detections, "--tiles": tiles, "--tile-um": tile_um},
            "is for slides, not for images",
        )
        with Console(quiet) as console:
            image_options = ImageOptions(
                device=device,
                mpp=mpp,
                overwrite=overwrite,
                progress=console,
                sanity_checks=sanity_checks.value,
            )
            return report_images(model, cohort, out, image_options)

    _refuse({"--mpp": mpp}, "is for image folders; give the scale of slides in the table's column mpp")
    cases = read_cohort(cohort, slides).reading(class_property, keep_found)
    is_model = (model / INDEX).is_file()
    with Console(quiet) as console:
        show_cohort(console, cases)
        if is_model:
            _refuse(for_detections, "is for detections; a model brings its own recipe")
            options = EvaluateOptions(
                device=device,
                overwrite=overwrite,
                progress=console,
                against=against,
                split="tune" if on is EvaluatedSplit.tuning else "test",
                review_count=review,
                review_results=reviewed,
                sanity_checks=sanity_checks.value,
                at=at,
                operating_points=operating,
                tiles=tiles,
                tile_um=tile_um,
                report=lambda scores, folder: write_report(scores, folder, cases, read_model(model)),
            )
            scores = run(model, cases, out, options)
        else:
            _refuse(for_models, "needs a model folder")
            compare_options = CompareOptions(
                positive=positive,
                recipe=None if recipe is None else read_recipe(recipe),
                progress=console,
                overwrite=overwrite,
                tiles=tiles,
                tile_um=tile_um,
                report=lambda scores, folder: write_report(scores, folder, cases),
            )
            scores = evaluate_regions(model, cases, out, compare_options)
    report = out / "report.html"

    echo(score_table(scores) if verbose else answer_text(scores))
    for note in scores.notes:
        echo(f"note: {note}", err=True)
    for verdict in scores.sanity_checks:
        if verdict.state != "good":
            echo(f"{verdict.state}: {verdict.name}: {verdict.message}. {verdict.remedy}", err=True)
    echo(f"scores:   {out / 'scores.json'}\noverlays: {out / 'overlays'}")
    if review:
        echo(f"review:   {out / 'review'}")
    echo(f"report:   {report}")
    steps = [f"open {report} in a browser"]
    if is_model and not review and on is EvaluatedSplit.test:
        words = ("evaluate", model, cohort, "-o", out, "--review", 20)
        steps.append(f"{command_line(*words)}   (20 false positives for an expert)")
    show_next(*steps)
    if any("not evaluated" in note for note in scores.notes):
        raise typer.Exit(1)
    return None


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Refuse options that were given but do not fit the rest."""
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(f"{name} {why}")
