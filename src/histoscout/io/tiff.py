"""Limits for TIFF files that may be damaged, and decoding by libtiff.

Any byte of a damaged file may be wrong. Most decoders then raise an error, but those of imagecodecs for LZW, PackBits
and fax end the whole process. LZW and PackBits are therefore decoded by libtiff (through Pillow); fax is not read,
since no stained slide and no mask is stored in it. Sizes that a file states are checked before memory is allocated.
"""

import io
import logging
import struct

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL.TiffImagePlugin import TiffImageFile

# Damage is reported once, by our errors: silence tifffile's own messages unless an application configures logging.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# Values of the tag Compression (TIFF 6.0 and its supplements; tifffile.COMPRESSION names them).
JPEG = frozenset({6, 7, 33007, 34892})
# JPEG 2000, with the numbers that Aperio uses
JPEG2000 = frozenset({33003, 33004, 33005, 34712})
# LZW, PackBits
BY_LIBTIFF = frozenset({5, 32773})
# none, Deflate, LZMA, Zstandard (two numbers each)
LOSSLESS = frozenset({1, 8, 32946, 34925, 34926, 50000})

ORIENTATION = 274
"""The tag of TIFF and EXIF that says how an image is to be shown; 1 is upright."""

SAVE_UPRIGHT = "Save it upright, so that outlines fit in every program"

MAX_PAGES = 4096
"""Images in one file, smaller levels included. A damaged file may list them in a circle."""

MAX_EXPANSION = 20_000
"""Bytes of pixels per byte of the file, as blank images may have; a file that states more is damaged."""

ALWAYS_PLAUSIBLE_BYTES = 2**24
"""Bytes of pixels that a file of any size may state."""

# JPEG markers (ITU-T T.81, table B.1): start of frame, start of scan, and those without a payload.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN_MARKER = 0xDA
_LONE_MARKERS = frozenset({0x00, 0x01, *range(0xD0, 0xDA), 0xFF})


def orientation_fault(value: object) -> str:
    """Why an image cannot be used as it is stored: programs disagree about turned and mirrored ones.

    Args:
        value: Value of the tag `ORIENTATION`; None if there is none.

    Returns:
        The fault; empty if the image is upright.
    """
    if not isinstance(value, int) or value not in range(2, 9):
        return ""
    return f"the image is stored turned or mirrored (orientation {value}), which QuPath and other programs ignore"


def compression_name(compression: int) -> str:
    """The name of a TIFF compression, such as "LZW".

    Args:
        compression: Value of the tag.

    Returns:
        The name, or the number as text.
    """
    return str(getattr(compression, "name", compression))


def has_too_many_pages(file: tifffile.TiffFile) -> bool:
    """Whether a TIFF lists more than `MAX_PAGES` images, or the same ones in an endless circle.

    Args:
        file: An open TIFF.

    Returns:
        Whether it has too many pages to be genuine.
    """
    try:
        file.pages[MAX_PAGES]
    except IndexError:
        return sum(1 + len(page.aspage().subifds or ()) for page in file.pages) > MAX_PAGES
    return True


def can_hold(file_bytes: int, pixel_bytes: int) -> bool:
    """Whether a file of `file_bytes` can plausibly contain `pixel_bytes` of decoded pixels.

    Args:
        file_bytes: Size of the file.
        pixel_bytes: Size of the decoded pixels.

    Returns:
        Whether that is plausible.
    """
    return pixel_bytes <= max(ALWAYS_PLAUSIBLE_BYTES, MAX_EXPANSION * file_bytes)


def frame_size(data: bytes, compression: int) -> tuple[int, int] | None:
    """The size that a strip or tile in JPEG or JPEG 2000 states in its own header.

    Decoders allocate memory by this size, whatever the TIFF states.

    Args:
        data: The encoded strip or tile.
        compression: Its TIFF compression.

    Returns:
        Width and height in px; None if the header states none.
    """
    if compression in JPEG:
        return _jpeg_frame_size(data)
    # the marker segment SIZ (ITU-T T.800, A.5.1)
    start = data.find(b"\xff\x4f\xff\x51") if compression in JPEG2000 else -1
    if start < 0 or start + 16 > len(data):
        return None
    width, height = struct.unpack_from(">II", data, start + 8)
    return width, height


def _jpeg_frame_size(data: bytes) -> tuple[int, int] | None:
    position = data.find(b"\xff")
    while 0 <= position < len(data) - 8:
        marker = data[position + 1]
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        if marker == _SCAN_MARKER:
            return None
        payload = (
            1 if marker in _LONE_MARKERS else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        )
        position = data.find(b"\xff", position + payload)
    return None


def decompress_with_libtiff(
    data: bytes, compression: int, shape: tuple[int, int], *, fill_order: int = 1
) -> NDArray[np.uint8]:
    """Decompress a strip or tile in LZW or PackBits by libtiff; a predictor is not undone.

    Args:
        data: The compressed strip or tile.
        compression: Its TIFF compression.
        shape: Rows, and bytes in a row.
        fill_order: TIFF's FillOrder; with 2 the bits of each byte are reversed.

    Returns:
        The bytes, (rows, row_bytes) uint8.

    Raises:
        OSError: The data are damaged or end too early.
    """
    tiff = _wrap_in_tiff(data, compression, shape, fill_order=fill_order)
    return np.asarray(TiffImageFile(io.BytesIO(tiff)))


def _wrap_in_tiff(data: bytes, compression: int, shape: tuple[int, int], *, fill_order: int) -> bytes:
    """The smallest TIFF with this strip: a gray image, as wide as a row has bytes (TIFF 6.0)."""
    rows, row_bytes = shape
    strip_offsets = 273
    tags = {
        256: row_bytes,  # ImageWidth
        257: rows,  # ImageLength
        258: 8,  # BitsPerSample
        259: compression,
        262: 1,  # PhotometricInterpretation: black is zero
        266: fill_order,
        strip_offsets: 0,  # set below
        277: 1,  # SamplesPerPixel
        278: rows,  # RowsPerStrip
        279: len(data),  # StripByteCounts
    }
    # the strip follows the header (8 bytes) and the directory: count, entries of 12 bytes, end mark
    tags[strip_offsets] = 8 + 2 + 12 * len(tags) + 4
    type_long = 4
    entries = b"".join(struct.pack("<HHII", tag, type_long, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + data
