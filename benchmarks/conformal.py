"""Whether the bound on missed lesions keeps its promise: on new built-in patients, drawn again and again.

    python benchmarks/conformal.py MODEL [--patients 60]     # MODEL: that of `histoscout demo`

Patients whom nobody has seen are drawn and evaluated once. Then, 200 times, half of those with lesions chooses the cut-off for
"miss at most a share of patients", and the other half says how many of them have a lesion missed at that cut-off. The promise is
about the mean over all choices: where it is refused, nothing is promised and nothing broken. The halves that are not refused are the lucky
ones, so that among these alone more is missed; that mean stands beside.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from histoscout.cohort.cohort import read_cohort
from histoscout.detection.operating_point import Operating, bounded_cut_off
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.network.model_folder import read_model
from histoscout.synthetic.cohort import write

SEED = 7  # other patients than those of the demonstration
DRAWS = 200
SHARES = (0.05, 0.1, 0.2, 0.3)


def weakest_of(model: Path, patients: int, folder: Path) -> list[float]:
    """For each new patient with lesions the highest cut-off at which all are found; 0 where none does."""
    table = write(folder / "cohort", patients=patients, seed=SEED)
    cohort = read_cohort(table)
    cohort = replace(cohort, cases=tuple(replace(case, split="test") for case in cohort.cases))
    evaluate(read_model(model), cohort, folder / "scores", EvaluateOptions())
    return list(Operating.read(folder / "scores").weakest)


def missed(weakest: list[float], share: float, draw: int) -> tuple[float, float] | None:
    """The share of the other half that has a lesion missed, and the cut-off; None where the promise is refused."""
    order = np.random.default_rng([SEED, draw]).permutation(weakest)
    choosing, judging = np.split(order, [len(order) // 2])
    cut_off = bounded_cut_off(choosing.tolist(), share)
    return (float((judging < cut_off).mean()), cut_off) if cut_off else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--patients", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        weakest = weakest_of(given.model, given.patients, Path(scratch))
    never = sum(score <= 0 for score in weakest)
    print(
        f"{len(weakest)} of {given.patients} new patients have lesions; {never} have one that no score finds"
    )
    print("promised  made and broken  where made  5 to 95 of 100 draws  usual cut-off  refused")
    for share in SHARES:
        found = [one for draw in range(DRAWS) if (one := missed(weakest, share, draw)) is not None]
        if not found:
            print(f"{share:8.2f}  refused in all {DRAWS}")
            continue
        shares, cut_offs = np.array(found).T
        low, high = np.percentile(shares, [5, 95])
        broken, refused = shares.sum() / DRAWS, DRAWS - len(found)
        print(
            f"{share:8.2f}  {broken:15.3f}  {shares.mean():10.3f}  {low:.3f} to {high:.3f}  "
            f"{np.median(cut_offs):13.3f}  {refused}"
        )


if __name__ == "__main__":
    main()
