"""What follows the last step: best weights, temperature, threshold, and the model folder with its card."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from torch import nn

from histoscout.detection.appearance import Learnt, appearance
from histoscout.detection.heatmap import compute_heatmap, write_heatmap
from histoscout.detection.labelled import LabelledSlide
from histoscout.detection.look import Sight, hide
from histoscout.detection.windows import WindowPlan, detection_windows
from histoscout.evaluation.pixels import PixelCounts, count_pixels
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.names import ARCHITECTURES
from histoscout.network.engines import Engine
from histoscout.network.graph import Detector
from histoscout.network.model_folder import ModelFolder
from histoscout.network.save import save_model
from histoscout.recipe import Recipe
from histoscout.training.budget import Budget
from histoscout.training.guards import fingerprints
from histoscout.training.loader import plain_batches
from histoscout.training.loop import Job
from histoscout.training.sets import Sets
from histoscout.training.tuning import kept_heatmap, tune_operating
from histoscout.training.validate import answers, fit_calibration
from histoscout.verdict import Verdict


@dataclass(frozen=True)
class Course:
    """How a training went: the steps of all members, how the first one's were timed, what the guards said before them."""

    steps: int
    budget: Budget
    verdicts: tuple[Verdict, ...]


def finish(job: Job, network: nn.Module, sets: Sets, course: Course, out: Path) -> ModelFolder:
    """Choose on the tuning slides, which were never learnt from, and write the model folder."""
    recipe = job.recipe
    engine, temperature, offset = calibrated(job, network, offset=True)
    with TemporaryDirectory(dir=job.folder, prefix=".part.tuning.") as folder:
        counts = tune_counts(job, sets, engine, Path(folder))
        threshold = counts.best_threshold() if counts.positive.any() else 0.5
        used = threshold if recipe.detection.threshold is None else recipe.detection.threshold
        operating = tune_operating(sets, used, Path(folder))
    tune = {"pixel": counts.row(threshold), "optimistic": sets.split.blocks}
    figures = {**told(tune, sets, course), "operating": operating.to_dict()}
    figures["appearance"] = appearances(sets, recipe.windows.mpp)
    return save_model(
        out,
        network,
        recipe,
        threshold=threshold,
        temperature=temperature,
        offset=offset,
        metrics=figures,
        card=card(figures, recipe),
    )


def calibrated(job: Job, network: nn.Module, *, offset: bool) -> tuple["InTraining", float, float]:
    """The network as an engine, calibrated on the tuning windows; its temperature and offset."""
    recipe = job.recipe
    found = answers(job.fabric.setup_module(network), plain_batches(job.tuning, recipe), recipe, job.fabric)
    temperature, shift = fit_calibration(found, recipe.seed, offset=offset)
    network.eval()
    return InTraining(Detector(network, recipe, temperature, shift).eval(), job), temperature, shift


@dataclass(frozen=True)
class InTraining:
    """The network in hand as an engine, in the precision of training: no model folder is written yet."""

    detector: Detector
    job: Job

    @property
    def labels(self) -> tuple[str, ...]:
        return self.job.recipe.classes.labels

    @property
    def description(self) -> str:
        return f"torch {torch.__version__} on {self.job.fabric.device}"

    @property
    def answers(self) -> Literal["pixels", "tile"]:
        kind = ARCHITECTURES[self.job.recipe.network.architecture].answers
        return "tile" if kind == "tile" else "pixels"

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The answers for any number of windows."""
        with torch.inference_mode(), self.job.fabric.autocast():
            found = self.detector(self.job.fabric.to_device(torch.from_numpy(windows)))
        return np.asarray(found.float().cpu().numpy(), np.float32)

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """The answers for each batch, in order."""
        return map(self, batches)

    def close(self) -> None:
        """Nothing is held."""


def tune_counts(job: Job, sets: Sets, engine: Engine, folder: Path) -> PixelCounts:
    """The heatmaps of the tuning slides (or of their tuning blocks) against their outlines; kept in the folder."""
    counts = PixelCounts.none()
    job.progress.start("choosing the threshold", len(sets.tune))
    for index, labelled in enumerate(sets.tune):
        within = _as_regions(sets.tune_boxes[index]) if index in sets.tune_boxes else None
        boxes = detection_windows(labelled.slide, labelled.tissue, job.recipe, within)
        if boxes:
            plan = WindowPlan.of(job.recipe)
            heatmap = compute_heatmap(
                labelled.slide,
                engine,
                boxes,
                plan,
                on_window=lambda done, total: None,
                tissue=labelled.tissue,
            )
            counts = counts + count_pixels(labelled, heatmap, job.recipe.classes.positive)
            hide(heatmap, Sight(labelled.tissue, boxes, within, ()))
            write_heatmap(heatmap, kept_heatmap(folder, index))
        job.progress.advance()
    job.progress.done()
    return counts


def _as_regions(boxes: Sequence[Box]) -> Regions:
    return Regions.of(Region(shapely.box(*box.bounds), "tune") for box in boxes)


def told(tune: dict[str, Any], sets: Sets, course: Course) -> dict[str, Any]:
    """The figures on the tuning set, named after it (they chose the threshold, so they flatter), and who was learnt from."""
    return {
        "tune": tune,
        "data": {
            "train_patients": sorted({labelled.patient for labelled in sets.train}),
            "tune_patients": sorted({labelled.patient for labelled in sets.tune}),
            "train_slides": sorted(labelled.slide.name for labelled in sets.train),
            "tune_slides": sorted(labelled.slide.name for labelled in sets.tune),
            "regions": _counted(sets.train),
            "fingerprints": [one.to_dict() for one in fingerprints(_once(sets))],
        },
        "guards": [vars(verdict) for verdict in course.verdicts],
        "training": {
            "steps": course.steps,
            "step_seconds": course.budget.step_seconds,
            "validation_seconds": course.budget.validation_seconds,
        },
    }


def appearances(sets: Sets, mpp: float) -> list[dict[str, Any]]:
    """What the slides look like that were learnt from or tuned on, in a few numbers each."""
    slides = _once(sets)
    seen = [appearance(labelled.slide, labelled.tissue, mpp) for labelled in slides]
    pairs = [(labelled.patient, one) for labelled, one in zip(slides, seen, strict=True) if one is not None]
    return Learnt(tuple(one for _, one in pairs), tuple(patient for patient, _ in pairs)).to_list()


def card(figures: dict[str, Any], recipe: Recipe) -> dict[str, str]:
    """The sections of the model card."""
    data, tune = figures["data"], figures["tune"]
    regions = ", ".join(f"{count} {label or 'unclassified'}" for label, count in data["regions"].items())
    chosen = "blocks of the training slides (optimistic)" if tune["optimistic"] else "tuning patients"
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
        "imagenet": "The encoder started from ImageNet weights of timm or torchvision; see their licences.",
    }.get(
        weights, f"The encoder started from {Path(weights).name}; its licence applies and is yours to check."
    )
    return {
        "Guards": _guards(figures["guards"]),
        "Licence of the weights": licence,
        "Use": "For research only. Not a medical device; not for diagnosis.",
    }


def _guards(verdicts: list[dict[str, str]]) -> str:
    good = sum(verdict["state"] == "good" for verdict in verdicts)
    lines = [
        f"- {verdict['state']}: {verdict['name']}: {verdict['says']}"
        for verdict in verdicts
        if verdict["state"] != "good"
    ]
    return "\n".join([f"{good} of {len(verdicts)} guards found all good before the first step.", *lines])


def _once(sets: Sets) -> list[LabelledSlide]:
    """The slides that were learnt from or tuned on, each once."""
    return list({id(labelled.slide): labelled for labelled in (*sets.train, *sets.tune)}.values())


def _counted(slides: tuple[LabelledSlide, ...]) -> dict[str, int]:
    labels = [region.label for labelled in slides for region in labelled.regions]
    return {label: labels.count(label) for label in sorted(set(labels))}
