"""TIFF files from strangers: what may be decoded, and how much a file can hold, before memory or time is spent on it.

Any byte of a damaged file may be wrong. Most decoders then say so; those of imagecodecs for LZW, PackBits and fax end
the whole process. LZW and PackBits are therefore unpacked by libtiff, which a browser trusts; fax is no stain's
picture and no mask's.
"""

import io
import logging
import struct

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL.TiffImagePlugin import TiffImageFile

# what tifffile tells of damage on the way is said by our errors, once; who configures logging still gets it
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# numbers of ways of packing in the tag Compression (TIFF 6.0 and its supplements; tifffile.COMPRESSION names them)
JPEG = frozenset({6, 7, 33007, 34892})
JPEG2000 = frozenset({33003, 33004, 33005, 34712})  # Aperio's numbers among them
BY_LIBTIFF = frozenset({5, 32773})  # LZW, PackBits
LOSSLESS = frozenset({1, 8, 32946, 34925, 34926, 50000})  # none, Deflate, LZMA, Zstandard (two numbers each)

MOST_PAGES = 4096
"""Images in one file, smaller copies included. A damaged file may list them in a circle."""

UNPACKS_TO, SMALL_BYTES = 20_000, 2**24
"""Bytes of pixels for each byte of the file, as blank images may have; a file that claims more is damaged."""


# JPEG markers (ITU-T T.81, table B.1): frames of every kind, the scan, and those that nothing follows
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SCAN, ALONE = 0xDA, frozenset({0x00, 0x01, *range(0xD0, 0xDA), 0xFF})


def name_of(compression: int) -> str:
    """What a way of packing is called."""
    return str(getattr(compression, "name", compression))


def lists_too_many(file: tifffile.TiffFile) -> bool:
    """Whether a file lists more than `MOST_PAGES` images, or the same ones without end."""
    try:
        file.pages[MOST_PAGES]
    except IndexError:
        return sum(1 + len(page.aspage().subifds or ()) for page in file.pages) > MOST_PAGES
    return True


def can_hold(file_bytes: int, pixel_bytes: int) -> bool:
    """Whether a file of this size may hold so many bytes of pixels."""
    return pixel_bytes <= max(SMALL_BYTES, UNPACKS_TO * file_bytes)


def frame_size(data: bytes, compression: int) -> tuple[int, int] | None:
    """Width and height in px that a strip or tile in JPEG or JPEG 2000 states itself; None if it does not.

    Decoders believe it, whatever the TIFF says.
    """
    if compression in JPEG:
        return _jpeg_frame(data)
    start = data.find(b"\xff\x4f\xff\x51") if compression in JPEG2000 else -1
    if start < 0 or start + 16 > len(data):
        return None
    width, height = struct.unpack_from(">II", data, start + 8)  # ITU-T T.800, A.5.1
    return width, height


def _jpeg_frame(data: bytes) -> tuple[int, int] | None:
    at = data.find(b"\xff")
    while 0 <= at < len(data) - 8:
        marker = data[at + 1]
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker == SCAN:
            return None
        length = 1 if marker in ALONE else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        at = data.find(b"\xff", at + length)
    return None


def unpacked(
    data: bytes, compression: int, rows: int, row_bytes: int, fill_order: int = 1
) -> NDArray[np.uint8]:
    """A strip or tile in LZW or PackBits, unpacked by libtiff: uint8 (rows, row_bytes).

    A prediction of samples from their neighbours is not undone. `fill_order` 2: the bits of each byte are reversed.
    OSError if the data are damaged or end too early.
    """
    wrapped = TiffImageFile(io.BytesIO(_alone(data, compression, rows, row_bytes, fill_order)))
    return np.asarray(wrapped)


def _alone(data: bytes, compression: int, rows: int, row_bytes: int, fill_order: int) -> bytes:
    """The smallest TIFF with this strip: a grey image, as wide as a row has bytes (TIFF 6.0, section 2)."""
    tags = {
        256: row_bytes,  # ImageWidth
        257: rows,  # ImageLength
        258: 8,  # BitsPerSample
        259: compression,
        262: 1,  # PhotometricInterpretation: black is zero
        266: fill_order,
        273: 0,  # StripOffsets, known below
        277: 1,  # SamplesPerPixel
        278: rows,  # RowsPerStrip
        279: len(data),  # StripByteCounts
    }
    long = 4
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    listed = b"".join(struct.pack("<HHII", tag, long, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + listed + bytes(4) + data
