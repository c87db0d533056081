"""Which files make one slide: DICOM stores levels in files of a series, Hamamatsu's .vms and .vmu name their images.

Only file names, and of DICOM the series' UID, are read (PS3.5 of the standard, chapter 7: data elements).
"""

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from histoscout.io.inputs import open_regular

INDEX_SUFFIXES = frozenset({".vms", ".vmu"})
"""Suffixes of text files that name the images of a slide."""

INDEXED_SUFFIXES = frozenset({".jpg", ".jpeg", ".opt", ".ngr", ".tif"})
"""Suffixes of files that such an index may name."""

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic"})
"""Suffixes of DICOM files."""

_MAX_INDEX_BYTES = 1 << 20
_MAX_HEADER_BYTES = 1 << 18
_PREAMBLE = 128
_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_UNDEFINED = 0xFFFFFFFF
_TRANSFER_SYNTAX = (0x0002, 0x0010)
_SERIES = (0x0020, 0x000E)
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
# value of the transfer syntax -> whether elements state their type
_SYNTAX_IS_EXPLICIT: Mapping[str, bool] = MappingProxyType(
    {"1.2.840.10008.1.2": False, "1.2.840.10008.1.2.2": True, "1.2.840.10008.1.2.1.99": True}
)
_NOT_LITTLE_ENDIAN = frozenset({"1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"})


def image_name(name: str, series: int | None) -> str:
    """The name of an image of a file: that of the file, except for a series that is not the first.

    Args:
        name: The name of the file without its suffix.
        series: The number of the image that was asked for; None for the slide.

    Returns:
        For example "A1" or "A1 - series 1".
    """
    return f"{name} - series {series}" if series else name


def main_files(paths: Iterable[Path]) -> dict[Path, Path]:
    """The file that stands for the slide of each file.

    Args:
        paths: Slide files.

    Returns:
        For each path the index that names it (.vms, .vmu), or the first file by name in its folder that belongs to its
        DICOM series; for every other file, itself.
    """
    paths = list(paths)
    indexed: dict[Path, dict[Path, Path]] = {}
    series: dict[Path, dict[str, Path]] = {}
    found = {}
    for path in paths:
        suffix, folder = path.suffix.casefold(), path.parent
        main = path
        if suffix in INDEXED_SUFFIXES:
            if folder not in indexed:
                indexed[folder] = _indexed_files(folder)
            main = indexed[folder].get(path, path)
        elif suffix in DICOM_SUFFIXES:
            uid = dicom_series(path)
            if uid and folder not in series:
                series[folder] = _first_files(folder)
            main = series[folder].get(uid, path) if uid else path
        found[path] = main
    return found


def main_file(path: Path) -> Path:
    """The file that stands for the slide of one file, as `main_files` finds it.

    Args:
        path: A slide file.

    Returns:
        The file that stands for its slide; itself for most.
    """
    return main_files([path])[path]


def _indexed_files(folder: Path) -> dict[Path, Path]:
    """The files in a folder that an index names, and the index."""
    entries = _list(folder)
    by_name = {entry.name.casefold(): entry for entry in entries}
    found: dict[Path, Path] = {}
    for index in entries:
        if index.suffix.casefold() in INDEX_SUFFIXES:
            for name in _named_files(index):
                if name.casefold() in by_name:
                    found.setdefault(by_name[name.casefold()], index)
    return found


def _named_files(index: Path) -> list[str]:
    """The values of an index ("ImageFile(1,0)=name.jpg"), without folders."""
    try:
        with open_regular(index) as file:
            text = file.read(_MAX_INDEX_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return []
    values = [line.partition("=")[2].strip() for line in text.splitlines() if "=" in line]
    return [value.replace("\\", "/").rpartition("/")[2] for value in values if value]


def _first_files(folder: Path) -> dict[str, Path]:
    """The first file of each DICOM series in a folder."""
    first: dict[str, Path] = {}
    for entry in _list(folder):
        if entry.suffix.casefold() in DICOM_SUFFIXES and (uid := dicom_series(entry)):
            first.setdefault(uid, entry)
    return first


def _list(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []


# ---------------------------------------------------------------- DICOM


def dicom_series(path: Path) -> str:
    """The series that a DICOM file belongs to.

    Args:
        path: The file.

    Returns:
        Its SeriesInstanceUID; "" if the file is not DICOM, states none near its start, or cannot be read.
    """
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_HEADER_BYTES)
    except OSError:
        return ""
    if data[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
        return ""
    try:
        return _find_series(data)
    except (struct.error, UnicodeDecodeError):
        return ""


def _find_series(data: bytes) -> str:
    """SeriesInstanceUID of the data set itself, not of the series that its sequences refer to."""
    position, depth, explicit = _PREAMBLE + 4, 0, True
    syntax = ""
    while position + 8 <= len(data):
        tag = struct.unpack_from("<HH", data, position)
        # the file meta information always states types; the data set as its transfer syntax says
        if tag[0] != _TRANSFER_SYNTAX[0] and syntax:
            if syntax in _NOT_LITTLE_ENDIAN:
                return ""
            explicit = _SYNTAX_IS_EXPLICIT.get(syntax, True)
        start, length = _value_place(data, position, tag, explicit=explicit)
        if tag == _TRANSFER_SYNTAX:
            syntax = _text(data[start : start + length])
        if tag == _SERIES and depth == 0:
            return _text(data[start : start + length])
        if depth == 0 and tag[0] != _ITEM[0] and tag > _SERIES:
            return ""
        if tag == _SEQUENCE_END:
            depth -= 1
        if length == _UNDEFINED:
            # the items of a sequence follow; their elements are passed one by one
            depth += tag not in (_ITEM, _ITEM_END)
            length = 0
        position = start + length
    return ""


def _value_place(data: bytes, position: int, tag: tuple[int, int], *, explicit: bool) -> tuple[int, int]:
    """Where the value of an element starts, and its length."""
    if explicit and tag[0] != _ITEM[0]:
        vr = data[position + 4 : position + 6]
        if vr not in _LONG_VRS:
            (length,) = struct.unpack_from("<H", data, position + 6)
            return position + 8, length
        (length,) = struct.unpack_from("<I", data, position + 8)
        return position + 12, length
    (length,) = struct.unpack_from("<I", data, position + 4)
    return position + 8, length


def _text(value: bytes) -> str:
    return value.rstrip(b"\x00 ").decode("ascii")
