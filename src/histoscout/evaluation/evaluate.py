"""How good a model is on patients it has never seen."""

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from histoscout.annotations.geojson import read_geojson
from histoscout.cohort.cohort import Case, Cohort, read_cohort
from histoscout.detection.detect import DetectOptions, detect
from histoscout.detection.heatmap import LEVELS, Heatmap, read_heatmap
from histoscout.detection.labelled import LabelledSlide, open_labelled
from histoscout.detection.overlay import draw_overlay
from histoscout.errors import CohortError
from histoscout.evaluation.lesions import LesionCounts, count_lesions
from histoscout.evaluation.pixels import PixelCounts, count_pixels, tissue_strips
from histoscout.files import write_text
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.progress import Progress, Silent
from histoscout.recipe import BACKGROUND

BASELINES = ("all tissue", "perfect outlines of every annotated class")


@dataclass(frozen=True)
class EvaluateOptions:
    """Where to compute, and who is told."""

    device: str = "auto"
    overwrite: bool = False
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True)
class SlideScores:
    """The counts of one slide, from which every figure is made."""

    name: str
    patient: str
    pixels: PixelCounts
    lesions: LesionCounts
    baselines: dict[str, PixelCounts]


@dataclass(frozen=True)
class Scores:
    """Per slide, and overall by adding up the slides' counts."""

    threshold: float
    slides: tuple[SlideScores, ...]
    notes: tuple[str, ...] = ()

    @property
    def patients(self) -> list[str]:
        return sorted({slide.patient for slide in self.slides})

    @property
    def pixels(self) -> PixelCounts:
        return sum((slide.pixels for slide in self.slides), PixelCounts.none())

    @property
    def lesions(self) -> LesionCounts:
        return sum((slide.lesions for slide in self.slides), LesionCounts())

    def baseline(self, name: str) -> PixelCounts:
        return sum((slide.baselines[name] for slide in self.slides), PixelCounts.none())

    def to_dict(self) -> dict[str, Any]:
        """The shape of scores.json; `low` and `high` are null where no interval was estimated."""
        lesions = self.lesions
        return {
            "pixel": {name: _figure(value) for name, value in self.pixels.row(self.threshold).items()},
            "tile": {},
            "lesion": {
                "lesions": lesions.lesions,
                "found": lesions.found,
                "false": lesions.false,
                "tissue_mm2": lesions.tissue_mm2,
                "sensitivity": _figure(lesions.sensitivity),
                "false_per_cm2": _figure(lesions.false_per_cm2),
            },
            "baselines": {
                name: {key: _figure(value) for key, value in self.baseline(name).row(1.0).items()}
                for name in BASELINES
            },
            "threshold": self.threshold,
            "patients": self.patients,
            "slides": [slide.name for slide in self.slides],
            "notes": list(self.notes),
        }


def _figure(value: float | None) -> dict[str, float | None]:
    return {"value": value, "low": None, "high": None}


def evaluate(
    model: ModelFolder | Path, cohort: Cohort | Path, out: Path, options: EvaluateOptions | None = None
) -> Scores:
    """Run the model on the test slides of a cohort and compare what it finds with the outlines drawn there.

    The test slides are those whose split is "test"; without splits, those of patients the model has not seen. A
    patient the model was trained or tuned on is refused. Pixels count where there is tissue and nothing is to be
    ignored. Writes scores.json, slides.csv, overlays with both outlines, and the detection under `out`/found.
    """
    model = read_model(model) if isinstance(model, Path) else model
    options = options or EvaluateOptions()
    cohort = read_cohort(cohort) if isinstance(cohort, Path) else cohort
    cases, notes = test_cases(cohort, model)
    found = out / "found"
    detecting = DetectOptions(device=options.device, overwrite=options.overwrite, progress=options.progress)
    rows = detect(model, cases, found, detecting)
    broken = [row for row in rows if row.state == "failed"]
    notes = (*notes, *(f"{row.slide}: not evaluated, {row.reason}" for row in broken))
    good = [case for case in cases if case.name not in {row.slide for row in broken}]
    options.progress.start("comparing with the outlines", len(good))
    slides = []
    for case in good:
        slides.append(score_case(case, model, found, out / "overlays"))
        options.progress.advance()
    options.progress.done()
    scores = Scores(model.threshold, tuple(slides), notes)
    write_scores(scores, out)
    return scores


def test_cases(cohort: Cohort, model: ModelFolder) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """The annotated cases to judge by; CohortError if there are none, or one of a patient the model knows."""
    data = model.metrics.get("data", {})
    known = {*data.get("train_patients", ()), *data.get("tune_patients", ())}
    cases = cohort.in_split("test").cases
    if not cases and all(case.split is None for case in cohort.cases):
        cases = tuple(case for case in cohort.cases if case.patient not in known)
    if both := sorted({case.patient for case in cases} & known):
        raise CohortError(
            cohort.where,
            f"the model was trained on these patients: {', '.join(both)}",
            "Judge it by other patients: take them out of the test split",
        )
    annotated = tuple(case for case in cases if case.annotations is not None)
    if not annotated:
        raise CohortError(
            cohort.where,
            "no annotated slide of a patient that the model has not seen",
            "Give slides whose split is test, or of new patients",
        )
    left = [case.name for case in cases if case.annotations is None]
    return annotated, ((f"without annotations, not evaluated: {', '.join(left)}",) if left else ())


def score_case(case: Case, model: ModelFolder, found: Path, overlays: Path) -> SlideScores:
    """Compare what was found on one slide with what was drawn on it."""
    labelled, _ = open_labelled(case, model.recipe)
    positive = model.recipe.classes.positive
    heatmap = read_heatmap(found / "heatmaps" / f"{case.name}.ome.tiff")
    regions = read_geojson(found / "regions" / f"{case.name}.geojson").regions
    drawn = labelled.regions.labelled(positive)
    lesions = count_lesions(drawn, regions, labelled.regions.labelled("ignore"), labelled.tissue.area_mm2)
    draw_overlay(labelled.slide, regions, drawn, overlays / f"{case.name}.png")
    counts = count_pixels(labelled, heatmap, positive)
    baselines = count_baselines(labelled, heatmap, positive)
    labelled.slide.close()
    return SlideScores(case.name, case.patient, counts, lesions, baselines)


def count_baselines(labelled: LabelledSlide, heatmap: Heatmap, positive: str) -> dict[str, PixelCounts]:
    """What a finder would get that calls all tissue lesion, or outlines every annotated region, of any class, exactly."""
    everything, outlined = PixelCounts.none(), PixelCounts.none()
    for strip in tissue_strips(labelled, heatmap, positive):
        truth = strip.mask == 1
        everything = everything + PixelCounts.of(np.full(strip.mask.shape, LEVELS - 1, np.uint8), truth)
        shown = np.where(strip.mask != BACKGROUND, LEVELS - 1, 0).astype(np.uint8)
        outlined = outlined + PixelCounts.of(shown, truth)
    return dict(zip(BASELINES, (everything, outlined), strict=True))


def write_scores(scores: Scores, out: Path) -> None:
    """scores.json with the figures overall, slides.csv with a row a slide."""
    write_text(out / "scores.json", json.dumps(scores.to_dict(), indent=1) + "\n")
    text = io.StringIO(newline="")
    rows = [_row(slide, scores.threshold) for slide in scores.slides]
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["slide"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / "slides.csv", text.getvalue())


def _row(slide: SlideScores, threshold: float) -> dict[str, Any]:
    lesions = {"lesions": slide.lesions.lesions, "found": slide.lesions.found, "false": slide.lesions.false}
    return {"slide": slide.name, "patient": slide.patient, **slide.pixels.row(threshold), **lesions}
