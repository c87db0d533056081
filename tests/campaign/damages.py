"""Damaged results, models and caches: the right result, or a clear refusal; never a wrong one with exit code 0."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.campaign.kills import Tally
from tests.campaign.processes import finish, start
from tests.campaign.tasks import Setting, snapshot


@dataclass(frozen=True, kw_only=True)
class Target:
    """Something that is damaged, and the command that must notice.

    Attributes:
        name: Its name in the table.
        source: The folder; a copy of it is damaged.
        command: Run with the damaged copy and an output folder.
        files: The files that can be damaged, by a glob pattern.
        inside: Whether results are written into the damaged folder itself.
    """

    name: str
    source: Path
    command: Callable[[Path, Path], int]
    files: str = "**/*"
    inside: bool = False


def targets(setting: Setting) -> list[Target]:
    """What is damaged. Others add theirs here."""
    return [
        Target(
            name="results of detect",
            source=setting.folder / "found",
            command=lambda damaged, _: setting.detect(damaged),
            files="*/*",
            inside=True,
        ),
        Target(
            name="model folder",
            source=setting.model,
            command=lambda damaged, out: setting.detect(out, model=damaged),
            files="*.*",
        ),
    ]


def _flip(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice([1, 8, 200])):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _zero(content: bytes, random: Random) -> bytes:
    start = random.randrange(len(content))
    return content[:start] + bytes(len(content) - start)


DAMAGES: Mapping[str, Callable[[bytes, Random], bytes | None]] = {
    "flipped": _flip,
    "cut": lambda content, random: content[: random.randrange(len(content))],
    "zeros": _zero,
    "empty": lambda content, random: b"",
    "gone": lambda content, random: None,
    "other": lambda content, random: random.randbytes(len(content)),
    "appended": lambda content, random: content + random.randbytes(7),
}
"""Ways to damage the content of a file; None removes it."""


def try_damages(target: Target, work: Path, count: int, random: Random) -> Tally:
    """Damage a file `count` times and run the command."""
    tally = Tally(name=target.name)
    reference = _run(target, work, None)
    assert reference[0] == 0, reference[1]
    for number in range(count):
        shutil.rmtree(work / "damaged", ignore_errors=True)
        shutil.copytree(target.source, work / "damaged")
        files = [path for path in sorted((work / "damaged").glob(target.files)) if path.is_file()]
        path, kind = random.choice(files), random.choice(sorted(DAMAGES))
        before = path.read_bytes()
        after = DAMAGES[kind](before, random) if before else None
        if after == before:
            continue
        path.unlink()
        if after is not None:
            path.write_bytes(after)
        code, text, files_now = _run(target, work, work / "damaged")
        tally.trials += 1
        tally.hits += code != 0
        where = f"{target.name}, trial {number}, {path.relative_to(work / 'damaged')} {kind}"
        if "Traceback" in text or code not in (0, 1):
            tally.faults.append(f"{where}: refused: exit code {code}, {text[-400:]}")
        elif code == 0 and files_now != reference[2] and "was changed since detect wrote it" not in text:
            names = [name for name in files_now if files_now[name] != reference[2].get(name)]
            tally.faults.append(
                f"{where}: differing: {names or sorted(reference[2].keys() - files_now.keys())}"
            )
    return tally


def _run(target: Target, work: Path, damaged: Path | None) -> tuple[int, str, Mapping[str, str]]:
    shutil.rmtree(work / "out", ignore_errors=True)
    given = damaged
    if given is None:
        given = work / "damaged"
        shutil.rmtree(given, ignore_errors=True)
        shutil.copytree(target.source, given)
    ended = finish(start(lambda: target.command(given, work / "out"), work / "log"))
    results = given if target.inside else work / "out"
    return ended.code, ended.text, snapshot(results) if results.is_dir() else {}
