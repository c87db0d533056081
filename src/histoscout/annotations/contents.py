"""The bytes of an annotation file, unpacked if it is gzipped or zipped whatever its name."""

import gzip
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import IO

from histoscout.errors import AnnotationError

# Unpacked, a file may have so many bytes for each of its own and some more: outlines pack to a tenth, seldom
# to a fiftieth, while a file made to fill the memory packs to a thousandth.
UNPACKS_TO, SMALL = 200, 2**24
LARGEST_BYTES = 2**31
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile)


def read_content(path: Path) -> bytes:
    """All bytes of a file; of a gzipped one, or of the one file in a zip, those that were packed.

    AnnotationError for a file that cannot be read, is damaged, or unpacks to far more than outlines do. Nothing
    is unpacked to the disk.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            if magic[:2] == b"\x1f\x8b":
                with gzip.open(file) as unpacked:
                    return _bounded(unpacked, path)
            if magic == b"PK\x03\x04":
                return _only_file(file, path)
            return file.read()
    except _DAMAGE as error:
        raise AnnotationError(path, "is cut short or damaged", "Copy or export the file again") from error
    except OSError as error:
        raise AnnotationError(
            path, f"cannot be read ({error.strerror or error})", "Check the path and its permissions"
        ) from error


def _bounded(unpacked: IO[bytes] | gzip.GzipFile, path: Path) -> bytes:
    """What an open packed file holds, as long as that is in proportion."""
    most = min(LARGEST_BYTES, SMALL + UNPACKS_TO * path.stat().st_size)
    content = unpacked.read(most + 1)
    if len(content) > most:
        fault = f"unpacks to more than {most >> 20} MiB, too much for outlines"
        raise AnnotationError(path, fault, "Check where the file comes from")
    return content


def _only_file(file: IO[bytes], path: Path) -> bytes:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [one for one in archive.infolist() if not _is_clutter(one.filename)]
            if len(members) != 1:
                fault = f"is a zip of {len(members)} files, not of one"
                raise AnnotationError(path, fault, "Unpack it, and give the files in it")
            with archive.open(members[0]) as unpacked:
                return _bounded(unpacked, path)
    except (RuntimeError, NotImplementedError) as error:  # a password; a way of packing that is not known
        raise AnnotationError(path, f"cannot be unpacked ({error})", "Unpack it yourself") from error


def _is_clutter(name: str) -> bool:
    """A folder's entry, or what macOS adds to a zip."""
    return name.startswith("__MACOSX/") or name.endswith("/") or name.rsplit("/", 1)[-1] == ".DS_Store"
