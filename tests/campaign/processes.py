"""Commands in forked processes, which start at once since everything is imported already, and end as told."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}
"""Operations on files that Python tells of, before it does them."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

DEADLINE = 300.0
"""Seconds after which a command hangs."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code, or the negative number of the signal that ended it.
        text: What it wrote to stdout and stderr.
        seconds: How long it took.
        operations: The operations on files that it did, where they were listed.
    """

    code: int
    text: str
    seconds: float
    operations: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether it ended with one clear sentence instead of a traceback."""
        return self.code == 1 and "histoscout: " in self.text and "Traceback" not in self.text


@dataclass(frozen=True, kw_only=True)
class Running:
    """A command that was started.

    Attributes:
        process: Its number.
        log: What it writes.
        listed: Where its operations are listed.
        started: When, by the monotonic clock.
    """

    process: int
    log: Path
    listed: Path
    started: float


def start(
    command: Callable[[], int],
    log: Path,
    *,
    below: Path | None = None,
    kill_at: int = 0,
    prepare: Callable[[], None] | None = None,
) -> Running:
    """Start a command in a process of its own.

    Args:
        command: The command; returns its exit code.
        log: Where its output goes.
        below: List operations that change files in this folder.
        kill_at: Kill the process right before the operation of this number, from 1; 0 for never.
        prepare: Called first in the new process.

    Returns:
        The running command.
    """
    listed = log.with_suffix(".operations")
    sys.stdout.flush()
    sys.stderr.flush()
    started = time.monotonic()
    process = os.fork()
    if process:
        return Running(process=process, log=log, listed=listed, started=started)
    # the child never returns into the campaign
    code = 99
    try:
        os.setpgid(0, 0)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # a test runner may have put other streams in place of these
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        if prepare is not None:
            prepare()
        if below is not None:
            _watch(below, listed, kill_at)
        code = command()
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def finish(running: Running, kill_after: float | None = None, how: int = signal.SIGKILL) -> Ended:
    """Wait until a command has ended, and perhaps end it.

    Args:
        running: The command.
        kill_after: Seconds after its start at which a signal is sent; None for never.
        how: The signal.

    Returns:
        How it ended; a command that hangs is killed.
    """
    status: int | None = None
    sent = hangs = False
    while status is None:
        seconds = time.monotonic() - running.started
        if kill_after is not None and not sent and seconds >= kill_after:
            os.kill(running.process, how)
            sent = True
        if seconds > DEADLINE:
            hangs = True
            os.kill(running.process, signal.SIGKILL)
        done, raw = os.waitpid(running.process, os.WNOHANG)
        status = os.waitstatus_to_exitcode(raw) if done else None
        if status is None:
            time.sleep(0.002)
    operations = running.listed.read_text().splitlines() if running.listed.exists() else []
    running.listed.unlink(missing_ok=True)
    return Ended(
        code=status,
        text=running.log.read_text(errors="replace") + (f"\nkilled after {DEADLINE:g} s" if hangs else ""),
        seconds=time.monotonic() - running.started,
        operations=tuple(operations),
    )


def orphans(running: Running) -> list[int]:
    """The live processes that a command has left, after a moment in which they may end by themselves."""
    deadline = time.monotonic() + 10
    while left := _group(running.process):
        if time.monotonic() > deadline:
            return left
        time.sleep(0.05)
    return []


def _group(group: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state != "Z":
                found.append(int(stat.parent.name))
    return found


def _watch(folder: Path, listed: Path, kill_at: int) -> None:
    """List the operations of this process that change files in a folder, and kill it before one of them."""
    prefix = str(folder)
    output = os.open(listed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event not in EVENTS or not str(arguments[0]).startswith(prefix):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
            return
        count += 1
        os.write(output, f"{event} {str(arguments[0])[len(prefix) :]}\n".encode())
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def interruptible() -> None:
    """Let Ctrl-C interrupt this process, as in a terminal, whatever its parent does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
