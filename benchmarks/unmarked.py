"""What it costs if half of the lesions of the training patients were never outlined, and what saying so brings back.

    python benchmarks/unmarked.py OUT [--patients 60] [--seed 7] [--epochs 9] [--views 8] [--only NAME ...]     # OUT: a folder to work in, kept

The demonstration's patients and recipe. Three models: learnt from all outlines; from a random half of the lesions' outlines;
from the same half with `classes.complete = false`. Tuning patients are fully outlined in each. All are judged by new built-in
patients with all of their outlines. Started again, it goes on where it was.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from random import Random

from ablation import judge

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cli.tables import interval_cell
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.demo import PATIENTS, demo_recipe
from histoscout.evaluation.bootstrap import bootstrap_difference
from histoscout.evaluation.out_of_fold import Arm, pooled_statistic
from histoscout.geometry.regions import Regions
from histoscout.synthetic.cohort import write
from histoscout.training.train import TrainOptions, train

DRAW = 11  # of the outlines left out
LEFT_OUT = 0.5
ARMS = ("all", "half", "half, and said so")  # the first is what the others are compared with
SENSITIVITIES = ("1", "5", "10")  # false regions for each cm2 of tissue


def half_marked(cohort: Cohort, folder: Path) -> Cohort:
    """The cohort with half of the training patients' outlined lesions left out, written to the folder."""
    random = Random(DRAW)
    positive = demo_recipe().classes.positive
    left = total = 0
    cases: list[Case] = []
    for case in cohort.cases:
        if case.annotations is not None:
            drawn = read_geojson(case.annotations).regions
            chosen = {id(one) for one in drawn if one.label == positive and random.random() < LEFT_OUT}
            if case.split == "train":
                total, left = total + len(drawn.labeled(positive)), left + len(chosen)
                kept = Regions.of(one for one in drawn if id(one) not in chosen)
                write_geojson(kept, folder / case.annotations.name)
                case = replace(case, annotations=folder / case.annotations.name)
        cases.append(case)
    print(f"{left} of {total} outlines of {positive} left out", flush=True)
    return replace(cohort, cases=tuple(cases))


def print_row(arm: Arm, base: Arm) -> None:
    """The arm's figures, and how far they are from those of the base, paired over patients."""
    scores = arm.folds[0].scores
    at = [f"sensitivity_at_{rate}_per_cm2" for rate in SENSITIVITIES]
    shown = [
        scores.pixel["ap"],
        scores.pixel["dice"],
        scores.lesion["sensitivity"],
        *map(scores.lesion.get, at),
    ]
    cells = [*map(interval_cell, (*shown, scores.lesion["false_per_cm2"]))]
    if arm is not base:
        slides = tuple(slide.name for slide in scores.slides)
        ours, theirs = (pooled_statistic(one, slides, scores.patients) for one in (arm, base))
        lost = bootstrap_difference(ours, theirs, len(scores.patients))
        cells += [interval_cell(lost[name]) for name in ("ap", "sensitivity_at_5_per_cm2")]
    print(f"| {arm.name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--patients", type=int, default=60)
    parser.add_argument(
        "--seed", type=int, default=7, help="of the new patients; those of the demonstration are of seed 0"
    )
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--views", type=int, default=8, choices=(1, 2, 4, 8))
    parser.add_argument("--only", nargs="*", default=ARMS, choices=ARMS)
    given = parser.parse_args()
    recipe = demo_recipe().with_choices({"training.epochs": given.epochs, "detection.tta_views": given.views})
    learnt = read_cohort(write(given.out / "cohort", patients=PATIENTS))
    learnt = replace(learnt, cases=tuple(case for case in learnt.cases if case.split != "test"))
    new = read_cohort(write(given.out / "new", patients=given.patients, seed=given.seed))
    exam = replace(new, cases=tuple(replace(case, split="test") for case in new.cases))
    (given.out / "half").mkdir(parents=True, exist_ok=True)
    half = half_marked(learnt, given.out / "half")
    rates = " | ".join(f"at {rate} per cm2" for rate in SENSITIVITIES)
    print(
        f"| outlines of lesions | AP | Dice | lesions found | {rates} | false per cm2 | AP, difference | at 5, difference |"
    )
    print("|" + "---|" * (7 + len(SENSITIVITIES)))
    said = recipe.with_choices({"classes.complete": False})
    todo = dict(zip(ARMS, ((learnt, recipe), (half, recipe), (half, said)), strict=True))
    base: Arm | None = None
    for name in [one for one in ARMS if one in given.only or one == ARMS[0]]:
        folder = given.out / name.replace(", and ", "-").replace(" ", "-")
        model = train(todo[name][0], folder / "model", todo[name][1], TrainOptions(sanity_checks="warn"))
        arm = judge(name, model, exam, folder)
        base = base or arm
        print_row(arm, base)


if __name__ == "__main__":
    main()
