"""What follows the last step: best weights, temperature, threshold, and the model folder with its card.

What follows the last step where images are of one class each: best weights, temperature, and the model folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.cohort.image_folders import RoiImage
from histoscout.detection.domain_shift import Learnt, appearance
from histoscout.detection.heatmap import LEVELS, write_heatmap
from histoscout.detection.pipeline import Sight, hide
from histoscout.errors import TrainingError
from histoscout.evaluation.images.evaluate import name_images
from histoscout.evaluation.images.inference import answers_for_images
from histoscout.evaluation.images.scores import score_images
from histoscout.evaluation.lesions.compare import SlideLesions
from histoscout.evaluation.lesions.froc import Owner, measure_operating
from histoscout.evaluation.pixels.counts import PixelCounts, count_pixels
from histoscout.network.model_folder import ModelFolder
from histoscout.network.save import save_model
from histoscout.recipe import ClassConfig, Recipe
from histoscout.training.data import Sets, tuning_area, tuning_windows
from histoscout.training.ensemble import InTraining, Member, Trained, Tuned
from histoscout.training.loop import Job
from histoscout.training.sanity.run import fingerprints
from histoscout.training.tuning import kept_heatmap, look_through, tune_lesions
from histoscout.training.unannotated import FOLDER, lay_out_unmarked, tell_unmarked
from histoscout.verdict import Verdict


def finish(members: Sequence[Member], recipe: Recipe, out: Path) -> ModelFolder:
    """Choose on the tuning slides, each as those see it who have not learnt from it, and write the model folder."""
    trained, job = Trained.of(members, offset=True), members[0].job
    with TemporaryDirectory(dir=job.folder, prefix=".part.tuning.") as folder:
        counts = tune_counts(job, trained.tuned, Path(folder), members[0].course.budget.views)
        threshold = counts.best_threshold() if counts.positive.any() else 0.5
        used = threshold if recipe.detection.threshold is None else recipe.detection.threshold
        blocks = members[0].sets.split.blocks
        owner = Owner("blocks of the training slides" if blocks else "tuning patients", used)
        lesions = tune_lesions(trained.tuned, used, Path(folder))
    patients = [tuned.labeled.patient for tuned in trained.tuned]
    operating = measure_operating(lesions, patients, owner)
    ask_about_unmarked(trained, lesions, recipe.classes)
    tune = {"pixel": counts.row(threshold), "optimistic": blocks}
    figures = {**told(tune, trained), "operating": operating.to_dict()}
    figures["appearance"] = appearances(trained.slides, recipe.patches.mpp)
    return save_trained(trained, recipe, out, Words(threshold, figures, card(figures, recipe)))


def ask_about_unmarked(trained: Trained, lesions: Sequence[SlideLesions], classes: ClassConfig) -> None:
    """Lay findings where nothing is drawn before the pathologist: lesions among them counted as background."""
    job = trained.members[0].job
    cases = list(dict.fromkeys(case for one in trained.members for case in one.sets.split.tune))
    folder = job.folder / FOLDER
    of_slides = [(tuned.labeled.slide.path, one) for tuned, one in zip(trained.tuned, lesions, strict=True)]
    found = lay_out_unmarked({path: one for path, one in of_slides if path}, cases, classes, folder)
    tell_unmarked(found, folder, job.progress)


@dataclass(frozen=True)
class Words:
    """What is written beside the weights."""

    threshold: float
    metrics: dict[str, Any]
    card: dict[str, str]


def save_trained(trained: Trained, recipe: Recipe, out: Path, words: Words) -> ModelFolder:
    """All networks as one model folder."""
    network, temperature, offset = trained.joined(trained.everybody)
    return save_model(
        out,
        network,
        recipe,
        threshold=words.threshold,
        temperature=temperature,
        offset=offset,
        metrics=words.metrics,
        card=words.card,
    )


def tune_counts(job: Job, slides: Sequence[Tuned], folder: Path, views: int | None) -> PixelCounts:
    """The heatmaps of the tuning slides (or of their tuning blocks) against their outlines; kept in the folder."""
    counts = PixelCounts.none()
    windows = [tuning_windows(tuned.labeled, tuned.blocks, job.recipe) for tuned in slides]
    job.progress.start("choosing the threshold", sum(map(len, windows)))
    for index, (tuned, boxes) in enumerate(zip(slides, windows, strict=True)):
        if boxes:
            seen = (tuned.labeled, tuned.engine, boxes, views or job.recipe.detection.tta_views)
            heatmap = look_through(*seen, lambda done, total: job.progress.advance())
            counts = counts + count_pixels(tuned.labeled, heatmap, job.recipe.classes.positive)
            hide(heatmap, Sight(tuned.labeled.tissue, boxes, tuning_area(tuned.blocks), ()))
            write_heatmap(heatmap, kept_heatmap(folder, index))
    job.progress.done()
    return counts


def told(tune: dict[str, Any], trained: Trained) -> dict[str, Any]:
    """The figures on the tuning set, named after it (they chose the threshold, so they flatter), and who was learnt from,
    be it by the model that this one began with."""
    taught, tuned = trained.taught, [one.labeled for one in trained.tuned]
    known = trained.members[0].job.known
    seen = [one.to_dict() for one in fingerprints(trained.slides)]
    budgets = [one.course.budget for one in trained.members]
    return {
        "tune": tune,
        "data": {
            "train_patients": _with(known.get("train_patients", ()), taught),
            "tune_patients": _with(known.get("tune_patients", ()), tuned),
            "train_slides": sorted(labeled.slide.name for labeled in taught),
            "tune_slides": sorted(labeled.slide.name for labeled in tuned),
            "regions": _counted(taught),
            "fingerprints": [*seen, *(one for one in known.get("fingerprints", ()) if one not in seen)],
        },
        "sanity_checks": [vars(verdict) for verdict in _verdicts(trained)],
        "training": {
            "members": len(budgets),
            "steps": sum(budget.steps for budget in budgets),
            "step_seconds": budgets[0].step_seconds,
            "validation_seconds": budgets[0].validation_seconds,
        },
    }


def _verdicts(trained: Trained) -> list[Verdict]:
    """What guards said of the first network, and what was not good of the others."""
    first, *others = (one.course.verdicts for one in trained.members)
    return [*first, *(verdict for told in others for verdict in told if verdict.state != "good")]


def _with(known: Sequence[str], slides: Sequence[LabeledSlide]) -> list[str]:
    """The patients of slides, and those known before."""
    return sorted({*known, *(labeled.patient for labeled in slides)})


def appearances(slides: Sequence[LabeledSlide], mpp: float) -> list[dict[str, Any]]:
    """What the slides look like that were learnt from or tuned on, in a few numbers each."""
    seen = [appearance(labeled.slide, labeled.tissue, mpp) for labeled in slides]
    pairs = [(labeled.patient, one) for labeled, one in zip(slides, seen, strict=True) if one is not None]
    return Learnt(tuple(one for _, one in pairs), tuple(patient for patient, _ in pairs)).to_list()


def card(figures: dict[str, Any], recipe: Recipe) -> dict[str, str]:
    """The sections of the model card."""
    data, tune = figures["data"], figures["tune"]
    regions = ", ".join(f"{count} {label or 'unclassified'}" for label, count in data["regions"].items())
    chosen = "blocks of the training slides (optimistic)" if tune["optimistic"] else "tuning patients"
    if figures["training"]["members"] > 1:
        chosen += f" (the model is {figures['training']['members']} networks; each slide as those see it that have not learnt from it)"
    shown = ", ".join(f"{name} {value:.3f}" for name, value in tune["pixel"].items() if value is not None)
    return {
        "Data": f"{len(data['train_slides'])} slides of {len(data['train_patients'])} patients; regions: {regions}.",
        "Figures": f"On the tissue of the {chosen}, which also chose the threshold: {shown}. "
        "They are no statement about new patients: run `histoscout evaluate` on patients kept apart.",
        **always(figures, recipe),
    }


def always(figures: dict[str, Any], recipe: Recipe) -> dict[str, str]:
    """What every model card says: the guards, whose weights it started from, and what it is not for."""
    weights = recipe.network.weights
    licence = {
        "none": "The network started from random weights; nobody else's licence applies.",
        "built-in": "The encoder started from weights that come with histoscout (Apache-2.0), learnt from slides that it draws: "
        "no patient's data are in them.",
        "imagenet": "The encoder started from ImageNet weights of timm or torchvision; see their licences.",
    }.get(
        weights, f"The encoder started from {Path(weights).name}; its licence applies and is yours to check."
    )
    return {
        "Guards": _guards(figures["sanity_checks"]),
        "Licence of the weights": licence,
        "Use": "For research only. Not a medical device; not for diagnosis.",
    }


def _guards(verdicts: list[dict[str, str]]) -> str:
    good = sum(verdict["state"] == "good" for verdict in verdicts)
    lines = [
        f"- {verdict['state']}: {verdict['name']}: {verdict['message']}"
        for verdict in verdicts
        if verdict["state"] != "good"
    ]
    return "\n".join([f"{good} of {len(verdicts)} guards found all good before the first step.", *lines])


def _counted(slides: Sequence[LabeledSlide]) -> dict[str, int]:
    labels = [region.label for labeled in slides for region in labeled.regions]
    return {label: labels.count(label) for label in sorted(set(labels))}


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
    figures = {**told(tune, trained), "appearance": appearances(trained.slides, recipe.patches.mpp)}
    return save_trained(trained, recipe, out, Words(threshold, figures, image_card(figures, recipe)))


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


def image_card(figures: dict[str, Any], recipe: Recipe) -> dict[str, str]:
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
