"""Finish a training: calibration, threshold, operating points, and the model folder with its card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.cohort.image_folders import RoiImage
from histoscout.detection.domain_shift import AppearanceReference, measure_appearance
from histoscout.detection.heatmap import LEVELS
from histoscout.errors import TrainingError
from histoscout.evaluation.images.evaluate import classify_images
from histoscout.evaluation.images.inference import predict_images
from histoscout.evaluation.images.scores import score_images
from histoscout.evaluation.lesions.froc import measure_operating_points
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.io.files import scratch_folder
from histoscout.io.notes import pluralize
from histoscout.io.replacement import final_place
from histoscout.network.model_folder import ModelFolder
from histoscout.network.save import save_model
from histoscout.recipe import Recipe
from histoscout.training.ensemble import EnsembleMember, TrainedEnsemble
from histoscout.training.sanity.run import slide_fingerprints
from histoscout.training.tuning import (
    FOLDER,
    MAX_SHOWN,
    compare_tuning_lesions,
    count_tuning_pixels,
    export_unannotated,
)

WEIGHT_LICENSES = {
    "none": "The network started from random weights; no license of others applies.",
    "built-in": "The encoder started from weights that come with histoscout (Apache-2.0). They were trained on "
    "synthetic slides and contain no patient data.",
    "imagenet": "The encoder started from ImageNet weights of timm or torchvision; see their licenses.",
}
"""What the model card says of `network.weights`; other values are files."""


def finalize(members: Sequence[EnsembleMember], recipe: Recipe, out: Path) -> ModelFolder:
    """Choose threshold and operating points on the tuning slides, and write the model folder.

    Each tuning slide is predicted by the networks that were not trained on it.

    Args:
        members: The trained networks.
        recipe: The recipe of the model.
        out: The model folder.

    Returns:
        The model.
    """
    context = members[0].context
    ensemble = TrainedEnsemble.calibrated(members, offset=True)
    slides = ensemble.tuning_slides
    on_blocks = members[0].data.split.blocks
    # heatmaps in files, since lesions are found once the threshold is known
    with scratch_folder(context.folder) as folder:
        counts = count_tuning_pixels(context, slides, folder, views=members[0].budget.tta_views)
        best = counts.best_threshold() if counts.positive.any() else 0.5
        threshold = best if recipe.detection.threshold is None else recipe.detection.threshold
        lesions = compare_tuning_lesions(slides, threshold, folder)
    operating = measure_operating_points(
        lesions,
        [slide.labeled.patient for slide in slides],
        source="blocks of the training slides" if on_blocks else "tuning set",
        threshold=threshold,
    )
    # detections on unannotated tissue may be lesions that count as background
    by_slide = {
        (slide.labeled.slide.path, slide.labeled.slide.name): slide_lesions
        for slide, slide_lesions in zip(slides, lesions, strict=True)
        if slide.labeled.slide.path
    }
    cases = list(dict.fromkeys(case for member in members for case in member.data.split.tune))
    review = context.folder / FOLDER
    if count := export_unannotated(by_slide, cases, recipe.classes, review):
        shown = "it is" if count == 1 else "they are"
        if count > MAX_SHOWN:
            shown = f"the {MAX_SHOWN} with the highest scores are"
        context.progress.note(
            f"{pluralize(count, 'detection')} on tuning slides {'is' if count == 1 else 'are'} on unannotated tissue; "
            f"{shown} in {final_place(review)}. Annotate those that are lesions and train again"
        )
    # the model folder
    metrics = {
        **training_metrics(ensemble, {"pixel": counts.to_row(best), "optimistic": on_blocks}),
        "operating_points": operating.to_dict(),
        "domain_shift": slide_appearances(ensemble.slides, recipe.patches.mpp),
    }
    card = model_card(metrics, recipe)
    return _save(ensemble, recipe, out, threshold=best, metrics=metrics, card=card)


def finalize_images(members: Sequence[EnsembleMember], recipe: Recipe, out: Path) -> ModelFolder:
    """Calibrate on the tuning images, and write the model folder (image classification data).

    One temperature is fitted for all classes, and no offset, which would prefer one of them. The threshold is
    that of the positive class, for use on slides: the middle of those with an F1 over tuning images within 1
    % of the highest.

    Args:
        members: The trained networks.
        recipe: The recipe of the model.
        out: The model folder.

    Returns:
        The model.

    Raises:
        TrainingError: If a tuning image can no longer be read.
    """
    context = members[0].context
    ensemble = TrainedEnsemble.calibrated(members, offset=False)
    # predict the tuning images as `evaluate` will predict new ones
    images = [
        RoiImage(case.slide, case.label, case.patient, mpp=case.mpp) for case in members[0].data.split.tune
    ]
    context.progress.start("classifying tuning images", len(images))
    engine = ensemble.engine()
    paths = [(image.path, image.mpp) for image in images]
    predictions = predict_images(engine, paths, context.recipe, context.progress)
    context.progress.done()
    if predictions.failed:
        reason = next(iter(predictions.failed.values()))
        fault = f"{len(predictions.failed)} tuning images can no longer be read ({reason})"
        raise TrainingError(context.folder, fault, "Restore them, then run the same command to resume")
    means = predictions.means
    # threshold and metrics
    truth = np.array([recipe.classes.canonical(image.label) == recipe.classes.positive for image in images])
    levels = (means[:, 0] * (LEVELS - 1)).round().astype(np.uint8)
    threshold = PixelCounts.from_levels(levels, truth).best_threshold() if truth.any() else 0.5
    classified, classes, _ = classify_images(images, means, recipe.classes, threshold)
    scores = score_images(classified, classes)
    tune = {"images": {**scores.to_dict()["images"], "patients": len(scores.patients)}, "optimistic": False}
    metrics = {
        **training_metrics(ensemble, tune),
        "domain_shift": slide_appearances(ensemble.slides, recipe.patches.mpp),
    }
    card = image_model_card(metrics, recipe)
    return _save(ensemble, recipe, out, threshold=threshold, metrics=metrics, card=card)


def _save(
    ensemble: TrainedEnsemble,
    recipe: Recipe,
    out: Path,
    *,
    threshold: float,
    metrics: Mapping[str, Any],
    card: Mapping[str, str],
) -> ModelFolder:
    """Write all networks as one model folder."""
    network, temperature, offset = ensemble.merge()
    return save_model(
        out,
        network,
        recipe,
        threshold=threshold,
        temperature=temperature,
        prior_correction=offset,
        metrics=metrics,
        card=card,
    )


# ---------------------------------------------------------------- metrics.json


def training_metrics(ensemble: TrainedEnsemble, tune: dict[str, Any]) -> dict[str, Any]:
    """Collect what metrics.json says of every training.

    Args:
        ensemble: The trained networks.
        tune: Metrics on the tuning set, which are optimistic since it chose the threshold.

    Returns:
        Sections "tune", "data" (patients and slides, with those of the start model), "sanity_checks" and
        "training".
    """
    training = ensemble.training_slides
    tuning = [slide.labeled for slide in ensemble.tuning_slides]
    start = ensemble.members[0].context.start_data
    fingerprints = [fingerprint.to_dict() for fingerprint in slide_fingerprints(ensemble.slides)]
    budgets = [member.budget for member in ensemble.members]
    labels = [region.label for labeled in training for region in labeled.regions]
    # all checks of the first network, those that were not good of the others
    first, *others = (member.verdicts for member in ensemble.members)
    verdicts = [*first, *(verdict for more in others for verdict in more if verdict.state != "good")]
    return {
        "tune": tune,
        "data": {
            "train_patients": _patients(training, start.get("train_patients", ())),
            "tune_patients": _patients(tuning, start.get("tune_patients", ())),
            "train_slides": sorted(labeled.slide.name for labeled in training),
            "tune_slides": sorted(labeled.slide.name for labeled in tuning),
            "regions": {label: labels.count(label) for label in sorted(set(labels))},
            "fingerprints": [
                *fingerprints,
                *(known for known in start.get("fingerprints", ()) if known not in fingerprints),
            ],
        },
        "sanity_checks": [verdict.to_dict() for verdict in verdicts],
        "training": {
            "members": len(budgets),
            "steps": sum(budget.steps for budget in budgets),
            "step_seconds": budgets[0].step_seconds,
            "validation_seconds": budgets[0].validation_seconds,
        },
    }


def _patients(slides: Sequence[LabeledSlide], known: Sequence[str]) -> list[str]:
    """The patients of slides, with those that the start model knew."""
    return sorted({*known, *(labeled.patient for labeled in slides)})


def slide_appearances(slides: Sequence[LabeledSlide], mpp: float) -> list[dict[str, Any]]:
    """Measure the appearance of the slides of a training, with which detection recognizes a domain shift.

    Args:
        slides: The slides of training and tuning sets.
        mpp: Resolution of patches, um/px.

    Returns:
        The section "appearance" of metrics.json: patient and numbers of each slide with tissue.
    """
    measured = [
        (labeled.patient, measure_appearance(labeled.slide, labeled.tissue, mpp)) for labeled in slides
    ]
    known = [(patient, numbers) for patient, numbers in measured if numbers is not None]
    return AppearanceReference(
        tuple(numbers for _, numbers in known), tuple(patient for patient, _ in known)
    ).to_list()


# ---------------------------------------------------------------- model card


def model_card(metrics: Mapping[str, Any], recipe: Recipe) -> dict[str, str]:
    """Write the sections of the model card.

    Args:
        metrics: The content of metrics.json.
        recipe: The recipe.

    Returns:
        Text by heading.
    """
    data, tune = metrics["data"], metrics["tune"]
    regions = ", ".join(f"{count} {label or 'unclassified'}" for label, count in data["regions"].items())
    tuning_set = "blocks of the training slides (optimistic)" if tune["optimistic"] else "tuning set"
    ensemble = ""
    if (members := metrics["training"]["members"]) > 1:
        ensemble = (
            f" The model is an ensemble of {members} networks; each slide was predicted by the networks that were "
            "not trained on it."
        )
    values = ", ".join(f"{name} {value:.3f}" for name, value in tune["pixel"].items() if value is not None)
    return {
        "Data": f"{len(data['train_slides'])} training slides of {len(data['train_patients'])} patients; "
        f"annotated regions: {regions}.",
        "Metrics": f"Pixel metrics on the tissue of the {tuning_set}: {values}.{ensemble} The same slides chose the "
        "threshold, so these values say nothing about new patients: run `histoscout evaluate` on patients that were "
        "kept apart.",
        **_common_sections(metrics, recipe),
    }


def image_model_card(metrics: Mapping[str, Any], recipe: Recipe) -> dict[str, str]:
    """Write the sections of the model card for image classification data.

    Args:
        metrics: The content of metrics.json.
        recipe: The recipe.

    Returns:
        Text by heading.
    """
    data, tune = metrics["data"], metrics["tune"]["images"]
    classes = ", ".join(f"{count} {label}" for label, count in data["regions"].items())
    overall = {name: interval["value"] for name, interval in tune["overall"].items()}
    values = ", ".join(
        f"{name.replace('_', ' ')} {value:.3f}" for name, value in overall.items() if value is not None
    )
    return {
        "Data": f"{len(data['train_slides'])} training images of {len(data['train_patients'])} patients, each with one "
        f"class: {classes}.",
        "Metrics": f"On the {tune['count']} images of the {tune['patients']} tuning patients: {values}. The same images "
        "chose the weights, so these values say nothing about new patients: run `histoscout evaluate` on images of "
        "patients that were kept apart.",
        **_common_sections(metrics, recipe),
    }


def _common_sections(metrics: Mapping[str, Any], recipe: Recipe) -> dict[str, str]:
    """Sanity checks, license of the weights, and intended use."""
    verdicts = metrics["sanity_checks"]
    good = sum(verdict["state"] == "good" for verdict in verdicts)
    checks = [
        f"{good} of {len(verdicts)} sanity checks before the first step are good.",
        *(
            f"- {verdict['state']}: {verdict['name']}: {verdict['message']}"
            for verdict in verdicts
            if verdict["state"] != "good"
        ),
    ]
    weights = recipe.network.weights
    license_text = WEIGHT_LICENSES.get(
        weights, f"The encoder started from {Path(weights).name}; check the license of this file."
    )
    return {
        "Sanity checks": "\n".join(checks),
        "License of the weights": license_text,
        "Use": "For research only. Not a medical device; not for diagnosis.",
    }
