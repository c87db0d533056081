"""The content of annotation files: bytes, unpacked if they are gzipped or zipped, and JSON."""

import gzip
import json
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

from histoscout.errors import AnnotationError
from histoscout.io.files import decode_text, encoding_note
from histoscout.io.inputs import open_regular

MAX_UNPACK_RATIO = 200
"""Unpacked bytes allowed per byte of the file: polygons pack to a tenth, seldom to a fiftieth; a file made to
exhaust the memory packs to a thousandth."""
FREE_UNPACKED_BYTES = 2**24
"""Unpacked bytes allowed in addition, whatever the size of the file."""
MAX_BYTES = 2**31
"""Unpacked bytes allowed at most."""
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile)


def read_content(path: Path) -> bytes:
    """Read all bytes of a file, unpacked if it is gzipped or a zip of one file.

    Nothing is unpacked to the disk.

    Args:
        path: The file; its first bytes decide whether it is packed.

    Returns:
        The (unpacked) bytes.

    Raises:
        AnnotationError: The file cannot be read, is damaged, or unpacks to far more than annotations do.
    """
    try:
        with open_regular(path) as file:
            # the first bytes decide, since names are often wrong
            magic = file.read(4)
            file.seek(0)
            if magic[:2] == b"\x1f\x8b":
                with gzip.open(file) as unpacked:
                    return _read_bounded(unpacked, path)
            if magic == b"PK\x03\x04":
                return _read_zip(file, path)
            return file.read()
    except _DAMAGE as error:
        fault = "the file is cut short or damaged"
        raise AnnotationError(path, fault, "Copy or export the file again") from error
    except OSError as error:
        fault = f"the file cannot be read ({error.strerror or error})"
        raise AnnotationError(path, fault, "Check the path and its permissions") from error


def _read_bounded(unpacked: IO[bytes] | gzip.GzipFile, path: Path) -> bytes:
    """Read an open packed file, as long as its content is in proportion to its size."""
    limit = min(MAX_BYTES, FREE_UNPACKED_BYTES + MAX_UNPACK_RATIO * path.stat().st_size)
    content = unpacked.read(limit + 1)
    if len(content) > limit:
        fault = f"the file unpacks to more than {limit >> 20} MiB, too much for annotations"
        raise AnnotationError(path, fault, "Check where the file comes from")
    return content


def _read_zip(file: IO[bytes], path: Path) -> bytes:
    """Read the only file of a zip archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not _is_clutter(member.filename)]
            if len(members) != 1:
                fault = f"the zip holds {len(members)} files instead of one"
                raise AnnotationError(path, fault, "Unpack it, and give the files in it")
            with archive.open(members[0]) as unpacked:
                return _read_bounded(unpacked, path)
    except (RuntimeError, NotImplementedError) as error:
        # the archive has a password, or an unknown compression
        raise AnnotationError(path, f"the zip cannot be unpacked ({error})", "Unpack it yourself") from error


def _is_clutter(name: str) -> bool:
    """Whether a zip member is a folder, or something that macOS adds."""
    return name.startswith("__MACOSX/") or name.endswith("/") or name.rsplit("/", 1)[-1] == ".DS_Store"


class _RepeatedKeyError(ValueError):
    """A key occurs twice in one object with different values, so its meaning is unknown."""


def read_json(path: Path) -> Any:
    """Read a JSON file as it comes: compressed, with a byte-order mark, or not JSON at all.

    Args:
        path: The file, plain, gzipped or zipped whatever its name.

    Returns:
        The content as Python objects.

    Raises:
        AnnotationError: The file cannot be read or is not valid JSON; it names line and column.
    """
    return read_json_text(path)[0]


def read_json_text(path: Path) -> tuple[Any, list[str]]:
    """Read a JSON file as `read_json` does, with the note on an encoding that is not UTF-8.

    Args:
        path: The file, plain, gzipped or zipped whatever its name.

    Returns:
        The content as Python objects, and notes for the user.

    Raises:
        AnnotationError: The file cannot be read or is not valid JSON; it names line and column.
    """
    content = read_content(path)
    if not content.strip(b"\xef\xbb\xbf\xff\xfe \t\r\n\x00"):
        raise AnnotationError(path, "the file is empty", "Export the annotations again")
    text = decode_text(content)
    if text is None:
        fault = "the file is not text, so it is not JSON"
        raise AnnotationError(path, fault, "Export it as GeoJSON from QuPath")
    try:
        note = encoding_note(content)
        return _load_documents(text), [note] if note else []
    except _RepeatedKeyError as error:
        fault = f"one object has the key {str(error)[:60]!r} twice, with different values"
        raise AnnotationError(path, fault, "Remove one of them, or export the annotations again") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: {error.msg}"
        fault = f"the file is not valid JSON ({place})"
        raise AnnotationError(path, fault, "Export the annotations again") from error
    except (ValueError, RecursionError) as error:
        # numbers of thousands of digits; thousands of brackets
        fault = "the numbers are too long, or the lists are nested too deeply, for annotations"
        raise AnnotationError(path, fault, "Export the annotations again") from error


def _load_documents(content: str) -> Any:
    """The JSON value of a file; several objects one after the other (as some servers export them) are a list."""
    try:
        return json.loads(content, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
        text = content.lstrip("\ufeff \t\r\n")
        decoder = json.JSONDecoder(object_pairs_hook=_unique_keys)
        documents: list[Any] = []
        position = 0
        while position < len(text):
            document, position = decoder.raw_decode(text, position)
            # anything but objects and lists of objects is damage, not a second document
            members = document if isinstance(document, list) else [document]
            if not all(isinstance(member, dict) for member in members):
                raise
            documents += members
            # RFC 8142 puts a record separator before each document
            while position < len(text) and text[position] in " \t\r\n,\x1e":
                position += 1
        return documents


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, and refuse a repeated key with different values."""
    # equal values are harmless
    table = dict(pairs)
    if len(table) < len(pairs):
        for key, value in pairs:
            if table[key] != value:
                raise _RepeatedKeyError(key)
    return table
