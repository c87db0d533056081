"""The log of a review: operations, one JSON object a line, appended one at a time and never changed.

Every append holds a lock of the operating system, is written in one piece and forced to the disk before it counts as
confirmed. A process that dies while it writes leaves a torn line at most: the next append starts a new line after it,
and readers leave it out with a note.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from histoscout.errors import HistoscoutError, ReviewError
from histoscout.io.files import output_error
from histoscout.io.inputs import open_regular
from histoscout.io.notes import pluralize
from histoscout.review.operation import Operation, dump_operation, read_operation

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOG = "log.jsonl"
"""Name of the log in the folder of a review."""

_LOCK_BYTE = 2**62
"""Place of the locked byte on Windows: far behind any content, so that readers are never kept out."""


@dataclass(frozen=True)
class LogContent:
    """Operations of a log.

    Attributes:
        operations: The operations, in the order they were confirmed.
        size: Bytes that were read, up to the last complete line.
        torn: Lines that are no operation, as an interrupted write leaves them.
    """

    operations: tuple[Operation, ...]
    size: int
    torn: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """A note on torn lines."""
        if not self.torn:
            return ()
        return (
            f"{pluralize(self.torn, 'line')} of the log left out: torn by an interruption, never confirmed",
        )


def read_log(path: Path, start: int = 0) -> LogContent:
    """Read a log, or what was appended since it was last read.

    Args:
        path: The log; it need not exist.
        start: Bytes to skip: `LogContent.size` of the last time.

    Returns:
        The operations. A last line without its end is still being written, or torn: it is left out, and counted if it
        can be told (when another line follows).

    Raises:
        ReviewError: The file cannot be read.
    """
    try:
        with open_regular(path) as file:
            file.seek(start)
            content = file.read()
    except FileNotFoundError:
        return LogContent((), 0)
    except OSError as error:
        raise ReviewError(path, f"the log cannot be read ({error})", "Check its permissions") from error
    complete = content[: content.rfind(b"\n") + 1]
    operations: list[Operation] = []
    torn = 0
    for line in complete.splitlines():
        operation = _parse_line(line)
        if operation is not None:
            operations.append(operation)
        elif line.strip():
            torn += 1
    return LogContent(tuple(operations), start + len(complete), torn)


def _parse_line(line: bytes) -> Operation | None:
    """The operation of a line; None if it is torn."""
    try:
        return read_operation(json.loads(line))
    except (ValueError, RecursionError, HistoscoutError):
        return None


@contextmanager
def locked_log(path: Path) -> Iterator[int]:
    """Lock a log against all other processes and threads; it is made if it does not exist.

    Args:
        path: The log.

    Yields:
        The file descriptor, to be given to `append`.

    Raises:
        OutputError: The file cannot be written or locked.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        try:
            _lock(descriptor)
            if is_new:
                _sync_folder(path.parent)
        except OSError as error:
            raise output_error(path, error) from error
        # the lock ends with the descriptor
        yield descriptor
    finally:
        os.close(descriptor)


def append(descriptor: int, path: Path, *operations: Operation) -> None:
    """Append operations to a locked log; when this returns, they are on the disk.

    A kill in between may leave some of several operations, each complete.

    Args:
        descriptor: What `locked_log` yields.
        path: The log, for errors.
        operations: The operations.

    Raises:
        OutputError: The disk is full or fails; the log is as it was before.
    """
    line = b"".join(dump_operation(operation) for operation in operations)
    try:
        size = os.fstat(descriptor).st_size
        # a torn line is ended, so that it cannot spoil this one
        if size and _last_byte(descriptor, size) != b"\n":
            line = b"\n" + line
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    except OSError as error:
        raise output_error(path, error) from error


def _last_byte(descriptor: int, size: int) -> bytes:
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1)


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCK_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)

    def _sync_folder(folder: Path) -> None:
        """Windows has no such call; its file systems record new names themselves."""

else:

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _sync_folder(folder: Path) -> None:
        """Force the name of a new file to the disk."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
