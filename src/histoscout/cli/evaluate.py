"""`histoscout evaluate MODEL COHORT -o SCORES`, and the same for outlines that anybody found."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from histoscout.evaluation.scores import Scores
    from histoscout.progress import Progress


class On(StrEnum):
    """Whom to judge by."""

    test = "test"
    tune = "tune"


def evaluate(
    model: Path = typer.Argument(
        help="A model folder, or a folder with found outlines: a file for each slide, of its name.",
        show_default=False,
    ),
    cohort: Path = typer.Argument(
        help="cohort.csv, or a folder of slides with outlines.", show_default=False
    ),
    out: Path = typer.Option(..., "-o", "--out", help="Where to write the scores."),
    against: Path | None = typer.Option(None, help="A previous model to compare with, patient by patient."),
    on: On = typer.Option(
        On.test, help="Judge by the test patients, or by the tuning patients (optimistic)."
    ),
    positive: str | None = typer.Option(None, help="For found outlines: the class that is looked for."),
    recipe: Path | None = typer.Option(
        None, help="For found outlines: a recipe that says how classes are called."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda, mps, openvino or torch."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Detect again on slides that are done."),
    quiet: bool = typer.Option(False, "--quiet", help="Say only what must be seen."),
) -> None:
    """Measure a model on patients it has not seen, or found outlines, beside trivial baselines."""
    from histoscout.cli.console import Console
    from histoscout.cli.tables import score_table
    from histoscout.evaluation.evaluate import EvaluateOptions
    from histoscout.evaluation.evaluate import evaluate as run
    from histoscout.network.model_folder import INDEX

    with Console(quiet) as console:
        if (model / INDEX).is_file():
            _refuse(
                {"--positive": positive, "--recipe": recipe}, "is for found outlines; a model has its own"
            )
            options = EvaluateOptions(device, overwrite, console, against, on.value)
            scores = run(model, cohort, out, options)
        else:
            _refuse({"--against": against, "--on": on if on is On.tune else None}, "needs a model folder")
            scores = _outlines(model, cohort, out, (positive, recipe), console)
    typer.echo(score_table(scores))
    for note in scores.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"scores: {out / 'scores.json'}\noverlays: {out / 'overlays'}")
    if any("not evaluated" in note for note in scores.notes):
        raise typer.Exit(1)


def _outlines(
    found: Path, cohort: Path, out: Path, looked_for: tuple[str | None, Path | None], progress: "Progress"
) -> "Scores":
    from histoscout.evaluation.outlines import CompareOptions, evaluate_regions
    from histoscout.recipe import Recipe

    positive, recipe = looked_for
    chosen = None if recipe is None else Recipe.read(recipe)
    return evaluate_regions(found, cohort, out, CompareOptions(positive, chosen, progress))


def _refuse(options: dict[str, object], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(f"{name} {why}")
