"""Files that are read: only regular files, opened without waiting; JSON from anybody; checksums of what decides."""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

CHECKSUM = "checksum"
"""Key of a JSON object that holds the checksum of all others."""


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read its bytes; what is no file is refused, and never waited for.

    Args:
        path: The file.

    Returns:
        The open file.

    Raises:
        OSError: The file cannot be opened, or it is a folder, a pipe or a device.
    """
    # opening a pipe would wait until another program writes to it
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def read_bytes(path: Path) -> bytes:
    """Read all bytes of a file, see `open_regular`.

    Args:
        path: The file.

    Raises:
        OSError: The file cannot be read, or it is a folder, a pipe or a device.
    """
    with open_regular(path) as file:
        return file.read()


def why_no_file(path: Path) -> str:
    """Why an entry of a folder is no file that can be read.

    Args:
        path: The entry.

    Returns:
        What it is instead, such as "a link to nothing"; "" for a file.
    """
    if path.is_file():
        return ""
    if path.is_dir():
        return "a folder"
    if path.exists():
        return "a pipe or a device"
    return "a link to nothing" if path.is_symlink() else "gone"


def real_path(path: Path) -> Path:
    """The absolute path of a file without links; a link to itself stays as it is.

    Args:
        path: The file; it may be missing.
    """
    return Path(os.path.realpath(path))


def parse_json(text: str) -> Any:
    """Parse JSON that may come from anybody.

    Args:
        text: The text.

    Returns:
        The content as Python objects.

    Raises:
        ValueError: The text is not JSON, a number is too long, or the lists are nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its lists are nested too deeply") from None


def seal(values: Mapping[str, Any]) -> dict[str, Any]:
    """Add a checksum to the values of a JSON file, so that a change of any of them is noticed.

    Args:
        values: Values for JSON.

    Returns:
        The values, with their checksum under the last key.

    Example:
        >>> from histoscout.io.inputs import is_sealed, seal
        >>> is_sealed(seal({"threshold": 0.5})), is_sealed({**seal({"threshold": 0.5}), "threshold": 0.6})
        (True, False)
    """
    return {**values, CHECKSUM: _checksum(values)}


def is_sealed(values: Mapping[str, Any]) -> bool:
    """Whether the values of a JSON file are as `seal` left them; files without a checksum count as well.

    Args:
        values: The content of the file.
    """
    return CHECKSUM not in values or values[CHECKSUM] == _checksum(values)


def _checksum(values: Mapping[str, Any]) -> str:
    others = {key: value for key, value in values.items() if key != CHECKSUM}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()
