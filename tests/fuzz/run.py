"""`python -m tests.fuzz.run`: corrupt files of every format and check that each is read or refused, quickly.

File number N of a format is the same in every run. A file that is neither read nor refused is kept in a
folder, with the traceback; one that ends the process is left in the temporary folder as `broken`. Once the
reader is fixed, move the file to tests/fuzz/kept, which the tests read.
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

from tests.fuzz.mutate import mutate
from tests.fuzz.targets import TARGETS, Target

MAX_SECONDS = 10.0
"""Seconds that one file may take."""
EXTRA_MEMORY = 3 * 2**30
"""Bytes that the process may use in addition to what it has at the start."""


class TooSlow(BaseException):
    """A file took too long; a BaseException, so that no reader catches it."""


@dataclass
class Outcome:
    """How reading the corrupted files of one format ended.

    Attributes:
        counts: Files that were read, refused and failed.
        failed: Number, content and traceback of each file that was neither read nor refused.
        slowest: Seconds and number of the slowest file.
        seconds: Seconds for all files.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, bytes, str]] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, 0)
    seconds: float = 0.0

    def line(self, name: str) -> str:
        counts = f"{self.counts['read']} read, {self.counts['refused']} refused, {len(self.failed)} failed"
        slowest, number = self.slowest
        return f"{name}: {counts}; {self.seconds:.0f} s, slowest {slowest * 1e3:.0f} ms (file {number})"


def corrupted(target: Target, seeds: list[bytes], name: str, number: int) -> bytes:
    """Make corrupted file number `number` of a format."""
    random = Random(f"{name}/{number}")
    if target.pack is None:
        return mutate(seeds, target.structure, random)
    if random.random() < 0.5:
        return target.pack(mutate(seeds, target.structure, random))
    return mutate([target.pack(seed) for seed in seeds], "binary", random)


def fuzz(name: str, count: int, seconds: float = MAX_SECONDS) -> Outcome:
    """Read `count` corrupted files of a format.

    Args:
        name: A key of TARGETS.
        count: Number of files.
        seconds: Seconds that one file may take.

    Returns:
        How reading ended.
    """
    target = TARGETS[name]
    seeds = list(target.valid_files().values())
    outcome, began = Outcome(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"broken{target.suffix}"
        for number in range(count):
            content = corrupted(target, seeds, name, number)
            path.write_bytes(content)
            start = time.perf_counter()
            result, trace = attempt(target, path, seconds)
            outcome.slowest = max(outcome.slowest, (time.perf_counter() - start, number))
            outcome.counts[result] += 1
            if trace:
                outcome.failed.append((number, content, trace))
    outcome.seconds = time.perf_counter() - began
    return outcome


def attempt(target: Target, path: Path, seconds: float = MAX_SECONDS) -> tuple[str, str]:
    """Read one file: "read" or "refused", else "failed" and the traceback."""
    try:
        with limited(seconds):
            target.read(path)
    except target.refusals as error:
        if path.name in str(error):
            return "refused", ""
        return "failed", f"the file is not named: {error}"
    # any other exception is a bug of the reader
    except (Exception, TooSlow):  # noqa: BLE001
        return "failed", traceback.format_exc()
    return "read", ""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooSlow in the block after this number of seconds."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="corrupted files per format")
    parser.add_argument(
        "--format", action="append", choices=list(TARGETS), help="fuzz only this format (repeatable)"
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("fuzz-failures"), help="folder for files that fail"
    )
    options = parser.parse_args(arguments)
    memory_in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (memory_in_use + EXTRA_MEMORY, memory_in_use + EXTRA_MEMORY))
    # tifffile logs every damaged tag
    logging.disable()
    failed = 0
    for name in options.format or TARGETS:
        outcome = fuzz(name, options.count)
        _print(outcome.line(name))
        for number, content, trace in outcome.failed:
            options.out.mkdir(parents=True, exist_ok=True)
            kept = options.out / f"{name.replace(' ', '_')}-{number}{TARGETS[name].suffix}"
            kept.write_bytes(content)
            kept.with_name(kept.name + ".txt").write_text(trace, encoding="utf-8")
            _print(f"  {kept}: {trace.strip().splitlines()[-1]}")
        failed += len(outcome.failed)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
