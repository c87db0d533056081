"""Arrays too large for memory."""

import mmap
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoscout.errors import OutputError

IN_MEMORY = 2**28
"""Bytes up to which an array is simply held in memory."""


def room(shape: tuple[int, ...], folder: Path | None = None) -> NDArray[np.uint8]:
    """A uint8 array of zeros: in memory if small, else in an unnamed file in `folder`, gone when done with.

    The file has holes where nothing is written, so that empty parts of a slide take no disk.
    """
    if int(np.prod(shape, dtype=np.int64)) <= IN_MEMORY:
        return np.zeros(shape, np.uint8)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return np.memmap(file, np.uint8, "w+", shape=shape)
    except OSError as error:
        where = folder or tempfile.gettempdir()
        raise OutputError(where, f"no room for a large heatmap ({error})", "Free some space there") from error


def let_go(array: NDArray[np.uint8]) -> None:
    """Give the memory of a file's array back; its content stays in the file and is read again as needed."""
    owner: object = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
