"""`python -m tests.fuzz.run`: break files of every format and see that each is read or refused, quickly.

File number N of a format is the same each time; one that is neither read nor refused is kept in a folder, with the
traceback; one that ends the process itself is left in the temporary folder as `broken`. When its fault is mended,
the file belongs into tests/fuzz/kept, which the tests read.
"""

import argparse
import logging
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS, Target

SECONDS = 10.0  # what one file may take
MEMORY = 3 * 2**30  # what the process may take above what it has at the start


class TooSlow(BaseException):
    """A file took longer than it may; no reader may catch this."""


@dataclass
class Outcome:
    """What became of the broken files of one format."""

    counts: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, bytes, str]] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, 0)
    seconds: float = 0.0

    def line(self, name: str) -> str:
        said = f"{self.counts['read']} read, {self.counts['refused']} refused, {len(self.failed)} failed"
        slowest, number = self.slowest
        return f"{name}: {said}; {self.seconds:.0f} s, slowest {slowest * 1e3:.0f} ms (file {number})"


def broken(target: Target, seeds: list[bytes], name: str, number: int) -> bytes:
    """Broken file number `number` of a format."""
    random = Random(f"{name}/{number}")
    if target.pack is None:
        return mutated(seeds, target.structure, random)
    if random.random() < 0.5:
        return target.pack(mutated(seeds, target.structure, random))
    return mutated([target.pack(seed) for seed in seeds], "binary", random)


def fuzz(name: str, count: int, seconds: float = SECONDS) -> Outcome:
    """Read `count` broken files of a format."""
    target = TARGETS[name]
    seeds = list(target.sound().values())
    outcome, began = Outcome(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"broken{target.suffix}"
        for number in range(count):
            content = broken(target, seeds, name, number)
            path.write_bytes(content)
            start = time.perf_counter()
            said, trace = attempt(target, path, seconds)
            outcome.slowest = max(outcome.slowest, (time.perf_counter() - start, number))
            outcome.counts[said] += 1
            if trace:
                outcome.failed.append((number, content, trace))
    outcome.seconds = time.perf_counter() - began
    return outcome


def attempt(target: Target, path: Path, seconds: float = SECONDS) -> tuple[str, str]:
    """How reading one file ended: "read" or "refused", else "failed" and the traceback."""
    try:
        with limited(seconds):
            target.read(path)
    except target.refusals as error:
        if path.name in str(error):
            return "refused", ""
        return "failed", f"the file is not named: {error}"
    except (Exception, TooSlow):  # noqa: BLE001  what it is, is the finding
        return "failed", traceback.format_exc()
    return "read", ""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooSlow in the block when the time is up."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="broken files a format")
    parser.add_argument("--format", action="append", choices=list(TARGETS), help="only these")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("fuzz-failures"), help="where failures are kept"
    )
    chosen = parser.parse_args(arguments)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, in_use + MEMORY))
    logging.disable()  # tifffile tells of every damaged tag
    failed = 0
    for name in chosen.format or TARGETS:
        outcome = fuzz(name, chosen.count)
        _say(outcome.line(name))
        for number, content, trace in outcome.failed:
            chosen.out.mkdir(parents=True, exist_ok=True)
            kept = chosen.out / f"{name.replace(' ', '_')}-{number}{TARGETS[name].suffix}"
            kept.write_bytes(content)
            kept.with_name(kept.name + ".txt").write_text(trace, encoding="utf-8")
            _say(f"  {kept}: {trace.strip().splitlines()[-1]}")
        failed += len(outcome.failed)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
