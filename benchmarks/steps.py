"""How long a training step of the demonstration's recipe takes on this machine, and how much of it is the network.

    python benchmarks/steps.py [--device auto] [--workers 2 8 ...]

Timed are steps as in training, with workers that read patches, without weight averaging and validation; steps of the network
alone, on batches that are read already; and one validation that reads its patches, and again.
"""

import argparse
import copy
import tempfile
import time
from pathlib import Path

from histoscout.cohort.cohort import read_cohort
from histoscout.demonstration import PATIENTS, demo_recipe
from histoscout.hardware import usable_cores
from histoscout.progress import NoProgress
from histoscout.synthetic.cohort import write_synthetic_cohort
from histoscout.training.budget import MAX_TIMED, time_steps, time_validation
from histoscout.training.data import open_training_slides
from histoscout.training.run_folder import open_run, training_fingerprint
from histoscout.training.train import TrainOptions, prepare_training


def measure(table: Path, folder: Path, workers: int, device: str) -> str:
    """The result of one number of workers, as a line."""
    cohort, recipe = read_cohort(table), demo_recipe().with_choices({"training.workers": workers})
    run = open_run(folder, training_fingerprint(cohort, recipe))
    data = open_training_slides(cohort, recipe, run.split, NoProgress())
    context, state = prepare_training(data, recipe, run, options=TrainOptions(device=device))
    with_reading, batches = time_steps(context, state.network, context.make_batches(0, MAX_TIMED))
    network_alone, _ = time_steps(context, state.network, iter(batches))
    started = time.monotonic()
    context.validate(copy.deepcopy(state.network))
    first_validation = time.monotonic() - started
    second_validation, _ = time_validation(context, state.network)
    return (
        f"{context.fabric.device}, {workers} workers: {1000 * with_reading:.1f} ms per step, the network alone {1000 * network_alone:.1f} ms; "
        f"validation {first_validation:.2f} s, then {second_validation:.2f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--workers", nargs="*", type=int, default=[min(8, usable_cores())], help="numbers of workers to time"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = write_synthetic_cohort(Path(folder) / "cohort", patients=PATIENTS)
        for workers in options.workers:
            print(measure(table, Path(folder) / f"model-{workers}", workers, options.device), flush=True)


if __name__ == "__main__":
    main()
