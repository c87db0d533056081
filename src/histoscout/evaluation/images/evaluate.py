"""How well a model names the class of whole images, such as the regions of interest of BRACS."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoscout.cohort.image_folders import RoiImage, RoiImages, read_images, slide_of, with_scale
from histoscout.errors import CohortError
from histoscout.evaluation.bootstrap import DRAWS
from histoscout.evaluation.images.inference import answers_for_images
from histoscout.evaluation.images.scores import ImageScores, NamedImage, score_images, write_image_scores
from histoscout.evaluation.leakage import SanityMode, guard_images
from histoscout.evaluation.protocol import refuse_scores
from histoscout.network.engines import open_engine
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.progress import Progress, Silent
from histoscout.recipe import SET_ASIDE, ClassConfig

NONE_OF_THESE = "none of these"
"""What an image is taken for that shows none of the model's classes, and the class of images of other classes."""


@dataclass(frozen=True)
class ImageOptions:
    """Where to compute, the um/px of images that do not say, whether to replace results, and who is told.

    `sanity_checks`: "all" stops at images that were learnt from, "tell" goes on and says so.
    """

    device: str = "auto"
    mpp: float | None = None
    overwrite: bool = False
    progress: Progress = field(default_factory=Silent)
    draws: int = DRAWS
    sanity_checks: SanityMode = "all"


def evaluate_images(
    model: ModelFolder | Path, images: RoiImages | Path, out: Path, options: ImageOptions | None = None
) -> ImageScores:
    """Have a model name the class of each image, and compare with what it is.

    The probability of a class is the mean of the network's answers over windows that cover the image: over its
    pixels, or over its windows if the network answers for whole tiles. The image is taken for the most probable
    class; by a model of one class, for that class from the model's threshold on. Writes scores.json, images.csv
    and confusion.csv under `out`. Raises CohortError if the model has learnt from these patients or images, or no image can be
    read, OutputError if `out` holds scores and they are not to be overwritten, ModelError.
    """
    options = options or ImageOptions()
    model = read_model(model) if isinstance(model, Path) else model
    images = read_images(images) if isinstance(images, Path) else images
    refuse_scores(out, options.overwrite)
    _refuse_known(images, model)
    kept, ignored = _not_ignored(images, model)
    kept, scale = with_scale(kept, options.mpp)
    copies = guard_images(model, kept, options.sanity_checks)
    asked = [(image.path, image.mpp) for image in kept]
    options.progress.start("naming images", len(asked))
    engine = open_engine(model, options.device, batch=model.recipe.detection.batch_size)
    try:
        answers = answers_for_images(engine, asked, model.recipe, options.progress)
    finally:
        engine.close()
    options.progress.done()
    if len(answers.failed) == len(kept):
        raise CohortError(images.where, f"no image can be read: {answers.failed[0]}", "Check the images")
    failed = tuple(f"not evaluated: {reason}" for reason in answers.failed.values())
    read = [number for number in range(len(kept)) if number not in answers.failed]
    named, classes, how = name_images(
        [kept[number] for number in read], answers.means[read], model.recipe.classes, model.threshold
    )
    notes = (*images.notes, *ignored, *scale, *copies, *how, *failed)
    scores = score_images(named, classes, notes, options.draws)
    write_image_scores(scores, out)
    return scores


def _refuse_known(images: RoiImages, model: ModelFolder) -> None:
    data = model.metrics.get("data", {})
    known = {*data.get("train_patients", ()), *data.get("tune_patients", ())}
    of_images = {image.owner for image in images.images} | {slide_of(image.path) for image in images.images}
    if both := sorted(of_images & known):
        raise CohortError(
            images.where,
            f"the model was trained on these patients: {', '.join(both)}",
            "Judge it by images of other patients",
        )


def _not_ignored(images: RoiImages, model: ModelFolder) -> tuple[list[RoiImage], tuple[str, ...]]:
    words = model.recipe.classes
    kept = [image for image in images.images if words.canonical(image.label) not in SET_ASIDE]
    if not kept:
        raise CohortError(images.where, "all images are of classes to be ignored", "Give other images")
    left = len(images.images) - len(kept)
    return kept, ((f"{left} images of classes to be ignored are left out",) if left else ())


def name_images(
    images: Sequence[RoiImage], means: NDArray[np.float64], known: ClassConfig, threshold: float
) -> tuple[tuple[NamedImage, ...], tuple[str, ...], tuple[str, ...]]:
    """The images with their classes, the classes to choose from, and how it was chosen.

    `means` float64 (images, C) are a network's answers for the `known` classes; `threshold` decides if it is one.
    """
    labels = known.labels
    words = {image.label: known.canonical(image.label) or NONE_OF_THESE for image in images}
    rest = np.clip(1 - means.sum(1), 0, 1)
    if len(labels) == 1:
        chosen = np.where(means[:, 0] >= threshold, 0, 1)
        how = f"taken for {labels[0]} from a mean probability of {threshold:.3f} on, the model's threshold"
    elif NONE_OF_THESE in words.values():
        chosen = np.column_stack([means, rest]).argmax(1)
        how = "taken for the most probable class, or for none of these"
    else:
        chosen = means.argmax(1)
        how = "taken for the most probable class; all images are of the model's classes, so none is taken for none"
    classes = (*labels, NONE_OF_THESE)
    table = np.column_stack([means, rest])
    named = tuple(
        NamedImage(image, words[image.label], classes[choice], tuple(float(p) for p in row))
        for image, choice, row in zip(images, chosen.tolist(), table, strict=True)
    )
    unlisted = sorted(label for label, word in words.items() if word == NONE_OF_THESE)
    others = (f"classes that the model does not know, taken as none of these: {', '.join(unlisted)}",)
    return named, classes, (f"images are {how}", *(others if unlisted else ()))
