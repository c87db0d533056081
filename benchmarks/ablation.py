"""What each part of the demonstration's recipe contributes: one part off at a time, all else the same.

    python benchmarks/ablation.py OUT [--patients 24] [--epochs 9] [--views 8] [--only NAME ...]

OUT is a folder for models and scores; it is kept, and the same command resumes an interrupted run. Patients, recipe, steps and
seed are those of the demonstration; models are evaluated on new synthetic patients, and differences are paired over them. Two
rows with nothing off but another seed show how much one training differs from the next: smaller differences mean nothing.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from histoscout.cli.tables import interval_cell
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.demonstration import PATIENTS, demo_recipe
from histoscout.evaluation.bootstrap import bootstrap, bootstrap_difference
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.out_of_fold import FoldResult, RecipeResult, pooled_statistic
from histoscout.network.model_folder import ModelFolder
from histoscout.synthetic.cohort import write_synthetic_cohort
from histoscout.training.train import TrainOptions, train

# the new patients; those of the demonstration have seed 0
SEED = 9
METRICS = ("ap", "dice", "sensitivity_at_5_per_cm2", "ece")
BASE = "all parts"

Choices = Mapping[str, Any]
SEED_VARIANTS: Mapping[str, Choices] = {"another seed": {"seed": 1}, "a third seed": {"seed": 2}}
TRAINING_PARTS: Mapping[str, Choices] = {
    "look-alikes are background": {"classes.other": [], "sampler.other": 0.0, "sampler.tissue": 0.55},
    "patches around look-alikes": {"sampler.other": 0.0, "sampler.tissue": 0.55},
    "patches around annotations": {"sampler.positive": 0.0, "sampler.other": 0.0, "sampler.tissue": 1.0},
    "a wide view (256 um instead of 512)": {"patches.size_um": 256.0},
    "stain, brightness, blur, noise": {
        "augment.stain": 0.0,
        "augment.brightness": 0.0,
        "augment.blur": 0.0,
        "augment.noise": 0.0,
    },
    "rotation, flips, scale": {"augment.flip": False, "augment.rotate": False, "augment.scale": 0.0},
    "averaged weights (EMA)": {"training.ema_decay": 0.0},
    "prior bias": {"loss.prior_bias": False},
    "Dice in the loss": {"loss.name": "cross_entropy"},
    "one-cycle learning rate": {"training.schedule": "constant"},
    "artifact detection (pen, blur)": {"tissue.artifacts": False},
}
"""What is switched off, and the choices that switch it off; each needs a training of its own."""

DETECTION_PARTS: Mapping[str, Choices] = {
    "TTA (1 view instead of 8)": {"detection.tta_views": 1},
    "overlap": {"detection.overlap": 0.0},
    "class smoothing": {"detection.class_smoothing_um": 0.0},
}
"""The same for detection alone, with the network of the base."""

ALL_OFF = {
    key: value
    for choices in (*TRAINING_PARTS.values(), *DETECTION_PARTS.values())
    for key, value in choices.items()
}
TRAINED_VARIANTS: Mapping[str, Choices] = {**SEED_VARIANTS, **TRAINING_PARTS, "all of these": ALL_OFF}


def training_cohort(folder: Path) -> Cohort:
    """The demonstration's patients without the test patients."""
    cohort = read_cohort(write_synthetic_cohort(folder, patients=PATIENTS))
    return replace(cohort, cases=tuple(case for case in cohort.cases if case.split != "test"))


def test_cohort(folder: Path, patients: int, seed: int) -> Cohort:
    """New synthetic patients, all for testing."""
    cohort = read_cohort(write_synthetic_cohort(folder, patients=patients, seed=seed))
    return replace(cohort, cases=tuple(replace(case, split="test") for case in cohort.cases))


def evaluate_variant(name: str, model: ModelFolder, cohort: Cohort, folder: Path) -> RecipeResult:
    """A model's scores on the new patients, as a cross-validation of one fold."""
    scores = evaluate(model, cohort, folder / "scores", EvaluateOptions())
    data = model.metrics["data"]
    fold = FoldResult(
        number=1,
        scores=scores,
        mpp=model.recipe.patches.mpp,
        steps=model.metrics["training"]["steps"],
        train_patients=tuple(data["train_patients"]),
        tune_patients=tuple(data["tune_patients"]),
    )
    return RecipeResult(name, (fold,))


def print_row(variant: RecipeResult, base: RecipeResult | None) -> None:
    """The metrics of a variant; for all but the base also the difference, paired over patients."""
    scores = variant.folds[0].scores
    slides = tuple(slide.name for slide in scores.slides)
    statistic = pooled_statistic(variant, slides, scores.patients)
    count = len(scores.patients)
    metrics = bootstrap(statistic, count)
    cells = [interval_cell(metrics[name]) for name in METRICS]
    if base is not None:
        difference = bootstrap_difference(statistic, pooled_statistic(base, slides, scores.patients), count)
        cells.append(interval_cell(difference["ap"]))
    print(f"| {variant.name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    variants = {**TRAINED_VARIANTS, **DETECTION_PARTS}
    parser.add_argument("out", type=Path, help="folder for models and scores")
    parser.add_argument("--patients", type=int, default=24, help="number of new patients")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--views", type=int, default=8, choices=(1, 2, 4, 8), help="TTA views")
    parser.add_argument("--only", nargs="*", default=[*variants], choices=[*variants])
    options = parser.parse_args()
    training = training_cohort(options.out / "cohort")
    testing = test_cohort(options.out / "new", options.patients, SEED)
    recipe = demo_recipe().with_choices(
        {"training.epochs": options.epochs, "detection.tta_views": options.views}
    )
    print(f"| off | {' | '.join(METRICS)} | AP, difference |")
    print("|" + "---|" * (2 + len(METRICS)))
    train_options = TrainOptions(sanity_checks="warn")
    base_model = train(training, options.out / "base" / "model", recipe, train_options)
    base = evaluate_variant(BASE, base_model, testing, options.out / "base")
    print_row(base, None)
    for number, (name, choices) in enumerate(variants.items()):
        folder, changed = options.out / f"{number:02d}", recipe.with_choices(dict(choices))
        # with --views 1 there is no TTA to switch off
        if name not in options.only or changed == recipe:
            continue
        if name in DETECTION_PARTS:
            model = replace(base_model, recipe=changed)
        else:
            model = train(training, folder / "model", changed, train_options)
        print_row(evaluate_variant(name, model, testing, folder), base)


if __name__ == "__main__":
    main()
