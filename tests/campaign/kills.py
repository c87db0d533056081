"""Kills before every kind of operation on files, and by time; the same command once more ends with the same files."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.campaign.processes import Ended, finish, orphans, start
from tests.campaign.tasks import Snapshot, Task, leftovers, snapshot


@dataclass(kw_only=True)
class Tally:
    """What a number of trials with one command came to.

    Attributes:
        name: The command.
        trials: Trials that were run.
        hits: Those in which the command was ended before it was done.
        faults: Number of the trial, and what went wrong.
    """

    name: str
    trials: int = 0
    hits: int = 0
    faults: list[str] = field(default_factory=list)

    def row(self) -> str:
        """A row of the table."""
        kinds = [fault.split(": ")[1] for fault in self.faults]
        counts = [str(sum(kind == wanted for kind in kinds)) for wanted in KINDS]
        return f"| {self.name} | {self.trials} | {self.hits} | {' | '.join(counts)} |"


KINDS = ("lost", "differing", "refused", "leftovers", "orphans")
HEAD = f"| command | trials | ended early | {' | '.join(KINDS)} |\n|{'---|' * (3 + len(KINDS))}"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An uninterrupted run.

    Attributes:
        ended: How it ended, with its operations.
        files: Its results.
    """

    ended: Ended
    files: Snapshot


def make_reference(task: Task, work: Path) -> Reference:
    """Run a command without a kill."""
    out = work / "out"
    _clear(task, out)
    ended = finish(start(lambda: task.command(out), work / "log", below=out))
    assert ended.code == 0, f"{task.name}: {ended.text}"
    assert not leftovers(out), leftovers(out)
    return Reference(ended=ended, files=snapshot(out))


def choose_operations(operations: Sequence[str], count: int, random: Random) -> list[int]:
    """Numbers of operations to be killed before: every kind first, then at random."""
    kinds: dict[str, list[int]] = {}
    for number, operation in enumerate(operations, start=1):
        kind = re.sub(r"\.part\.\S+?(\.\w+)?$", r".part\1", operation)
        kind = re.sub(r"[0-9a-f]{16}|\d+", "N", kind)
        kinds.setdefault(kind, []).append(number)
    chosen = [random.choice(numbers) for numbers in kinds.values()]
    random.shuffle(chosen)
    rest = sorted(set(range(1, len(operations) + 1)) - set(chosen))
    random.shuffle(rest)
    return (chosen + rest)[:count]


def try_kills(task: Task, work: Path, count: int, random: Random) -> Tally:
    """Kill a command `count` times, two thirds before operations, the others by time."""
    tally = Tally(name=task.name)
    reference = make_reference(task, work)
    by_operation = choose_operations(reference.ended.operations, count - count // 3, random)
    moments = [random.uniform(0, reference.ended.seconds) for _ in range(count - len(by_operation))]
    for number in by_operation:
        _try(task, work, tally, reference, kill_at=number)
    for moment in moments:
        _try(task, work, tally, reference, kill_after=moment)
    return tally


def _clear(task: Task, out: Path) -> None:
    for path in (out, out.with_name("check")):
        shutil.rmtree(path, ignore_errors=True)
    task.prepare(out)


def _try(
    task: Task,
    work: Path,
    tally: Tally,
    reference: Reference,
    *,
    kill_at: int = 0,
    kill_after: float | None = None,
) -> None:
    out = work / "out"
    _clear(task, out)
    running = start(lambda: task.command(out), work / "log", below=out, kill_at=kill_at)
    killed = finish(running, kill_after)
    tally.trials += 1
    tally.hits += killed.code != 0
    where = f"{task.name} killed " + (
        f"before {kill_at} ({killed.operations[-1] if killed.operations else ''})"
        if kill_at
        else f"after {kill_after:.2f} s"
    )
    if left := orphans(running):
        tally.faults.append(f"{where}: orphans: {left}")
    if task.first is not None and not _still_there(task, work, reference):
        tally.faults.append(f"{where}: lost: the earlier results are not whole")
    again = finish(start(lambda: task.command(out), work / "log"))
    if again.code != 0:
        tally.faults.append(f"{where}: refused: {again.text.strip()[-300:]}")
        return
    files = snapshot(out)
    if missing := reference.files.keys() - files.keys():
        tally.faults.append(f"{where}: lost: {sorted(missing)}")
    differing = [name for name in files if files[name] != reference.files.get(name)]
    if differing:
        tally.faults.append(f"{where}: differing: {differing}")
    if traces := leftovers(out):
        tally.faults.append(f"{where}: leftovers: {traces}")


def _still_there(task: Task, work: Path, reference: Reference) -> bool:
    """Whether the earlier results are whole after a kill, or the new ones in their place."""
    assert task.first is not None
    first, out = task.first, work / "before"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(work / "out", out)
    ended = finish(start(lambda: first(out), work / "log"))
    new = {name: reference.files[name] for name in ("ledger.csv", "model.json") if name in reference.files}
    files = snapshot(out)
    is_new = all(files.get(name) == value for name, value in new.items())
    # moving the new files takes some milliseconds; a kill among them is made good by the next run
    return ended.code == 0 or is_new or (work / "out" / ".commit").is_dir()
