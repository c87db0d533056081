"""Ctrl-C at any moment: exit code 130 and one sentence, and the same command once more ends with the same files."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.campaign.kills import Tally
from tests.campaign.processes import finish, interruptible, start
from tests.campaign.tasks import Setting, Task, leftovers, snapshot

INTERRUPTED = 130

ENTRY = "cli/entry.py"
"""The file of the program in a traceback of everything that it does."""

STARTED = 0.05
"""Seconds after its start from which a command is interrupted."""

PROGRAM = """
import signal
from histoscout.cli.entry import main
signal.signal(signal.SIGINT, signal.default_int_handler)
print(flush=True)
main()
"""
"""The program, which says when Python itself has started: before that, no program can catch a signal."""


def try_interrupts(task: Task, work: Path, count: int, random: Random) -> Tally:
    """Interrupt a running command `count` times."""
    tally = Tally(name=task.name)
    _clear(task, work)
    alone = finish(start(lambda: task.command(work / "out"), work / "log"))
    reference = snapshot(work / "out")
    for number in range(count):
        _clear(task, work)
        running = start(lambda: task.command(work / "out"), work / "log", prepare=interruptible)
        moment = random.uniform(STARTED, alone.seconds)
        ended = finish(running, moment, signal.SIGINT)
        # on a busy machine, the interrupt may come before the command has begun
        if "Traceback" in ended.text and ENTRY not in ended.text:
            continue
        tally.trials += 1
        tally.hits += ended.code != 0
        where = f"{task.name}, interrupt {number} after {moment:.2f} s"
        if ended.code not in (0, INTERRUPTED) or "Traceback" in ended.text:
            tally.faults.append(f"{where}: refused: exit code {ended.code}, {ended.text[-400:]}")
        again = finish(start(lambda: task.command(work / "out"), work / "log"))
        files = snapshot(work / "out")
        if again.code != 0:
            tally.faults.append(f"{where}: lost: {again.text[-300:]}")
        elif files != reference:
            names = [name for name in files if files[name] != reference.get(name)]
            tally.faults.append(f"{where}: differing: {names}")
        if traces := leftovers(work / "out"):
            tally.faults.append(f"{where}: leftovers: {traces}")
    return tally


def try_starts(setting: Setting, work: Path, count: int, random: Random) -> Tally:
    """Interrupt the program `count` times while it starts."""
    table = setting.folder / "cohort" / "cohort.csv"
    arguments: Sequence[object] = ("detect", setting.model, table, "-o", work / "out", "--device", "torch")
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    tally = Tally(name="the first half second")
    for number in range(count):
        shutil.rmtree(work / "out", ignore_errors=True)
        moment = random.uniform(0, 0.5)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moment)
            process.send_signal(signal.SIGINT)
            text, _ = process.communicate()
        tally.trials += 1
        tally.hits += process.returncode != 0
        if process.returncode != INTERRUPTED or "Traceback" in text:
            where = f"{tally.name}, interrupt {number} after {moment:.2f} s"
            tally.faults.append(f"{where}: refused: exit code {process.returncode}, {text[-300:]}")
    return tally


def _clear(task: Task, work: Path) -> None:
    shutil.rmtree(work / "out", ignore_errors=True)
    task.prepare(work / "out")
