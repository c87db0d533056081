"""Whether the conformal guarantee on missed lesions holds, on new synthetic patients and many random splits.

    python benchmarks/conformal.py MODEL [--patients 60]

MODEL is the model of `histoscout demo`. New patients are drawn and evaluated once. Then, 200 times, a random half of those with
lesions chooses the score threshold for "at most a share of patients with a missed lesion", and the other half shows how many of
them have one missed at this threshold. The guarantee is about the mean over all splits; where it is refused, nothing is
guaranteed and nothing violated. The splits that are not refused are the lucky ones, so that more is missed among these alone;
their mean is printed beside.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from histoscout.cohort.cohort import read_cohort
from histoscout.detection.operating_point import OperatingPoints, conformal_score_threshold
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.network.model_folder import read_model
from histoscout.synthetic.cohort import write_synthetic_cohort

# other patients than those of the demonstration
SEED = 7
SPLITS = 200
SHARES = (0.05, 0.1, 0.2, 0.3)


def weakest_scores(model: Path, patients: int, folder: Path) -> list[float]:
    """For each new patient with lesions the highest threshold at which all are found; 0 where there is none."""
    cohort = read_cohort(write_synthetic_cohort(folder / "cohort", patients=patients, seed=SEED))
    cohort = replace(cohort, cases=tuple(replace(case, split="test") for case in cohort.cases))
    evaluate(read_model(model), cohort, folder / "scores", EvaluateOptions())
    return list(OperatingPoints.read(folder / "scores").weakest)


def missed_share(weakest: list[float], share: float, split: int) -> tuple[float, float] | None:
    """The share of the second half with a missed lesion, and the score threshold; None if refused."""
    order = np.random.default_rng([SEED, split]).permutation(weakest)
    first, second = np.split(order, [len(order) // 2])
    threshold = conformal_score_threshold(first.tolist(), share)
    return (float((second < threshold).mean()), threshold) if threshold else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("--patients", type=int, default=60, help="number of new patients")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        weakest = weakest_scores(options.model, options.patients, Path(scratch))
    unreachable = sum(score <= 0 for score in weakest)
    print(
        f"{len(weakest)} of {options.patients} new patients have lesions; {unreachable} have one that no score finds"
    )
    print("guaranteed  missed, all  missed, not refused  5 to 95 % of splits  median threshold  refused")
    for share in SHARES:
        results = [missed_share(weakest, share, split) for split in range(SPLITS)]
        kept = [result for result in results if result is not None]
        if not kept:
            print(f"{share:10.2f}  refused in all {SPLITS}")
            continue
        missed, thresholds = np.array(kept).T
        low, high = np.percentile(missed, [5, 95])
        print(
            f"{share:10.2f}  {missed.sum() / SPLITS:11.3f}  {missed.mean():19.3f}  {low:.3f} to {high:.3f}       "
            f"{np.median(thresholds):16.3f}  {SPLITS - len(kept)}"
        )


if __name__ == "__main__":
    main()
