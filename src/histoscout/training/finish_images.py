"""What follows the last step where images are of one class each: best weights, temperature, and the model folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histoscout.cohort.images import RoiImage
from histoscout.detection.heatmap import LEVELS
from histoscout.errors import TrainingError
from histoscout.evaluation.pixels import PixelCounts
from histoscout.evaluation.roi_images import name_images
from histoscout.evaluation.roi_scores import score_images
from histoscout.evaluation.roi_windows import answers_for_images
from histoscout.network.model_folder import ModelFolder
from histoscout.recipe import Recipe
from histoscout.training.finish import Words, always, appearances, save_trained, told
from histoscout.training.loop import Job
from histoscout.training.members import InTraining, Member, Trained
from histoscout.training.sets import Sets


def finish_images(members: Sequence[Member], recipe: Recipe, out: Path) -> ModelFolder:
    """Choose on the tuning images, which were never learnt from, and write the model folder.

    One temperature serves all classes; none gets an offset, which would favour it before the others. The threshold is
    that of the positive class, for whoever uses the model on slides: the middle of those whose F1 over tuning images is within 1 % of the highest.
    """
    trained, job = Trained.of(members, offset=False), members[0].job
    images, means = _answers(job, members[0].sets, trained.engine(trained.everybody))
    threshold = _threshold(images, means, recipe)
    named, classes, _ = name_images(images, means, recipe.classes, threshold)
    scores = score_images(named, classes)
    tune = {"images": {**scores.to_dict()["images"], "patients": len(scores.patients)}, "optimistic": False}
    figures = {**told(tune, trained), "appearance": appearances(trained.slides, recipe.windows.mpp)}
    return save_trained(trained, recipe, out, Words(threshold, figures, card(figures, recipe)))


def _answers(job: Job, sets: Sets, engine: InTraining) -> tuple[list[RoiImage], NDArray[np.float64]]:
    """The tuning images, and what the network says of each, as `evaluate` will ask it: float64 (images, C)."""
    images = [RoiImage(case.slide, case.label, case.patient, case.mpp) for case in sets.split.tune]
    asked = [(image.path, image.mpp) for image in images]
    job.progress.start("naming tuning images", len(asked))
    found = answers_for_images(engine, asked, job.recipe, job.progress)
    job.progress.done()
    if found.failed:
        fault = (
            f"{len(found.failed)} tuning images can no longer be read ({next(iter(found.failed.values()))})"
        )
        raise TrainingError(
            job.folder, fault, "Bring them back; started again, the training goes on from here"
        )
    return images, found.means


def _threshold(images: list[RoiImage], means: NDArray[np.float64], recipe: Recipe) -> float:
    truth = np.array([recipe.classes.canonical(image.label) == recipe.classes.positive for image in images])
    levels = (means[:, 0] * (LEVELS - 1)).round().astype(np.uint8)
    return PixelCounts.of(levels, truth).best_threshold() if truth.any() else 0.5


def card(figures: dict[str, Any], recipe: Recipe) -> dict[str, str]:
    """The sections of the model card."""
    data, tune = figures["data"], figures["tune"]["images"]
    classes = ", ".join(f"{count} {label}" for label, count in data["regions"].items())
    overall = {name: figure["value"] for name, figure in tune["overall"].items()}
    shown = ", ".join(
        f"{name.replace('_', ' ')} {value:.3f}" for name, value in overall.items() if value is not None
    )
    return {
        "Data": f"{len(data['train_slides'])} images of one class each, of {len(data['train_patients'])} patients: {classes}.",
        "Figures": f"On the {tune['count']} images of the {tune['patients']} tuning patients, which also chose the weights: "
        f"{shown}. They are no statement about new patients: run `histoscout evaluate` on images of patients kept apart.",
        **always(figures, recipe),
    }
