"""Reading a part of a TIFF level by decoding only the tiles (or strips) that it touches.

Which ways of packing are read, and by whose decoder, is said in `histoscout.tiff`.

What a TIFF claims of itself must be possible, or its readers ask for more memory than there is.

tifffile then raises, after a while; OpenSlide ends the process. So sizes are looked at before either reads a pixel.
"""

import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from histoscout.errors import SlideError
from histoscout.io.tiff import BY_LIBTIFF, JPEG, can_hold, frame_size, lists_too_many, unpacked
from histoscout.slides.open import MOST_PIXELS, spoilt

# What decoders raise for spoilt data; imagecodecs' errors are RuntimeErrors.
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

# Decoded tiles kept for the next, overlapping window: a few rows of windows.
KEPT_BYTES = 64 << 20

# TIFF codes: one plane a colour, samples told by their difference from the last, kinds of a fourth sample.
SEPARATE = 2
DIFFERENCES = 2
UNSPECIFIED, PREMULTIPLIED = 0, 1

# A window of tiles to decode: x, y, width, height in level px.
Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Plane:
    """All pieces (tiles or strips) of one plane of a level: where they stand and how to decode them.

    A picture stored pixel by pixel is one plane of three samples; stored colour by colour it is three of one.
    `first` is the number that the decoder gives to the plane's first piece. With `packing`, libtiff unpacks the
    pieces and `decode` only tells their shapes.
    """

    decode: Any
    extra: dict[str, Any]
    compression: int
    packing: "Packing | None"
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    first: int


@dataclass(frozen=True)
class Packing:
    """What libtiff must know besides to unpack a piece, and whether samples are then differences."""

    fill_order: int
    differences: bool


@dataclass(frozen=True)
class TiffLevel:
    """One level: its size and that of its pieces in level px, its planes, and how transparency is stored."""

    width: int
    height: int
    piece: tuple[int, int]
    planes: tuple[Plane, ...]
    alpha: int | None

    @property
    def columns(self) -> int:
        return -(-self.width // self.piece[0])


def level_of(pages: Sequence[tifffile.TiffPage]) -> TiffLevel:
    """A level of these pages: one with all colours, or three with a colour each."""
    page = pages[0]
    alpha = int(page.extrasamples[0]) if page.samplesperpixel == 4 and page.extrasamples else None
    planes = tuple(plane for one in pages for plane in _planes(one))
    return TiffLevel(page.imagewidth, page.imagelength, piece_of(page), planes, alpha)


def piece_of(page: tifffile.TiffPage) -> tuple[int, int]:
    """Width and height of the image's tiles, or of its strips, in px."""
    if page.is_tiled:
        return page.tilewidth, page.tilelength
    return page.imagewidth, min(page.rowsperstrip, page.imagelength)


def _planes(page: tifffile.TiffPage) -> list[Plane]:
    extra: dict[str, Any] = {}
    packing = None
    if page.compression in JPEG:
        extra = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
    if page.compression in BY_LIBTIFF:
        packing = Packing(int(page.fillorder), page.predictor == DIFFERENCES)
    count = page.samplesperpixel if page.planarconfig == SEPARATE else 1
    size = len(page.dataoffsets) // count
    return [
        Plane(
            page.decode,
            extra,
            int(page.compression),
            packing,
            tuple(page.dataoffsets[first : first + size]),
            tuple(page.databytecounts[first : first + size]),
            first,
        )
        for first in range(0, size * count, size)
    ]


class TiffLevels:
    """The levels of a TIFF. Opens the file for each read: safe in threads, after a fork and in a pickle."""

    def __init__(self, path: Path, mpp: float | None, find: Callable[[Path], Sequence[TiffLevel]]) -> None:
        self.path, self.mpp, self._find = path, mpp, find
        self._levels = tuple(find(path))
        self.level_sizes = tuple((level.width, level.height) for level in self._levels)
        self._kept: OrderedDict[tuple[int, int, int], NDArray[np.uint8]] = OrderedDict()
        self._kept_bytes, self._lock = 0, threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return TiffLevels, (self.path, self.mpp, self._find)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        chosen = self._levels[level]
        try:
            with self.path.open("rb") as file:
                planes = [
                    self._plane(file, level, plane, (x, y, width, height))
                    for plane in range(len(chosen.planes))
                ]
        except CODEC_ERRORS as error:
            raise spoilt(self.path, error) from error
        return _rgb(np.concatenate(planes, axis=2) if len(planes) > 1 else planes[0], chosen.alpha)

    def close(self) -> None:
        with self._lock:
            self._kept.clear()
            self._kept_bytes = 0

    def _plane(self, file: BinaryIO, level: int, number: int, window: Window) -> NDArray[np.uint8]:
        """The window of one plane (height, width, samples), put together from the pieces that it touches."""
        x, y, width, height = window
        chosen = self._levels[level]
        across, down = chosen.piece
        canvas: NDArray[np.uint8] | None = None
        for row in range(y // down, -(-(y + height) // down)):
            for column in range(x // across, -(-(x + width) // across)):
                piece = self._piece(file, level, number, row * chosen.columns + column)
                if canvas is None:
                    canvas = np.full((height, width, piece.shape[2]), 255, np.uint8)
                _paste(piece, canvas, column * across - x, row * down - y)
        if canvas is None:
            raise ValueError(f"an empty window {window}")
        return canvas

    def _piece(self, file: BinaryIO, level: int, number: int, index: int) -> NDArray[np.uint8]:
        key = (level, number, index)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        piece = _decoded(file, self._levels[level].planes[number], index)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = piece
                self._kept_bytes += piece.nbytes
            while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
                self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
        return piece


def _decoded(file: BinaryIO, plane: Plane, index: int) -> NDArray[np.uint8]:
    """One piece (height, width, samples); white where the writer left it out as empty."""
    file.seek(plane.offsets[index])
    data = file.read(plane.counts[index])
    if len(data) < plane.counts[index]:
        raise EOFError("the file ends before the pixels do")
    _, _, shape = plane.decode(None, plane.first + index, **plane.extra)
    if not data:
        return np.full(shape[1:], 255, np.uint8)
    if plane.packing is not None:
        return _unpacked(data, plane.compression, plane.packing, shape[1:])
    _check_frame(plane.extra.get("jpegheader") or data, plane.compression, shape[1:])
    pixels, _, _ = plane.decode(data, plane.first + index, **plane.extra)
    return np.ascontiguousarray(pixels[0])


def _check_frame(data: bytes, compression: int, shape: tuple[int, int, int]) -> None:
    """Refuse a picture larger than the piece that it should fill."""
    width, height = frame_size(data, compression) or (0, 0)
    if width * height > shape[0] * shape[1]:
        raise ValueError(f"a piece of {shape[1]} x {shape[0]} px holds a picture of {width} x {height} px")


def _unpacked(
    data: bytes, compression: int, packing: Packing, shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """A piece of this shape (height, width, samples) by libtiff."""
    height, width, samples = shape
    pixels = unpacked(data, compression, height, width * samples, packing.fill_order).reshape(shape)
    if not packing.differences:
        return pixels
    summed: NDArray[np.uint8] = imagecodecs.delta_decode(pixels, axis=1)
    return summed


def _paste(piece: NDArray[np.uint8], canvas: NDArray[np.uint8], x: int, y: int) -> None:
    """Put a piece on the canvas with its corner at (x, y), as far as it lies on it."""
    height, width = canvas.shape[:2]
    top, left, bottom, right = (
        max(0, y),
        max(0, x),
        min(height, y + piece.shape[0]),
        min(width, x + piece.shape[1]),
    )
    canvas[top:bottom, left:right] = piece[top - y : bottom - y, left - x : right - x]


def _rgb(pixels: NDArray[np.uint8], alpha: int | None) -> NDArray[np.uint8]:
    """Three colours: grey repeated, transparency laid on white, further channels left out."""
    if pixels.shape[2] < 3:
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    colors = pixels[:, :, :3]
    if alpha is None or alpha == UNSPECIFIED:
        return colors
    opacity = pixels[:, :, 3:4].astype(np.uint16)
    shown = colors if alpha == PREMULTIPLIED else (colors * opacity + 127) // 255
    on_white: NDArray[np.uint8] = np.minimum(shown + (255 - opacity), 255).astype(np.uint8)
    return on_white


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
