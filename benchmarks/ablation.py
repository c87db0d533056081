"""What each part of the demonstration's recipe is worth: one part off at a time, all else the same.

    python benchmarks/ablation.py OUT [--patients 24] [--epochs 9] [--views 8] [--only NAME ...]     # OUT: a folder to work in, kept

The demonstration's patients, recipe, steps and seed; judged by new built-in patients. Differences are paired over these patients.
Two rows with nothing off but another seed say how much one training differs from the next: a smaller difference says nothing.
Started again, it goes on where it was.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from histoscout.cli.tables import interval_cell
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.demo import PATIENTS, demo_recipe
from histoscout.evaluation.bootstrap import bootstrap, bootstrap_difference
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.out_of_fold import Arm, FoldResult, pooled_statistic
from histoscout.network.model_folder import ModelFolder
from histoscout.synthetic.cohort import write
from histoscout.training.train import TrainOptions, train

SEED = 9  # of the new patients; those of the demonstration are of seed 0
FIGURES = ("ap", "dice", "sensitivity_at_5_per_cm2", "ece")
BASE = "all parts"

Choices = Mapping[str, Any]
SEEDS: Mapping[str, Choices] = {"another seed": {"seed": 1}, "a third seed": {"seed": 2}}
PARTS: Mapping[str, Choices] = {
    "look-alikes are background": {"classes.other": [], "sampler.other": 0.0, "sampler.tissue": 0.55},
    "windows round look-alikes": {"sampler.other": 0.0, "sampler.tissue": 0.55},
    "windows round anything": {"sampler.positive": 0.0, "sampler.other": 0.0, "sampler.tissue": 1.0},
    "a wide view (256 um instead of 512)": {"patches.size_um": 256.0},
    "stain, brightness, blur, noise": {
        "augment.stain": 0.0,
        "augment.brightness": 0.0,
        "augment.blur": 0.0,
        "augment.noise": 0.0,
    },
    "turns and sizes": {"augment.flip": False, "augment.rotate": False, "augment.scale": 0.0},
    "averaged weights": {"training.ema_decay": 0.0},
    "prior of the classes": {"loss.prior_bias": False},
    "Dice in the loss": {"loss.name": "cross_entropy"},
    "one cycle of the learning rate": {"training.schedule": "constant"},
    "pen and focus left out": {"tissue.artifacts": False},
}
"""What is off, and the choices that switch it off; each is learnt anew."""

LOOKED: Mapping[str, Choices] = {
    "views (1 instead of 8)": {"detection.tta_views": 1},
    "overlap": {"detection.overlap": 0.0},
    "neighbours agree on the class": {"detection.class_smoothing_um": 0.0},
}
"""The same for detection alone, with the network of the base."""

ALL_OFF = {key: value for off in (*PARTS.values(), *LOOKED.values()) for key, value in off.items()}
LEARNT: Mapping[str, Choices] = {**SEEDS, **PARTS, "all of these": ALL_OFF}


def judge(name: str, model: ModelFolder, exam: Cohort, folder: Path) -> Arm:
    """A model's scores on the new patients, as an arm of one fold."""
    scores = evaluate(model, exam, folder / "scores", EvaluateOptions())
    data = model.metrics["data"]
    steps, mpp = model.metrics["training"]["steps"], model.recipe.patches.mpp
    fold = FoldResult(1, scores, mpp, steps, tuple(data["train_patients"]), tuple(data["tune_patients"]))
    return Arm(name, (fold,))


def print_row(arm: Arm, base: Arm | None) -> None:
    """The arm's figures; for all but the base, what the part is worth, paired over patients."""
    scores = arm.folds[0].scores
    slides = tuple(slide.name for slide in scores.slides)
    ours = pooled_statistic(arm, slides, scores.patients)
    count = len(scores.patients)
    figures = bootstrap(ours, count)
    cells = [interval_cell(figures[name]) for name in FIGURES]
    if base is not None:
        lost = bootstrap_difference(ours, pooled_statistic(base, slides, scores.patients), count)
        cells.append(interval_cell(lost["ap"]))
    print(f"| {arm.name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--views", type=int, default=8, choices=(1, 2, 4, 8))
    parser.add_argument("--only", nargs="*", default=[*LEARNT, *LOOKED], choices=[*LEARNT, *LOOKED])
    given = parser.parse_args()
    learnt = read_cohort(write(given.out / "cohort", patients=PATIENTS))
    learnt = replace(learnt, cases=tuple(case for case in learnt.cases if case.split != "test"))
    new = read_cohort(write(given.out / "new", patients=given.patients, seed=SEED))
    exam = replace(new, cases=tuple(replace(case, split="test") for case in new.cases))
    recipe = demo_recipe().with_choices({"training.epochs": given.epochs, "detection.tta_views": given.views})
    print(f"| off | {' | '.join(FIGURES)} | AP, difference |")
    print("|" + "---|" * (2 + len(FIGURES)))
    telling = TrainOptions(sanity_checks="warn")
    model = train(learnt, given.out / "base" / "model", recipe, telling)
    base = judge(BASE, model, exam, given.out / "base")
    print_row(base, None)
    for number, (name, choices) in enumerate({**LEARNT, **LOOKED}.items()):
        folder, changed = given.out / f"{number:02d}", recipe.with_choices(dict(choices))
        if name in given.only and changed != recipe:  # with --views 1 there are no views to switch off
            detecting = replace(model, recipe=changed)
            used = detecting if name in LOOKED else train(learnt, folder / "model", changed, telling)
            print_row(judge(name, used, exam, folder), base)


if __name__ == "__main__":
    main()
