"""Image classification data on the command line: read as a cohort, evaluated on, reported."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from histoscout.cli.options import echo
from histoscout.errors import CohortError

if TYPE_CHECKING:
    from histoscout.cohort.cohort import Cohort
    from histoscout.evaluation.images.evaluate import ImageOptions


def read_training_cohort(
    path: Path,
    slides: Path | None,
    mpp: float | None,
    *,
    class_property: str | None = None,
    keep_found: bool = False,
) -> "Cohort":
    """Read what a command trains on: annotated slides, or image folders by class.

    Args:
        path: A cohort as `read_cohort` takes it, or a folder with one folder of images for each class.
        slides: Where the slides are, if they were moved; not for images.
        mpp: um/px of images without a scale; not for slides.
        class_property: Property of the annotations that holds their classes; not for images.
        keep_found: Whether found regions that nobody confirmed count as annotations.

    Raises:
        typer.BadParameter: If an option does not fit the data.
        CohortError: If the data cannot be read.
    """
    from histoscout.cohort.cohort import read_cohort
    from histoscout.cohort.image_folders import is_image_folder, read_image_cohort

    if not is_image_folder(path):
        if mpp is not None:
            raise typer.BadParameter(
                "--mpp is for image folders; give the scale of slides in the table's column mpp"
            )
        return read_cohort(path, slides).reading(class_property, keep_found)
    if slides is not None:
        raise typer.BadParameter("--slides is for slides that were moved, not for image folders")
    return read_image_cohort(path, mpp)


def check_image_scores(cohort: "Cohort", scores: Path, *, overwrite: bool) -> None:
    """Check before a training that images can be evaluated and scores can be written.

    Args:
        cohort: What will be trained on.
        scores: The folder for scores.
        overwrite: Whether scores that exist may be replaced.

    Raises:
        typer.BadParameter: If the cohort holds slides.
        CohortError: If there are no test images.
        OutputError: If the folder holds other scores.
    """
    from histoscout.evaluation.protocol import refuse_scores

    if not cohort.by_class:
        raise typer.BadParameter(
            "--scores is for image folders; use `histoscout evaluate` to evaluate on slides"
        )
    if not cohort.in_split("test").cases:
        fault = "there are no test images for --scores"
        remedy = "Put the images of some patients into a folder called test, or leave out --scores"
        raise CohortError(cohort.where, fault, remedy)
    refuse_scores(scores, overwrite)


def report_images(model: Path, images: Path, out: Path, options: "ImageOptions") -> None:
    """Evaluate a model on images by class, print the scores and write the report.

    Args:
        model: The model folder.
        images: Image folders by class.
        out: The folder for scores.
        options: Device, um/px and sanity checks.

    Raises:
        typer.Exit: With code 1 if an image could not be read.
    """
    from histoscout.cli.tables import image_table
    from histoscout.evaluation.images.evaluate import evaluate_images
    from histoscout.network.model_folder import read_model
    from histoscout.report.images import write_images_report

    loaded = read_model(model)
    options = replace(options, report=lambda scores, folder: write_images_report(scores, folder, loaded))
    scores = evaluate_images(loaded, images, out, options)
    report = out / "report.html"
    echo(image_table(scores))
    for note in scores.notes:
        echo(f"note: {note}", err=True)
    echo(f"scores: {out / 'scores.json'}\nimages: {out / 'images.csv'}\nreport: {report}")
    if any("not evaluated" in note for note in scores.notes):
        raise typer.Exit(1)
