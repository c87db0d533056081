"""A recipe that works, on the same slides: learnt from all patients but one, judged on that one and on the referee."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.cohort.cohort import Cohort
from histoscout.detection.heatmap import read_heatmap
from histoscout.detection.results import Output
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.pixels.counts import PixelCounts, count_pixels
from histoscout.io.files import write_text
from histoscout.study.bench import Bench, own_recipe
from histoscout.training.train import TrainOptions, train


def our_recipe(bench: Bench, device: str) -> dict[str, Any]:
    """Train by the ordinary `train`, judge by the ordinary `evaluate`; what came of it, by name."""
    folder = bench.out / "ours"
    written = folder / "result.json"
    if written.exists():
        earlier: dict[str, Any] = json.loads(written.read_text("utf-8"))
        return earlier
    cohort = honest(bench)
    # on slides of the kind that they were learnt from, weights flatter
    start = "none" if cohort.built_in else "built-in"
    recipe = own_recipe("ours").with_choices({"network.weights": start, **bench.scale.ours})
    told = TrainOptions(device=device, progress=bench.progress, sanity_checks="warn")
    model = train(cohort, folder / "model", recipe, told)
    evaluate(model, cohort, folder / "scores", EvaluateOptions(device=device, progress=bench.progress))
    scores = json.loads((folder / "scores" / "scores.json").read_text("utf-8"))
    result = {
        "patients": {"learnt from": model.metrics["data"]["train_patients"], "left out": [bench.left_out]},
        "window_um": recipe.patches.size_um,
        "steps": model.metrics["training"]["steps"],
        "sanity_checks": model.metrics.get("sanity_checks", []),
        "whole": _whole(bench, folder / "scores"),
        "pixel": scores["pixel"],
        "lesion": {
            name: scores["lesion"][name]
            for name in ("rule", "counts", "sensitivity_at")
            if name in scores["lesion"]
        },
        "per_patient": scores["per_patient"],
        "claims": scores["claims"],
    }
    write_text(written, json.dumps(result, indent=1) + "\n")
    return result


def honest(bench: Bench) -> Cohort:
    """The study's slides, the left-out patient's and the referee's for testing only, all others for training."""
    cases = [
        replace(case, split="test" if case.patient == bench.left_out else "train") for case in bench.cases
    ]
    return Cohort((*cases, *(replace(case, split="test") for case in bench.referees)), str(bench.out))


def _whole(bench: Bench, scores: Path) -> dict[str, Any]:
    """AP over the same slides as the study's runs are judged on."""
    sets = {"left out": bench.last_patient(), "referee": bench.referee()}
    return {name: _figures(slides, Output(scores / "found")) for name, slides in sets.items() if slides}


def _figures(slides: tuple[LabeledSlide, ...], found: Output) -> dict[str, float | None]:
    counts = PixelCounts.none()
    for labeled in slides:
        heatmap = read_heatmap(found.heatmap(labeled.slide.name))
        counts = counts + count_pixels(labeled, heatmap, labeled.recipe.classes.positive)
    return {"ap": counts.ap, "prevalence": counts.prevalence}
