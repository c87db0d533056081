"""Two processes at once on one output folder: the bytes of one run, or a clear refusal."""

import ctypes
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.campaign.kills import Tally
from tests.campaign.processes import Ended, finish, start
from tests.campaign.tasks import Setting, leftovers, snapshot

CLONE_NEWPID = 0x20000000

Command = Callable[[Path], int]


def pairs(setting: Setting) -> dict[str, tuple[Command, Command]]:
    """Pairs of commands by name."""

    def train(recipe: str, *options: str) -> Command:
        return lambda out: setting.train(recipe, out, *options)

    def detect(*options: str) -> Command:
        return lambda out: setting.detect(out, *options)

    return {
        "detect + detect": (detect(), detect()),
        "detect + detect --threshold": (detect(), detect("--threshold", "0.9")),
        "detect + detect --overwrite": (detect(), detect("--overwrite", "--threshold", "0.9")),
        "train + train": (train("recipe"), train("recipe")),
        "train + train, other recipe": (train("recipe"), train("other")),
        "evaluate + evaluate": (setting.evaluate, setting.evaluate),
    }


def try_races(name: str, pair: tuple[Command, Command], work: Path, count: int, random: Random) -> Tally:
    """Run two commands at once `count` times; every second time both have the same process number."""
    tally = Tally(name=name)
    alone = []
    for command in pair:
        shutil.rmtree(work / "out", ignore_errors=True)
        ended = finish(start(lambda command=command: command(work / "out"), work / "log"))  # type: ignore[misc]
        assert ended.code == 0, ended.text
        alone.append((ended, snapshot(work / "out")))
    longest = max(ended.seconds for ended, _ in alone)
    # one after the other: a second run that finds the first's results may be refused, or replace them
    allowed = [files for _, files in alone]
    shutil.rmtree(work / "out")
    for command in pair:
        finish(start(lambda command=command: command(work / "out"), work / "log"))  # type: ignore[misc]
    allowed.append(snapshot(work / "out"))
    for number in range(count):
        shutil.rmtree(work / "out", ignore_errors=True)
        same = number % 2 == 1 and can_make_namespaces()
        order = list(pair) if random.random() < 0.5 else list(reversed(pair))
        delay = random.choice([0.0, random.uniform(0, longest)])
        both = _both(order, work, delay, same_number=same)
        tally.trials += 1
        tally.hits += any(end.code != 0 for end in both)
        where = f"{name}, trial {number}{', same process number' if same else ''}"
        if all(end.code != 0 for end in both):
            tally.faults.append(f"{where}: lost: {[end.text[-300:] for end in both]}")
        for end in both:
            if end.code != 0 and not end.refused:
                tally.faults.append(f"{where}: refused: {end.text[-500:]}")
        files = snapshot(work / "out")
        if files not in allowed:
            names = [name for name in files if all(files[name] != each.get(name) for each in allowed)]
            tally.faults.append(f"{where}: differing: {names} of {sorted(files)}")
        if traces := leftovers(work / "out"):
            tally.faults.append(f"{where}: leftovers: {traces}")
    return tally


def _both(commands: list[Command], work: Path, delay: float, *, same_number: bool) -> list[Ended]:
    def later(command: Command, seconds: float) -> Callable[[], int]:
        def run() -> int:
            time.sleep(seconds)
            return in_namespace(lambda: command(work / "out")) if same_number else command(work / "out")

        return run

    running = [
        start(later(command, number * delay), work / f"log{number}")
        for number, command in enumerate(commands)
    ]
    return [finish(each) for each in running]


def can_make_namespaces() -> bool:
    """Whether this user may start processes that have the number 1, as in a container."""
    process = os.fork()
    if process == 0:
        os._exit(0 if _unshare() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def in_namespace(command: Callable[[], int]) -> int:
    """Run a command in a process with the number 1."""
    if not _unshare():
        return 97
    process = os.fork()
    if process == 0:
        assert os.getpid() == 1
        code = 99
        try:
            code = command()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _unshare() -> bool:
    return sys.platform == "linux" and bool(ctypes.CDLL(None).unshare(CLONE_NEWPID) == 0)
