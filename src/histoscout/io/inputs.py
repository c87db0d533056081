"""Files that are read: only regular files, opened without waiting; links are followed without getting lost."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


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
