"""Slide formats that are recognized but not read, so that the message can say what a file is and how to export it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from histoscout.errors import SlideError
from histoscout.io.inputs import open_regular

EXPORT = "Open it in QuPath or the scanner's program, and export it as OME-TIFF (8-bit RGB, pyramidal)"

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x70\x00\x00\x00", "Leica LIF"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE container, such as Zeiss ZVI or Olympus OIB"),
    (0, b"SIS\x00", "Olympus ETS"),
    (0, b"KFB", "KFBio KFB"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"II\xbc\x01", "JPEG XR"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5"),
    (0, b"\xda\xce\xbe\x0a", "Nikon ND2"),
    (0, b"GIF8", "GIF"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"%PDF", "PDF"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the slide itself"),
    (0, b"<!DOCTYPE html", "a web page, not the slide itself"),
    (0, b"<html", "a web page, not the slide itself"),
)
"""Where the signature of a format stands, the signature, and the format."""

_SUFFIXES: Mapping[str, str] = MappingProxyType(
    {
        ".isyntax": "Philips iSyntax",
        ".i2syntax": "Philips iSyntax",
        ".vsi": "Olympus VSI",
        ".ets": "Olympus ETS",
        ".czi": "Zeiss CZI",
        ".lif": "Leica LIF",
        ".mds": "Motic MDS",
        ".mdsx": "Motic MDSX",
        ".sdpc": "SDPC",
        ".kfb": "KFBio KFB",
        ".tmap": "TMAP",
        ".jxl": "JPEG XL",
        ".jxr": "JPEG XR",
        ".afi": "Aperio AFI (fluorescence)",
        ".zarr": "OME-Zarr",
        ".nd2": "Nikon ND2",
    }
)
"""Suffix of a format without a signature of its own, and the format."""

_REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "a ZIP archive": "Unpack it first",
        "a gzip archive": "Unpack it first",
        "a 7z archive": "Unpack it first",
        "a Git LFS pointer, not the slide itself": "Fetch the file with git lfs pull",
        "a web page, not the slide itself": "Download the slide again",
    }
)


def unread_format(path: Path) -> SlideError:
    """The error for a file that no reader recognizes.

    Args:
        path: The file.

    Returns:
        The error to raise: it names the format if it is known.
    """
    with open_regular(path) as file:
        start = file.read(64)
    kinds = [kind for offset, mark, kind in _SIGNATURES if start[offset : offset + len(mark)] == mark]
    kind = next(iter(kinds), None) or _SUFFIXES.get(path.suffix.casefold())
    if kind is None:
        fault = "the file is not a slide or image of a supported format"
        return SlideError(path, fault, "Check that it opens in QuPath, and export it from there as OME-TIFF")
    return SlideError(path, f"this is {kind}, which is not read", _REMEDIES.get(kind, EXPORT))
