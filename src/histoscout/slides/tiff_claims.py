"""What a TIFF claims of itself must be possible, or its readers ask for more memory than there is.

tifffile then raises, after a while; OpenSlide ends the process. So sizes are looked at before either reads a pixel.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import tifffile

from histoscout.errors import SlideError
from histoscout.slides.opened import MOST_PIXELS, spoilt
from histoscout.slides.tiff_level import CODEC_ERRORS, SEPARATE, piece_of
from histoscout.tiff import can_hold, lists_too_many

# What tifffile raises for files whose structure is damaged in one way or another.
STRUCTURE_ERRORS = (*CODEC_ERRORS, struct.error, ArithmeticError, AttributeError, ElementTree.ParseError)


@contextmanager
def directories(path: Path) -> Iterator[tifffile.TiffFile | None]:
    """A TIFF as its directories tell of it, or None if the file is no TIFF; closed at the end. SlideError."""
    try:
        file = tifffile.TiffFile(path)
    except tifffile.TiffFileError:
        yield None
        return
    except STRUCTURE_ERRORS as error:
        raise spoilt(path, error) from error
    with file:
        try:
            if not _first(file):
                raise spoilt(path, "its list of images lies beyond its end")
            if lists_too_many(file):
                raise spoilt(path, "it lists more images than it can hold")
            yield file
        except STRUCTURE_ERRORS as error:
            raise spoilt(path, error) from error


def _first(file: tifffile.TiffFile) -> bool:
    """Whether there is a first image; a file that was cut off has lost it."""
    try:
        return file.pages.first is not None
    except IndexError:
        return False


def check_claims(path: Path) -> None:
    """Refuse a TIFF of which any image claims what cannot be; other files are none of its business. SlideError."""
    with directories(path) as file:
        for page in file.pages if file is not None else ():
            check_sizes(path, page.aspage())


def check_sizes(path: Path, page: tifffile.TiffPage) -> None:
    """Refuse an image whose pieces (tiles or strips) are too large, too few, or more than the file can hold.

    SlideError.
    """
    width, height = page.imagewidth, page.imagelength
    across, down = piece_of(page)
    if min(width, height, across, down) < 1:
        raise spoilt(path, f"it states an image of {width} x {height} px in pieces of {across} x {down}")
    if across * down > MOST_PIXELS:
        fault = f"is stored in pieces of {across} x {down} px, too large to be read one by one"
        raise SlideError(path, fault, "Save it in tiles, for example with QuPath (export as OME-TIFF)")
    end = path.stat().st_size
    if not can_hold(end, pieces_of(page) * across * down * page.samplesperpixel):
        raise spoilt(path, f"its {end} bytes cannot hold an image of {width} x {height} px")
    listed = min(len(page.dataoffsets), len(page.databytecounts))
    wanted = pieces_of(page) * (page.samplesperpixel if page.planarconfig == SEPARATE else 1)
    if listed < wanted:
        raise spoilt(path, f"only {listed} of its {wanted} pieces are listed")
    if max(page.databytecounts, default=0) > end:
        raise spoilt(path, "one of its pieces is larger than the file")


def check_ends(path: Path, page: tifffile.TiffPage) -> None:
    """Refuse an image whose pieces lie beyond the end of the file. SlideError."""
    end, pieces = path.stat().st_size, list(zip(page.dataoffsets, page.databytecounts, strict=True))
    missing = sum(offset + length > end for offset, length in pieces)
    if missing:
        raise spoilt(path, f"{missing} of its {len(pieces)} pieces lie beyond the end of the file")


def pieces_of(page: tifffile.TiffPage) -> int:
    """How many pieces cover the image, in each plane."""
    across, down = piece_of(page)
    return -(-page.imagewidth // across) * -(-page.imagelength // down)
