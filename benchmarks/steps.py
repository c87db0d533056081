"""Seconds a training step takes on this machine, and how much of it is the network: the demonstration's recipe.

    python benchmarks/steps.py [--device auto] [--workers 2 8 ...]

As trained, windows being drawn by workers, without averaging and validation; the network alone, on batches that lie ready; one
validation with its windows to be read, and again.
"""

import argparse
import copy
import tempfile
import time
from pathlib import Path

from histoscout.cohort.cohort import read_cohort
from histoscout.demo import PATIENTS, demo_recipe
from histoscout.hardware import usable_cores
from histoscout.progress import Silent
from histoscout.synthetic.cohort import write
from histoscout.training.budget import MOST_TIMED, rehearse, time_validation
from histoscout.training.data import open_sets
from histoscout.training.run_folder import open_run
from histoscout.training.train import TrainOptions, prepare_job


def measure(table: Path, folder: Path, workers: int, device: str) -> str:
    """The line of one number of workers."""
    cohort, recipe = read_cohort(table), demo_recipe().with_choices({"training.workers": workers})
    run = open_run(folder, cohort, recipe, None, overwrite=False)
    sets = open_sets(cohort, recipe, run.split, Silent())
    job, state = prepare_job(sets, recipe, run, TrainOptions(device=device))
    trained, used = rehearse(job, state.network, job.batches(0, MOST_TIMED))
    alone, _ = rehearse(job, state.network, iter(used))
    begun = time.monotonic()
    job.validate(copy.deepcopy(state.network))
    cold = time.monotonic() - begun
    warm, _ = time_validation(job, state.network)
    return (
        f"{job.fabric.device}, {workers} workers: {1000 * trained:.1f} ms a step, the network alone {1000 * alone:.1f} ms; "
        f"validation {cold:.2f} s, then {warm:.2f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", nargs="*", type=int, default=[min(8, usable_cores())])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        table = write(Path(name) / "cohort", patients=PATIENTS)
        for workers in given.workers:
            print(measure(table, Path(name) / f"model-{workers}", workers, given.device), flush=True)


if __name__ == "__main__":
    main()
