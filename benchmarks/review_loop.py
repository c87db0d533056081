"""Whether corrections make a model better: train, detect, correct, train again, on the built-in cohort.

    python benchmarks/review_loop.py OUT [--steps 50] [--further 50] [--seed 0] [--draws 1] [--only NAME ...]

OUT is a folder for slides, models and scores; it is kept, and the same command resumes an interrupted run. A model is trained
on 5 annotated slides (and tuned on 2), briefly and from the built-in weights, and finds regions on 10 new ones. New slides and
those for testing are paler and less sharp, as from another laboratory: without that, nothing is left to correct. A simulated reader goes through the 20 surest
findings of each slide: one that covers half of a lesion is accepted, one that meets a lesion gets the lesion's outline, the
rest is rejected. The corrections go through the review's log and `make_corrected_cohort`, and the model is trained further with
them. Beside it, with the same number of further steps from the same weights: no new slides; as many squares of 200 um at random
places in the tissue, in which the reader outlines all lesions; 3 of the 10 slides annotated completely, chosen by
`rank_results` or at random. All models are evaluated on 8 patients that are in none of this.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import shapely
from scipy import ndimage

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cli.tables import interval_cell
from histoscout.cohort.case import Case, open_case
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.demonstration import demo_recipe
from histoscout.detection.detect import DetectOptions, detect
from histoscout.detection.results import ResultFolder
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.geometry.regions import Region, Regions, valid_outline
from histoscout.io.files import atomic_write
from histoscout.network.model_folder import ModelFolder
from histoscout.recipe import Recipe
from histoscout.review.cohort import make_corrected_cohort, write_corrected_cohort
from histoscout.review.operation import Operation
from histoscout.review.queue import rank_results
from histoscout.review.review import Review
from histoscout.slides.pyramid import write_pyramid
from histoscout.synthetic.cohort import write_synthetic_cohort
from histoscout.tissue.mask import find_tissue
from histoscout.training.train import TrainOptions, train

POSITIVE = "UDH"
SIZE = (3072, 3072)
TRAIN, TUNE, POOL, TEST = 5, 2, 10, 8
FINDINGS = 20
"""Findings of a slide that the reader judges, the surest first."""
THRESHOLD = 0.15
"""Probability from which the reader is shown findings: below the model's own, so that there is something to correct."""
ACCEPTED_IOU = 0.5
SQUARE_UM = 200.0
GAINS, BLUR_PX = np.array([0.45, 0.7, 1.1]), 3.0
"""What the other laboratory does to the optical density of red, green and blue, and to the sharpness."""
CHOSEN = 3
"""Slides that are annotated completely when slides are ranked."""


def make_slides(folder: Path) -> tuple[list[Case], list[Case], list[Case]]:
    """Annotated slides for the first model, the pool, and slides for testing."""
    cohort = read_cohort(write_synthetic_cohort(folder, patients=TRAIN + TUNE + POOL + TEST, size=SIZE))
    splits = ["train"] * TRAIN + ["tune"] * TUNE + [None] * POOL + ["test"] * TEST
    cases = [replace(case, split=split) for case, split in zip(cohort.cases, splits, strict=True)]  # type: ignore[arg-type]
    first, second = TRAIN + TUNE, TRAIN + TUNE + POOL
    return cases[:first], cases[first:second], cases[second:]


def scan_again(case: Case, folder: Path) -> Case:
    """The slide as another laboratory would have stained and scanned it."""
    path = folder / case.slide.name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with open_case(case) as slide:
            pixels, mpp = slide.read(slide.box, slide.mpp), slide.mpp
        density = -np.log10(np.maximum(pixels, 1) / 255.0) * GAINS
        paler = ndimage.gaussian_filter(255 * 10**-density, (BLUR_PX, BLUR_PX, 0))
        with atomic_write(path) as temporary:
            write_pyramid(temporary, np.clip(paler, 0, 255).astype(np.uint8), mpp)
    return replace(case, slide=path)


def truth(case: Case) -> Regions:
    """All annotations of a slide, also those that the model is not told of."""
    assert case.annotations is not None
    return read_geojson(case.annotations).regions


def hidden(case: Case) -> Case:
    """The slide without its annotations."""
    return replace(case, annotations=None)


def read_findings(review: Review, case: Case) -> int:
    """Judge the surest findings of a slide as a pathologist would; how many there were."""
    lesions = truth(case).with_labels(POSITIVE)
    found = sorted(review.findings(case.name), key=lambda region: -(region.score or 0))[:FINDINGS]
    for region in found:
        over = [lesion for lesion in lesions if lesion.outline.intersects(region.outline)]
        best = max(over, key=lambda lesion: iou(lesion, region), default=None)
        kind = "reject"
        regions: tuple[Region, ...] = ()
        if best is not None and iou(best, region) >= ACCEPTED_IOU:
            kind = "accept"
        elif best is not None:
            kind = "edit"
            regions = (Region(best.outline, POSITIVE, id=region.id),)
        review.record(
            Operation(kind=kind, reader="sim", slide=case.name, sources=(region.id,), regions=regions)  # type: ignore[arg-type]
        )
    return len(found)


def iou(first: Region, second: Region) -> float:
    """Intersection over union of two regions."""
    shared = first.outline.intersection(second.outline).area
    return float(shared / (first.outline.area + second.outline.area - shared))


def annotate_squares(case: Case, count: int, seed: int, path: Path) -> Case:
    """The slide with `count` random squares in which all lesions are outlined; the rest of it is unknown."""
    usual, random = Recipe(), np.random.default_rng(seed)
    with open_case(case) as slide:
        tissue = find_tissue(slide, usual.tissue, usual.patches)
        side = SQUARE_UM / slide.mpp
    rows, columns = np.nonzero(tissue.mask)
    squares = []
    for index in random.integers(0, len(rows), count):
        x, y = ((value + 0.5) * tissue.scale for value in (columns[index], rows[index]))
        squares.append(shapely.box(x - side / 2, y - side / 2, x + side / 2, y + side / 2))
    looked_at = valid_outline(shapely.union_all(squares))
    assert looked_at is not None
    regions = [Region(looked_at, "reviewed")]
    for region in truth(case):
        if (outline := valid_outline(region.outline.intersection(looked_at))) is not None:
            regions.append(Region(outline, region.label))
    write_geojson(Regions.of(regions), path)
    return replace(case, annotations=path)


def correct(pool: list[Case], found: ResultFolder, folder: Path) -> tuple[Cohort, dict[str, int]]:
    """The pool with the reader's corrections, and how many findings were judged on each slide."""
    review = Review(folder / "review", Review.of_results(found).findings)
    counts = {case.name: read_findings(review, case) for case in pool}
    outcomes = [one.outcome for case in pool for one in review.slide(case.name).regions.values()]
    edited = sum(one.edited for case in pool for one in review.slide(case.name).regions.values())
    accepted, rejected = outcomes.count("accept"), outcomes.count("reject")
    print(
        f"{sum(counts.values())} findings judged: {accepted} lesions ({edited} drawn again), {rejected} none"
    )
    made = make_corrected_cohort(review, [hidden(case) for case in pool], folder)
    return read_cohort(write_corrected_cohort(made, folder, overwrite=True)), counts


def print_row(name: str, model: ModelFolder, test: Cohort, folder: Path) -> None:
    """Evaluate a model and print its figures."""
    scores = evaluate(model, test, folder / "scores", EvaluateOptions(sanity_checks="warn"))
    metrics = (
        scores.pixel["ap"],
        scores.lesion.get("sensitivity_at_5_per_cm2"),
        scores.lesion["sensitivity"],
        scores.lesion["fp_per_cm2"],
    )
    print(f"| {name} | {' | '.join(interval_cell(metric) for metric in metrics)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder for slides, models and scores")
    parser.add_argument("--steps", type=int, default=50, help="steps of the first model")
    parser.add_argument("--further", type=int, default=50, help="steps of each further training")
    parser.add_argument("--seed", type=int, default=0, help="of trainings and random choices")
    parser.add_argument(
        "--draws", type=int, default=1, help="random choices of slides, beside the ranked one"
    )
    parser.add_argument("--only", nargs="*", default=None, help="rows to compute; all without")
    options = parser.parse_args()
    out: Path = options.out
    annotated, pool, testing = make_slides(out / "cohort")
    pool = [scan_again(case, out / "again") for case in pool]
    test = Cohort(tuple(scan_again(case, out / "again") for case in testing), "test")
    # one class: look-alikes are drawn on the first slides and sampled as such, but have no output of their own
    recipe = demo_recipe().with_choices(
        {
            "seed": options.seed,
            "classes.other": [],
            "training.epochs": options.steps // 50,
            "training.steps_per_epoch": 50,
            "training.validation_patches": 32,
            "training.workers": 0,
            "network.weights": "built-in",
            "detection.tta_views": 1,
        }
    )
    changes = {"training.epochs": max(1, options.further // 50), "training.learning_rate": 1e-3}
    further = recipe.with_choices(changes)
    print(
        "| trained with | AP | sensitivity at 5 FP/cm2 | sensitivity | FP/cm2 |\n|---|---|---|---|---|",
        flush=True,
    )
    first = train(
        Cohort(tuple(annotated), "first"), out / "first" / "model", recipe, TrainOptions(sanity_checks="warn")
    )
    print_row("5 slides", first, test, out / "first")

    found = ResultFolder(out / "found")
    detect(first, [hidden(case) for case in pool], found.folder, DetectOptions(threshold=THRESHOLD))
    corrected, counts = correct(pool, found, out / "corrected")
    squares = [
        annotate_squares(
            case, counts[case.name], options.seed + number, out / "squares" / f"{case.name}.geojson"
        )
        for number, case in enumerate(pool)
        if counts[case.name]
    ]
    unread = Review(out / "nobody", Review.of_results(found).findings)
    base = Cohort(tuple(annotated), "first")
    ranked = rank_results(unread, [hidden(case) for case in pool], found, base=base)
    order = [one.evidence.slide for one in ranked]
    print(f"ranked: {', '.join(order)}", flush=True)
    chosen = {f"{CHOSEN} slides, ranked": [case for case in pool if case.name in order[:CHOSEN]]}
    for draw in range(options.draws):
        drawn = Random(100 * options.seed + draw).sample(pool, CHOSEN)
        print(f"drawn {draw + 1}: {', '.join(case.name for case in drawn)}", flush=True)
        chosen[f"{CHOSEN} slides, drawn {draw + 1}"] = drawn
    additions: dict[str, list[Case]] = {
        "the same, further": [],
        "+ corrections": list(corrected.cases),
        "+ random squares": squares,
        **{f"+ {name}": cases for name, cases in chosen.items()},
    }
    for number, (name, cases) in enumerate(additions.items(), 1):
        if options.only is not None and name not in options.only:
            continue
        added = tuple(replace(case, split="train") for case in cases)
        folder = out / f"{number:02d}"
        start = TrainOptions(start=first.path, sanity_checks="warn")
        model = train(Cohort((*annotated, *added), name), folder / "model", further, start)
        print_row(name, model, test, folder)


if __name__ == "__main__":
    main()
