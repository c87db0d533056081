"""Evaluation of a model on image classification data, such as the regions of BRACS."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoscout.cohort.duplicates import Fingerprint
from histoscout.cohort.image_folders import RoiImage, RoiImages, assign_scale, read_images, slide_of_image
from histoscout.cohort.leakage import check_disjoint_sets, find_known_patients, known_fingerprints
from histoscout.errors import CohortError, HistoscoutError
from histoscout.evaluation.bootstrap import DRAWS
from histoscout.evaluation.images.inference import predict_images
from histoscout.evaluation.images.scores import (
    ClassifiedImage,
    ImageScores,
    score_images,
    write_image_scores,
)
from histoscout.evaluation.leakage import SanityMode
from histoscout.evaluation.protocol import refuse_scores, score_folder
from histoscout.hardware import usable_cores
from histoscout.io.files import StrPath
from histoscout.network.engines import open_engine
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.progress import NoProgress, Progress
from histoscout.recipe import SET_ASIDE
from histoscout.recipe_sections import ClassConfig
from histoscout.slides.open import open_slide

NONE_OF_THESE = "none of these"
"""The class, predicted or true, of an image that shows none of the model's classes."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Options of `evaluate_images`.

    Attributes:
        device: "auto", "cpu", "cuda", "mps", "openvino" or "torch".
        mpp: um/px of images that do not say.
        overwrite: Whether to replace existing scores.
        progress: Where to report progress.
        draws: Bootstrap resamples.
        sanity_checks: "all" stops at images that the model was trained on, "warn" continues.
        report: Writes a report on the scores into a folder, from where it is put beside them.

    Example:
        >>> from histoscout import ImageOptions
        >>> ImageOptions(mpp=0.25).mpp
        0.25
    """

    device: str = "auto"
    mpp: float | None = None
    overwrite: bool = False
    progress: Progress = field(default_factory=NoProgress)
    draws: int = DRAWS
    sanity_checks: SanityMode = "all"
    report: Callable[[ImageScores, Path], object] | None = None


def evaluate_images(
    model: ModelFolder | StrPath,
    images: RoiImages | StrPath,
    out: StrPath,
    options: ImageOptions | None = None,
) -> ImageScores:
    """Evaluate a model on image classification data: predict and score the class of each image.

    The probability of a class is the mean of the network's predictions over patches that cover the image:
    over its pixels, or over its patches for a tile classifier. The predicted class is the most probable one;
    a model of one class predicts that class from its threshold on.

    Args:
        model: The model, or its folder.
        images: The images, or their folder or table.
        out: The folder to write scores.json, images.csv and confusion.csv to.
        options: Device, um/px and sanity checks.

    Returns:
        The scores.

    Raises:
        CohortError: The model was trained on these patients or images, or no image can be read.
        OutputError: `out` holds scores and they are not to be overwritten.
        ModelError: The model cannot be read.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import ImageOptions, evaluate_images
        >>> options = ImageOptions(mpp=0.25)
        >>> scores = evaluate_images(Path("model"), Path("RoI"), Path("out"), options)  # doctest: +SKIP
        >>> scores.overall["macro_f1"].value  # doctest: +SKIP
    """
    out = Path(out)
    # nothing is read if it could not be written
    options = options or ImageOptions()
    model = model if isinstance(model, ModelFolder) else read_model(model)
    images = images if isinstance(images, RoiImages) else read_images(Path(images))
    refuse_scores(out, options.overwrite)

    # refuse patients that the model was trained on, named by the cohort or by the file names
    owners = {image.owner for image in images.images} | {
        slide_of_image(image.path) for image in images.images
    }
    if known := find_known_patients(model, owners):
        raise CohortError(
            images.where,
            f"the model was trained on these patients: {', '.join(known)}",
            "Evaluate it on images of other patients",
        )

    # leave out images of ignored classes
    classes = model.recipe.classes
    kept = [image for image in images.images if classes.canonical(image.label) not in SET_ASIDE]
    if not kept:
        raise CohortError(images.where, "all images are of classes to be ignored", "Give other images")
    notes = list(images.notes)
    if ignored := len(images.images) - len(kept):
        notes.append(f"{ignored} images of classes to be ignored are left out")
    kept, scale_notes = assign_scale(kept, options.mpp)
    notes += [*scale_notes, *_check_images(model, kept, options.sanity_checks)]

    # predict
    sources = [(image.path, image.mpp) for image in kept]
    options.progress.start("classifying images", len(sources))
    batch = model.recipe.detection.batch_size
    engine = open_engine(model, options.device, batch=batch, on_note=options.progress.note)
    try:
        predictions = predict_images(engine, sources, model.recipe, progress=options.progress)
    finally:
        engine.close()
    options.progress.done()
    if len(predictions.failed) == len(kept):
        fault = f"no image can be read: {predictions.failed[0]}"
        raise CohortError(images.where, fault, "Check the images")

    # score the images that could be read
    read = [number for number in range(len(kept)) if number not in predictions.failed]
    classified, all_classes, class_notes = classify_images(
        [kept[number] for number in read], predictions.means[read], classes, threshold=model.threshold
    )
    notes += [*class_notes, *(f"not evaluated: {reason}" for reason in predictions.failed.values())]
    scores = score_images(classified, all_classes, notes, draws=options.draws)
    with score_folder(out, {"model": model.hash}) as folder:
        write_image_scores(scores, folder)
        if options.report is not None:
            options.report(scores, folder)
    return scores


def classify_images(
    images: Sequence[RoiImage], means: NDArray[np.float64], classes: ClassConfig, threshold: float
) -> tuple[tuple[ClassifiedImage, ...], tuple[str, ...], tuple[str, ...]]:
    """Choose the class of each image from mean predictions.

    Args:
        images: The images.
        means: Mean prediction of a network for each image, float64 (images, C).
        classes: The classes of the model.
        threshold: The probability from which a model of one class predicts it.

    Returns:
        The classified images, the classes to choose from, and notes on how they were chosen.
    """
    # the true class of each image, and the probability of none of the classes
    labels = classes.labels
    truth = {image.label: classes.canonical(image.label) or NONE_OF_THESE for image in images}
    rest = np.clip(1 - means.sum(1), 0, 1)

    # choose: by the threshold, among all classes and none, or among all classes
    if len(labels) == 1:
        chosen = np.where(means[:, 0] >= threshold, 0, 1)
        how = (
            f"classified as {labels[0]} from a mean probability of {threshold:.3f} on, the model's threshold"
        )
    elif NONE_OF_THESE in truth.values():
        chosen = np.column_stack([means, rest]).argmax(1)
        how = "classified as the most probable class, or as none of these"
    else:
        chosen = means.argmax(1)
        how = f"classified as the most probable class, without {NONE_OF_THESE}: all have a class of the model"

    all_classes = (*labels, NONE_OF_THESE)
    probabilities = np.column_stack([means, rest])
    classified = tuple(
        ClassifiedImage(
            image=image,
            truth=truth[image.label],
            predicted=all_classes[choice],
            probabilities=tuple(float(p) for p in row),
        )
        for image, choice, row in zip(images, chosen.tolist(), probabilities, strict=True)
    )

    # how the classes were chosen
    notes = [f"images are {how}"]
    if unlisted := sorted(label for label, label_class in truth.items() if label_class == NONE_OF_THESE):
        notes.append(f"classes that the model does not know, taken as none of these: {', '.join(unlisted)}")
    return classified, all_classes, tuple(notes)


def _check_images(
    model: ModelFolder, images: Sequence[RoiImage], sanity_checks: SanityMode
) -> tuple[str, ...]:
    """Check that no image is a copy of a training or tuning image, under whatever name.

    An image that cannot be read is skipped here: the evaluation reports it.

    Args:
        model: The model to evaluate.
        images: The images to evaluate on.
        sanity_checks: Whether to stop at a failure.

    Returns:
        Notes on copies.

    Raises:
        CohortError: There are copies, unless `sanity_checks` is "warn".
    """
    # older models hold no fingerprints to compare with
    training = known_fingerprints(model)
    if not training:
        return ()

    # fingerprints of the images, without those that cannot be read
    with ThreadPoolExecutor(min(4, usable_cores()), thread_name_prefix="histoscout-read") as pool:
        fingerprints = [
            fingerprint for fingerprint in pool.map(_fingerprint, images) if fingerprint is not None
        ]
    verdict = check_disjoint_sets(training, fingerprints, "test")
    if verdict.state != "failed":
        return ()
    if sanity_checks == "all":
        remedy = "Remove these images. To evaluate all the same: --sanity warn"
        raise CohortError(f"sanity check: {verdict.name}", verdict.message, remedy)
    return (f"failed: {verdict.name}: {verdict.message}; the metrics are too good",)


def _fingerprint(image: RoiImage) -> Fingerprint | None:
    try:
        with open_slide(image.path, image.mpp) as opened:
            return Fingerprint.of(opened, image.owner)
    except HistoscoutError:
        return None
