"""Checks of what a TIFF states, before memory is allocated for it.

A damaged file may state any size. tifffile then raises an error after a while, and OpenSlide ends the process. So the
stated sizes are checked before either reads a pixel. A "segment" is a tile or a strip.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import tifffile

from histoscout.errors import SlideError
from histoscout.io.tiff import ORIENTATION, SAVE_UPRIGHT, can_hold, has_too_many_pages, orientation_fault
from histoscout.slides.open import damaged_file
from histoscout.slides.scale import MAX_WHOLE_PIXELS

CODEC_ERRORS = (
    RuntimeError,
    ValueError,
    OSError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What decoders raise for damaged data; the errors of imagecodecs are RuntimeErrors."""

STRUCTURE_ERRORS = (*CODEC_ERRORS, ArithmeticError, AttributeError, ElementTree.ParseError)
"""What tifffile raises for files whose structure is damaged in one way or another."""

SEPARATE_PLANES = 2
"""PlanarConfiguration of images that store one plane per color."""


@contextmanager
def open_tiff_directories(path: Path) -> Iterator[tifffile.TiffFile | None]:
    """Open a TIFF to read its directories, and close it at the end of the block.

    Args:
        path: The file.

    Yields:
        The file; None if it is not a TIFF.

    Raises:
        SlideError: Its structure is damaged, also if this is found within the block.
    """
    try:
        file = tifffile.TiffFile(path)
    except tifffile.TiffFileError:
        yield None
        return
    except STRUCTURE_ERRORS as error:
        raise damaged_file(path, error) from error
    with file:
        try:
            if not _has_first_page(file):
                raise damaged_file(path, "its list of images is beyond its end")
            if has_too_many_pages(file):
                raise damaged_file(path, "it lists more images than it can contain")
            yield file
        except STRUCTURE_ERRORS as error:
            raise damaged_file(path, error) from error


def _has_first_page(file: tifffile.TiffFile) -> bool:
    """Whether there is a first image; a file that was cut off may have lost it."""
    try:
        return file.pages.first is not None
    except IndexError:
        return False


def check_tiff(path: Path) -> None:
    """Reject a TIFF if any of its images states impossible sizes; files of other formats pass.

    Args:
        path: The file.

    Raises:
        SlideError: The TIFF is damaged.
    """
    with open_tiff_directories(path) as file:
        for page in file.pages if file is not None else ():
            check_page_size(path, page.aspage())


def check_page_size(path: Path, page: tifffile.TiffPage) -> None:
    """Reject an image whose segments are too large, too few, or more than the file can contain.

    Args:
        path: The file, for the message.
        page: The image.

    Raises:
        SlideError: The image is damaged, or its segments are too large to decode.
    """
    width, height = page.imagewidth, page.imagelength
    segment_width, segment_height = segment_size(page)
    if min(width, height, segment_width, segment_height) < 1:
        segments = f"segments of {segment_width} x {segment_height}"
        raise damaged_file(path, f"it states an image of {width} x {height} px in {segments}")
    if segment_width * segment_height > MAX_WHOLE_PIXELS:
        fault = (
            f"the image is stored in segments of {segment_width} x {segment_height} px, too large to decode"
        )
        raise SlideError(path, fault, "Save it in tiles, for example with QuPath (export as OME-TIFF)")

    # what all segments together would need, and whether all are listed
    file_bytes = path.stat().st_size
    segments_px = segment_count(page) * segment_width * segment_height
    if not can_hold(file_bytes, segments_px * page.samplesperpixel):
        raise damaged_file(path, f"its {file_bytes} bytes cannot contain an image of {width} x {height} px")
    listed = min(len(page.dataoffsets), len(page.databytecounts))
    needed = segment_count(page) * (page.samplesperpixel if page.planarconfig == SEPARATE_PLANES else 1)
    if listed < needed:
        raise damaged_file(path, f"it lists only {listed} of its {needed} segments")
    if max(page.databytecounts, default=0) > file_bytes:
        raise damaged_file(path, "one of its segments is larger than the file")


def check_orientation(path: Path, page: tifffile.TiffPage) -> None:
    """Reject an image that is to be shown turned or mirrored: programs disagree, and outlines would be displaced.

    Args:
        path: The file, for the message.
        page: The image.

    Raises:
        SlideError: Its tag Orientation is not 1 (upright).
    """
    tag = page.tags.get(ORIENTATION)
    if tag is not None and (fault := orientation_fault(tag.value)):
        raise SlideError(path, fault, SAVE_UPRIGHT)


def check_segment_ends(path: Path, page: tifffile.TiffPage) -> None:
    """Reject an image whose segments are beyond the end of the file.

    Args:
        path: The file.
        page: The image.

    Raises:
        SlideError: Segments are missing.
    """
    end = path.stat().st_size
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    missing = sum(offset + length > end for offset, length in segments)
    if missing:
        raise damaged_file(path, f"{missing} of its {len(segments)} segments are beyond the end of the file")


def segment_size(page: tifffile.TiffPage) -> tuple[int, int]:
    """Width and height of an image's tiles, or of its strips, in px.

    Args:
        page: An image of the TIFF.

    Returns:
        Width and height in px.
    """
    if page.is_tiled:
        return page.tilewidth, page.tilelength
    return page.imagewidth, min(page.rowsperstrip, page.imagelength)


def segment_count(page: tifffile.TiffPage) -> int:
    """How many segments cover the image, in each plane.

    Args:
        page: An image of the TIFF.

    Returns:
        The number of tiles or strips.
    """
    width, height = segment_size(page)
    return -(-page.imagewidth // width) * -(-page.imagelength // height)
