"""`histoscout evaluate MODEL COHORT -o SCORES`, and the same for outlines that anybody found."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from histoscout.cli.options import MovedSlides

if TYPE_CHECKING:
    from histoscout.cohort.cohort import Cohort
    from histoscout.evaluation.scores import Scores


class Guards(StrEnum):
    """What becomes of a guard that fails."""

    all = "all"
    warn = "warn"


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
        help="cohort.csv, a folder of slides with outlines, or images by class (a folder for each class).",
        show_default=False,
    ),
    out: Path = typer.Option(..., "-o", "--out", help="Where to write the scores."),
    slides: MovedSlides = None,
    against: Path | None = typer.Option(None, help="A previous model to compare with, patient by patient."),
    on: On = typer.Option(
        On.test, help="Judge by the test patients, or by the tuning patients (optimistic; one network only)."
    ),
    positive: str | None = typer.Option(None, help="For found outlines: the class that is looked for."),
    recipe: Path | None = typer.Option(
        None, help="For found outlines: a recipe that says how classes are called."
    ),
    audit: int = typer.Option(
        0, min=0, help="Lay so many of the surest false alarms before a reader, in OUT/audit."
    ),
    verdicts: Path | None = typer.Option(
        None, help="What the reader said: OUT/audit, its table filled in, or GeoJSON from QuPath."
    ),
    at: str | None = typer.Option(
        None,
        help='Judge by regions of such a score: "1 FP/cm2", "sensitivity 0.9", "precision 0.8", "miss 0.1".',
    ),
    operating: Path | None = typer.Option(
        None, help="For --at: scores of this model that evaluate wrote; without, its tuning patients."
    ),
    mpp: float | None = typer.Option(None, min=0, help="um/px of images by class that do not say."),
    sanity_checks: Guards = typer.Option(Guards.all, help="tell: a failed guard is told and does not stop."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, mps, openvino or torch."),
    overwrite: bool = typer.Option(
        False,
        "--overwrite",
        help="Detect again on slides that are done, and replace scores of another set or model.",
    ),
    quiet: bool = typer.Option(False, "--quiet", help="Say only what must be seen."),
) -> None:
    """Measure a model on patients it has not seen, or found outlines, beside trivial baselines."""
    from histoscout.cli.console import Console
    from histoscout.cli.images import judge_images
    from histoscout.cli.tables import score_table
    from histoscout.cohort.cohort import read_cohort
    from histoscout.cohort.image_folders import holds_images_by_class
    from histoscout.evaluation.evaluate import EvaluateOptions
    from histoscout.evaluation.evaluate import evaluate as run
    from histoscout.evaluation.images.evaluate import ImageOptions
    from histoscout.evaluation.regions import CompareOptions, evaluate_regions
    from histoscout.network.model_folder import INDEX
    from histoscout.recipe import Recipe

    chosen_on, asked = on if on is On.tune else None, audit or None
    judging = {"--on": chosen_on, "--audit": asked, "--verdicts": verdicts, "--at": at}
    of_slides = {"--against": against, **judging, "--operating": operating}
    if holds_images_by_class(cohort):
        _refuse({**of_slides, "--positive": positive, "--recipe": recipe}, "is for slides, not for images")
        with Console(quiet) as console:
            return judge_images(
                model,
                cohort,
                out,
                ImageOptions(device, mpp, overwrite, console, sanity_checks=sanity_checks.value),
            )
    _refuse({"--mpp": mpp}, "is for images by class; give slides their scale in the table's column mpp")
    cases = read_cohort(cohort, slides)
    with Console(quiet) as console:
        if (model / INDEX).is_file():
            _refuse(
                {"--positive": positive, "--recipe": recipe}, "is for found outlines; a model has its own"
            )
            options = EvaluateOptions(
                device,
                overwrite,
                console,
                against,
                on.value,
                audit,
                verdicts,
                sanity_checks.value,
                at,
                operating,
            )
            scores = run(model, cases, out, options)
        else:
            _refuse(of_slides, "needs a model folder")
            looked_for = None if recipe is None else Recipe.read(recipe)
            comparing = CompareOptions(positive, looked_for, console, overwrite)
            scores = evaluate_regions(model, cases, out, comparing)
        report = _report(scores, out, cases, model)
    typer.echo(score_table(scores))
    for note in scores.notes:
        typer.echo(f"note: {note}", err=True)
    for verdict in scores.sanity_checks:
        if verdict.state != "good":
            typer.echo(f"{verdict.state}: {verdict.name}: {verdict.message}. {verdict.remedy}", err=True)
    typer.echo(f"scores: {out / 'scores.json'}\noverlays: {out / 'overlays'}")
    if audit:
        typer.echo(f"to be judged: {out / 'audit'}")
    typer.echo(f"report: {report}")
    if any("not evaluated" in note for note in scores.notes):
        raise typer.Exit(1)
    return None


def _report(scores: "Scores", out: Path, cohort: "Cohort", model: Path) -> Path:
    """The page to read, also where outlines alone were judged; its path."""
    from histoscout.network.model_folder import INDEX, read_model
    from histoscout.report.evaluation.page import write_report

    return write_report(scores, out, cohort, read_model(model) if (model / INDEX).is_file() else None)


def _refuse(options: Mapping[str, object], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(f"{name} {why}")
