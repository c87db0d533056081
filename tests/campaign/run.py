"""`make campaign`: kill, race, damage and interrupt commands, and check that nothing is lost or wrong.

    python -m tests.campaign.run --kills 200 --races 100 --damages 500 --interrupts 200 --seed 1

Prints a table of each kind. A trial is the same in every run with the same seed, but for how fast the machine is.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from random import Random

import histoscout.evaluation.evaluate
import histoscout.report.evaluation.page
import histoscout.training.crossval
import histoscout.training.train  # noqa: F401 (commands are forked from this process)
from tests.campaign.damages import targets, try_damages
from tests.campaign.interrupts import try_interrupts, try_starts
from tests.campaign.kills import HEAD, Tally, try_kills
from tests.campaign.races import pairs, try_races
from tests.campaign.tasks import Setting


def main() -> int:
    """Run the campaign; returns the number of faults, at most 1."""
    parser = argparse.ArgumentParser()
    for name, count in (("kills", 200), ("races", 100), ("damages", 500), ("interrupts", 200)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="part of a command's name")
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="histoscout-campaign-") as folder:
        work = Path(folder)
        (work / "in").mkdir()
        setting = Setting.make(work / "in")
        tasks = [task for task in setting.tasks() if chosen.only in task.name]
        if chosen.kills:
            say(f"\n{HEAD}")
            for task, count in zip(tasks, shares(chosen.kills, len(tasks)), strict=True):
                random = Random(f"{chosen.seed} {task.name}")
                faults += show(try_kills(task, work, count, random))
        if chosen.races:
            say(f"\n{HEAD}")
            both = {name: pair for name, pair in pairs(setting).items() if chosen.only in name}
            for (name, pair), count in zip(both.items(), shares(chosen.races, len(both)), strict=True):
                faults += show(try_races(name, pair, work, count, Random(f"{chosen.seed} {name}")))
        if chosen.damages:
            say(f"\n{HEAD}")
            damaged = [target for target in targets(setting) if chosen.only in target.name]
            for target, count in zip(damaged, shares(chosen.damages, len(damaged)), strict=True):
                faults += show(try_damages(target, work, count, Random(f"{chosen.seed} {target.name}")))
        if chosen.interrupts:
            say(f"\n{HEAD}")
            starts, *counts = shares(chosen.interrupts, 1 + len(tasks))
            faults += show(try_starts(setting, work, starts, Random(chosen.seed)))
            for task, count in zip(tasks, counts, strict=True):
                random = Random(f"{chosen.seed} {task.name}")
                faults += show(try_interrupts(task, work, count, random))
    for fault in faults:
        say(fault)
    return min(1, len(faults))


def shares(count: int, parts: int) -> list[int]:
    """Divide a number of trials into parts that differ by one at most."""
    return [count // parts + (number < count % parts) for number in range(parts)]


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show(tally: Tally) -> list[str]:
    """Print the row of a command; its faults."""
    say(tally.row())
    for fault in tally.faults:
        say(f"  {fault}")
    return tally.faults


if __name__ == "__main__":
    sys.exit(main())
