"""What it costs if half of the training patients' lesions are not annotated, and what declaring it recovers.

    python benchmarks/unannotated.py OUT [--patients 60] [--seed 7] [--epochs 9] [--views 8] [--only NAME ...]

OUT is a folder for models and scores; it is kept, and the same command resumes an interrupted run. Patients and recipe are those
of the demonstration. Three models are trained: on all annotations; on a random half of the lesions' annotations; on the same
half with `classes.complete = false`. The tuning patients are fully annotated in each. All models are evaluated on new synthetic
patients with all of their annotations.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from random import Random

from ablation import evaluate_variant, test_cohort, training_cohort

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cli.tables import interval_cell
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort
from histoscout.demonstration import demo_recipe
from histoscout.evaluation.bootstrap import bootstrap_difference
from histoscout.evaluation.out_of_fold import RecipeResult, pooled_statistic
from histoscout.geometry.regions import Regions
from histoscout.training.train import TrainOptions, train

# seed of the choice of annotations that are removed
REMOVAL_SEED = 11
REMOVED_SHARE = 0.5
# the first is what the others are compared with
VARIANTS = ("all", "half", "half, declared")
# false positives per cm2 of tissue
FP_RATES = ("1", "5", "10")


def remove_annotations(cohort: Cohort, folder: Path) -> Cohort:
    """The cohort without half of the training patients' annotated lesions, written to the folder."""
    random = Random(REMOVAL_SEED)
    positive = demo_recipe().classes.positive
    removed_count = total = 0
    cases: list[Case] = []
    for case in cohort.cases:
        if case.annotations is not None:
            regions = read_geojson(case.annotations).regions
            # chosen on every slide, so that the choice does not depend on the split
            removed = {
                region.id
                for region in regions
                if region.label == positive and random.random() < REMOVED_SHARE
            }
            if case.split == "train":
                total += len(regions.with_labels(positive))
                removed_count += len(removed)
                path = folder / case.annotations.name
                write_geojson(Regions.of(region for region in regions if region.id not in removed), path)
                case = replace(case, annotations=path)
        cases.append(case)
    print(f"{removed_count} of {total} annotations of {positive} removed", flush=True)
    return replace(cohort, cases=tuple(cases))


def print_row(variant: RecipeResult, base: RecipeResult) -> None:
    """The metrics of a variant, and their differences from those of the base, paired over patients."""
    scores = variant.folds[0].scores
    metrics = [
        scores.pixel["ap"],
        scores.pixel["dice"],
        scores.lesion["sensitivity"],
        *(scores.lesion.get(f"sensitivity_at_{rate}_per_cm2") for rate in FP_RATES),
        scores.lesion["fp_per_cm2"],
    ]
    cells = [interval_cell(metric) for metric in metrics]
    if variant is not base:
        slides = tuple(slide.name for slide in scores.slides)
        statistic, base_statistic = (
            pooled_statistic(result, slides, scores.patients) for result in (variant, base)
        )
        difference = bootstrap_difference(statistic, base_statistic, len(scores.patients))
        cells += [interval_cell(difference[name]) for name in ("ap", "sensitivity_at_5_per_cm2")]
    print(f"| {variant.name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder for models and scores")
    parser.add_argument("--patients", type=int, default=60, help="number of new patients")
    parser.add_argument(
        "--seed", type=int, default=7, help="of the new patients; those of the demonstration have seed 0"
    )
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--views", type=int, default=8, choices=(1, 2, 4, 8), help="TTA views")
    parser.add_argument("--only", nargs="*", default=VARIANTS, choices=VARIANTS)
    options = parser.parse_args()
    recipe = demo_recipe().with_choices(
        {"training.epochs": options.epochs, "detection.tta_views": options.views}
    )
    training = training_cohort(options.out / "cohort")
    testing = test_cohort(options.out / "new", options.patients, options.seed)
    (options.out / "half").mkdir(parents=True, exist_ok=True)
    half = remove_annotations(training, options.out / "half")
    declared = recipe.with_choices({"classes.complete": False})
    trainings = dict(zip(VARIANTS, ((training, recipe), (half, recipe), (half, declared)), strict=True))
    rates = " | ".join(f"at {rate} FP/cm2" for rate in FP_RATES)
    print(
        f"| annotations | AP | Dice | sensitivity | {rates} | FP/cm2 | AP, difference | at 5 FP/cm2, difference |"
    )
    print("|" + "---|" * (7 + len(FP_RATES)))
    base: RecipeResult | None = None
    for name in VARIANTS:
        if name in options.only or name == VARIANTS[0]:
            cohort, variant_recipe = trainings[name]
            folder = options.out / name.replace(", ", "-")
            model = train(cohort, folder / "model", variant_recipe, TrainOptions(sanity_checks="warn"))
            variant = evaluate_variant(name, model, testing, folder)
            base = base or variant
            print_row(variant, base)


if __name__ == "__main__":
    main()
