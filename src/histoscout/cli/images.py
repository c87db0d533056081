"""Images of one class each on the command line: learnt from as a cohort, judged by, told."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from histoscout.errors import CohortError

if TYPE_CHECKING:
    from histoscout.cohort.cohort import Cohort
    from histoscout.evaluation.images.evaluate import ImageOptions
    from histoscout.evaluation.images.scores import ImageScores


def cohort_from(path: Path, slides: Path | None, mpp: float | None) -> "Cohort":
    """What a verb is to learn from: slides with outlines, or images by class."""
    from histoscout.cohort.cohort import read_cohort
    from histoscout.cohort.image_folders import holds_images_by_class, read_image_cohort

    if not holds_images_by_class(path):
        if mpp is not None:
            raise typer.BadParameter(
                "--mpp is for images by class; give slides their scale in the table's column mpp"
            )
        return read_cohort(path, slides)
    if slides is not None:
        raise typer.BadParameter("--slides is for slides that have been moved, not for images by class")
    return read_image_cohort(path, mpp)


def ready_to_judge(cohort: "Cohort", scores: Path, *, overwrite: bool) -> None:
    """Before time is spent: are there test images, and is there room for their scores?"""
    from histoscout.evaluation.protocol import refuse_scores

    if not cohort.by_class:
        raise typer.BadParameter("--scores is for images by class; judge slides with `histoscout evaluate`")
    if not cohort.in_split("test").cases:
        fault = "has no images of the split test, by which --scores could judge"
        raise CohortError(
            cohort.where, fault, "Put those of some patients into a folder test, or leave it out"
        )
    refuse_scores(scores, overwrite)


def judge_images(model: Path, images: Path, out: Path, options: "ImageOptions") -> None:
    """Judge a model by images of which each shows one class, and tell; exit code 1 if one could not be read."""
    from histoscout.evaluation.images.evaluate import evaluate_images
    from histoscout.network.model_folder import read_model
    from histoscout.report.images import write_images_report

    scores = evaluate_images(model, images, out, options)
    _tell(scores, out, write_images_report(scores, out, read_model(model)))
    if any("not evaluated" in note for note in scores.notes):
        raise typer.Exit(1)


def _tell(scores: "ImageScores", out: Path, report: Path) -> None:
    from histoscout.cli.tables import image_table

    typer.echo(image_table(scores))
    for note in scores.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"scores: {out / 'scores.json'}\nimages: {out / 'images.csv'}\nreport: {report}")
