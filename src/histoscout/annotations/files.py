"""The bytes of an annotation file, unpacked if it is gzipped or zipped whatever its name.

JSON files as people leave them: compressed, with a byte-order mark, cut short, or not JSON at all.
"""

import gzip
import json
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

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


class _RepeatedKeyError(ValueError):
    """A key that stands twice in one object; which of the two is meant cannot be known."""


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        for key, value in pairs:
            if table[key] != value:
                raise _RepeatedKeyError(key)
    return table


def read_json(path: Path) -> Any:
    """What a JSON file holds, unpacked if gzipped or zipped whatever its name; AnnotationError if it is not JSON."""
    content = read_content(path)
    if not content.strip(b"\xef\xbb\xbf \t\r\n\x00"):
        raise AnnotationError(path, "is empty", "Export the annotations again")
    try:
        return json.loads(content, object_pairs_hook=_table)
    except _RepeatedKeyError as error:
        fault = f"has the key {str(error)[:60]!r} twice in one object, with different values"
        raise AnnotationError(path, fault, "Take one of them out, or export the annotations again") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise AnnotationError(path, f"is not valid JSON ({place})", "Export the annotations again") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(
            path, "is not text, so not JSON either", "Export it as GeoJSON from QuPath"
        ) from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits; thousands of brackets
        fault = "holds numbers too long, or lists nested too deeply, to be annotations"
        raise AnnotationError(path, fault, "Export the annotations again") from error
