"""A recipe that works, on the same slides, tested on a patient that it was not trained on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.cohort.cohort import Cohort
from histoscout.detection.heatmap import read_heatmap
from histoscout.detection.results import ResultFolder
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.pixels.counts import PixelCounts, count_pixels
from histoscout.evaluation.scores_io import RENAMED_SCORES
from histoscout.io.files import read_text, write_text
from histoscout.io.inputs import parse_json
from histoscout.study.context import StudyContext, read_study_recipe
from histoscout.training.train import TrainOptions, train

RENAMED_RESULT: Mapping[str, str] = MappingProxyType({"learnt from": "training", "window_um": "patch_um"})
"""Keys of ours/result.json of histoscout 0.1.0 and what they are called now, beside those of scores.json."""


def run_working_recipe(context: StudyContext, device: str) -> dict[str, Any]:
    """Train our recipe by the ordinary `train` and evaluate it by the ordinary `evaluate`.

    Args:
        context: What all runs share.
        device: Device for training and detection.

    Returns:
        What ours/result.json holds; read from there if the recipe is finished.
    """
    folder = context.out / "ours"
    result_file = folder / "result.json"
    if result_file.exists():
        return read_working_result(result_file)
    cohort = make_patient_split(context)
    # the built-in weights come from synthetic slides: on such slides they would flatter
    weights = "none" if cohort.built_in else "built-in"
    choices = {"network.weights": weights, **context.scale.working_choices}
    recipe = read_study_recipe("working").with_choices(choices)
    progress = context.progress
    train_options = TrainOptions(device=device, progress=progress, sanity_checks="warn")
    model = train(cohort, folder / "model", recipe, train_options)
    evaluate(model, cohort, folder / "scores", EvaluateOptions(device=device, progress=progress))
    # metrics, and the average precision on the slides that the study's runs are evaluated on
    scores = parse_json(read_text(folder / "scores" / "scores.json"))
    detections = ResultFolder(folder / "scores" / "found")
    sets = {"left out": context.left_out_slides(), "referee": context.referee_slides()}
    lesion_keys = [name for name in ("rule", "counts", "sensitivity_at") if name in scores["lesion"]]
    result = {
        "patients": {"training": model.metrics["data"]["train_patients"], "left out": [context.left_out]},
        "patch_um": recipe.patches.size_um,
        "steps": model.metrics["training"]["steps"],
        "sanity_checks": model.metrics.get("sanity_checks", []),
        "whole": {name: _whole_slide_ap(slides, detections) for name, slides in sets.items() if slides},
        "pixel": scores["pixel"],
        "lesion": {name: scores["lesion"][name] for name in lesion_keys},
        "per_patient": scores["per_patient"],
        "claims": scores["claims"],
    }
    write_text(result_file, json.dumps(result, indent=1) + "\n")
    return result


def read_working_result(path: Path) -> dict[str, Any]:
    """Read the result of our recipe, also of histoscout 0.1.0, with the keys of today.

    Args:
        path: The file.
    """
    result: dict[str, Any] = parse_json(read_text(path))
    # keys are renamed at the levels that have old ones; nothing below is read
    rows = (result, result["patients"], result["lesion"]["counts"], *result["per_patient"])
    for row in rows:
        for old, new in {**RENAMED_SCORES, **RENAMED_RESULT}.items():
            if old in row:
                row[new] = row.pop(old)
    return result


def make_patient_split(context: StudyContext) -> Cohort:
    """Return the study's slides with the left-out patient and the referee for testing only.

    Args:
        context: Context of the study.
    """
    cases = [
        replace(case, split="test" if case.patient == context.left_out else "train") for case in context.cases
    ]
    referees = [replace(case, split="test") for case in context.referees]
    return Cohort((*cases, *referees), str(context.out))


def _whole_slide_ap(slides: Sequence[LabeledSlide], detections: ResultFolder) -> dict[str, float | None]:
    counts = PixelCounts.empty()
    for labeled in slides:
        heatmap = read_heatmap(detections.heatmap(labeled.slide.name))
        counts = counts + count_pixels(labeled, heatmap, labeled.recipe.classes.positive)
    return {"ap": counts.ap, "prevalence": counts.prevalence}
