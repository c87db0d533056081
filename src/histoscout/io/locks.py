"""Locks of output folders: runs on one machine or several know of each other.

A lock is a file in the folder `.locks`. It states host, process and a heartbeat, and the system's own lock is held on
it, which ends with the process. A file that nobody holds any more is taken over. Where the system's lock says
nothing, as between machines on some network drives, the heartbeat decides: a lock whose heartbeat stands still is
dead. No clocks are compared.
"""

import errno
import hashlib
import json
import os
import platform
import secrets
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from histoscout.errors import OutputError
from histoscout.io.files import LOCKS, machine_name, output_error
from histoscout.io.inputs import parse_json, read_bytes

try:
    import fcntl
except ImportError:
    # Windows
    fcntl = None  # type: ignore[assignment]

HEARTBEAT_SECONDS = 4.0
"""Time between two heartbeats."""

DEAD_SECONDS = 15.0
"""A lock of another machine is dead if its heartbeat stands still for so long."""

POLL_SECONDS = 0.1
"""Time between two tries to take a lock that is waited for."""

GATE = "gate"
"""The lock under which runs look who else is there."""

_LOCK_OFFSET = 1 << 20
"""The byte that is locked on Windows, behind all content, which others may then read."""


class Lock:
    """A lock file that is held.

    Args:
        path: The lock file.
        descriptor: The open file, with the system's lock on it.
        facts: What it states besides host, process and heartbeat.
    """

    def __init__(self, path: Path, descriptor: int, facts: dict[str, str]) -> None:
        self._path = path
        self._descriptor = descriptor
        self._token = secrets.token_hex(8)
        self._facts = facts
        self._beats = 0
        self._released = threading.Event()
        self._write()
        self._heart = threading.Thread(target=self._beat, name="histoscout-heartbeat", daemon=True)
        self._heart.start()

    def release(self) -> None:
        """Remove the lock file and release the lock."""
        self._released.set()
        self._heart.join()
        # Windows removes no open file
        if fcntl is None:
            os.close(self._descriptor)
        with suppress(OSError):
            self._path.unlink()
        if fcntl is not None:
            os.close(self._descriptor)

    def close_in_children(self) -> None:
        """Let processes that are forked from this one not hold the lock after it."""
        reference = weakref.ref(self)

        def close() -> None:
            lock = reference()
            if lock is not None and not lock._released.is_set():
                with suppress(OSError):
                    os.close(lock._descriptor)

        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=close)

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS):
            # a full disk must not end the run that holds the lock
            with suppress(OSError):
                self._write()

    def _write(self) -> None:
        self._beats += 1
        facts = {
            **self._facts,
            "host": platform.node(),
            "machine": machine_name(),
            "process": os.getpid(),
            "token": self._token,
            "beat": self._beats,
        }
        content = json.dumps(facts).encode()
        # in place: another file under this name would not carry the system's lock
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, content)
        os.ftruncate(self._descriptor, len(content))


def try_lock(path: Path, facts: dict[str, str] | None = None) -> Lock | None:
    """Take a lock if nobody holds it.

    Args:
        path: The lock file; its folder is made.
        facts: What the file states besides host, process and heartbeat.

    Returns:
        The lock; None if a live process holds it.

    Raises:
        OSError: The file cannot be made.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            # the last run has just removed the folder
            continue
        taken = False
        try:
            if not _lock_file(descriptor) or _lives_elsewhere(path):
                return None
            # whoever held it may have removed the file since it was opened
            with suppress(FileNotFoundError):
                taken = os.fstat(descriptor).st_ino == path.stat().st_ino
            if taken:
                return Lock(path, descriptor, facts or {})
        finally:
            if not taken:
                os.close(descriptor)


def read_facts(path: Path) -> dict[str, Any]:
    """Read what a lock file states.

    Args:
        path: The lock file.

    Returns:
        Facts by name; empty if it is gone or being written.
    """
    try:
        facts = parse_json(read_bytes(path).decode())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


@contextmanager
def hold(folder: Path, name: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a part of an output folder, such as one slide or a shared table.

    Args:
        folder: The output folder.
        name: The part; any text.
        wait: Whether to wait until the lock is free.

    Yields:
        Whether the lock is held; False only without `wait`. Where nothing can be written, there is no lock to hold.
    """
    path = _part_file(folder, name)
    lock: Lock | None = None
    is_free = True
    # what cannot be written is told by those who write results
    with suppress(OSError):
        lock = try_lock(path)
        while lock is None and wait:
            time.sleep(POLL_SECONDS)
            lock = try_lock(path)
        is_free = lock is not None
    try:
        yield is_free
    finally:
        if lock is not None:
            lock.release()
        _tidy(folder)


@contextmanager
def claim_folder(folder: Path, purpose: str = "") -> Iterator[bool]:
    """Claim an output folder for a run.

    Runs of one purpose share a folder, such as detections with the same settings; each slide then has its own lock. A
    run without a purpose shares it with nobody.

    Args:
        folder: The folder, which is made; it is removed again if it stays empty.
        purpose: What runs must have in common to share the folder.

    Yields:
        Whether no other run is in the folder, so that what runs have left there may be removed.

    Raises:
        OutputError: Another run is writing there, or the folder cannot be made.
    """
    existed = folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    lock: Lock | None = None
    is_alone = True
    with hold(folder, GATE):
        for path in sorted((folder / LOCKS).glob("run-*.lock")):
            if (facts := _live_facts(path)) is not None:
                is_alone = False
                if not purpose or facts.get("purpose") != purpose:
                    raise _refusal(folder, facts)
        # locks of slides and tables that killed runs held
        for path in (folder / LOCKS).glob("part-*.lock"):
            _live_facts(path)
        path = folder / LOCKS / f"run-{secrets.token_hex(8)}.lock"
        # nobody writes to a folder that cannot be written
        with suppress(OSError):
            lock = try_lock(path, {"purpose": purpose})
    if lock is not None:
        lock.close_in_children()
    try:
        yield is_alone
    finally:
        if lock is not None:
            lock.release()
        _tidy(folder)
        if not existed:
            with suppress(OSError):
                folder.rmdir()


def _refusal(folder: Path, facts: dict[str, Any]) -> OutputError:
    """What a run is told that may not share the folder."""
    fault = f"another run is writing to the folder (process {facts.get('process')} on {facts.get('host')})"
    return OutputError(folder, fault, "Wait until it ends, or give another folder with -o")


def _part_file(folder: Path, name: str) -> Path:
    return folder / LOCKS / f"part-{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock"


def _live_facts(path: Path) -> dict[str, Any] | None:
    """What the lock of a live run states; the lock of a dead one is removed."""
    try:
        lock = try_lock(path)
    except OSError:
        return read_facts(path) or None
    if lock is None:
        return read_facts(path) or {"process": "unknown", "host": "an unknown host"}
    lock.release()
    return None


def _lock_file(descriptor: int) -> bool:
    """Take the system's lock on an open file; True, too, where the system has none."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            windows: Any = msvcrt
            os.lseek(descriptor, _LOCK_OFFSET, os.SEEK_SET)
            windows.locking(descriptor, windows.LK_NBLCK, 1)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
    return True


def _lives_elsewhere(path: Path) -> bool:
    """Whether a lock belongs to a live process of another machine, where the system's lock may not reach."""
    before = read_facts(path)
    if not before or before.get("machine") == machine_name():
        return False
    deadline = time.monotonic() + DEAD_SECONDS
    while time.monotonic() < deadline:
        time.sleep(HEARTBEAT_SECONDS / 4)
        now = read_facts(path)
        if not path.exists():
            return False
        if now and (now.get("token"), now.get("beat")) != (before.get("token"), before.get("beat")):
            return True
    return False


def _tidy(folder: Path) -> None:
    """Remove the folder of locks if no lock is left."""
    with suppress(OSError):
        (folder / LOCKS).rmdir()
