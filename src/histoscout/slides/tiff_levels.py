"""Levels of a TIFF: a box is read by decoding only the tiles or strips that it touches.

A "segment" is a tile or a strip. `histoscout.io.tiff` lists the compressions that are read, and those that libtiff decodes.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from histoscout.io.inputs import open_regular
from histoscout.io.tiff import BY_LIBTIFF, JPEG, decompress_with_libtiff, frame_size
from histoscout.slides.open import damaged_file
from histoscout.slides.tiff_checks import CODEC_ERRORS, SEPARATE_PLANES, segment_size

CACHE_BYTES = 64 << 20
"""Decoded segments that are kept for the next, overlapping box: enough for a few rows of detection windows."""

# TIFF codes: a predictor that stores differences, and the meanings of a fourth sample.
HORIZONTAL_DIFFERENCES = 2
UNSPECIFIED = 0
PREMULTIPLIED_ALPHA = 1

LevelBox = tuple[int, int, int, int]
"""x, y, width, height in px of a level."""


@dataclass(frozen=True)
class LibtiffPacking:
    """What else libtiff needs to decompress a segment.

    Attributes:
        fill_order: TIFF's FillOrder.
        has_differences: Whether samples are stored as differences from their neighbors.
    """

    fill_order: int
    has_differences: bool


@dataclass(frozen=True, kw_only=True)
class TiffPlane:
    """All segments of one plane of a level.

    An image stored pixel by pixel is one plane of three samples; stored color by color it is three planes of one.

    Attributes:
        decode: tifffile's decoder of the image.
        extra: Further arguments for it.
        compression: TIFF compression of the segments.
        packing: Set if libtiff decompresses the segments; then `decode` only gives their shapes.
        offsets: Where each segment starts in the file.
        byte_counts: How many bytes each segment has.
        first: The decoder's number of the plane's first segment.
    """

    decode: Any
    extra: dict[str, Any]
    compression: int
    packing: LibtiffPacking | None
    offsets: tuple[int, ...]
    byte_counts: tuple[int, ...]
    first: int


@dataclass(frozen=True, kw_only=True)
class TiffLevel:
    """One level of a TIFF.

    Attributes:
        width: Width in px.
        height: Height in px.
        segment: Width and height of its segments in px.
        planes: Its planes.
        alpha: How transparency is stored (TIFF's ExtraSamples); None if it is not.
    """

    width: int
    height: int
    segment: tuple[int, int]
    planes: tuple[TiffPlane, ...]
    alpha: int | None

    @property
    def columns(self) -> int:
        """How many segments there are in a row."""
        return -(-self.width // self.segment[0])


def tiff_level(pages: Sequence[tifffile.TiffPage]) -> TiffLevel:
    """Describe a level by its pages.

    Args:
        pages: One page with all colors, or three with a color each.

    Returns:
        The level.
    """
    page = pages[0]
    has_alpha = page.samplesperpixel == 4 and page.extrasamples
    return TiffLevel(
        width=page.imagewidth,
        height=page.imagelength,
        segment=segment_size(page),
        planes=tuple(plane for color_page in pages for plane in _describe_planes(color_page)),
        alpha=int(page.extrasamples[0]) if has_alpha else None,
    )


def _describe_planes(page: tifffile.TiffPage) -> list[TiffPlane]:
    extra: dict[str, Any] = {}
    packing = None
    if page.compression in JPEG:
        extra = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
    if page.compression in BY_LIBTIFF:
        packing = LibtiffPacking(int(page.fillorder), page.predictor == HORIZONTAL_DIFFERENCES)
    count = page.samplesperpixel if page.planarconfig == SEPARATE_PLANES else 1
    size = len(page.dataoffsets) // count
    return [
        TiffPlane(
            decode=page.decode,
            extra=extra,
            compression=int(page.compression),
            packing=packing,
            offsets=tuple(page.dataoffsets[first : first + size]),
            byte_counts=tuple(page.databytecounts[first : first + size]),
            first=first,
        )
        for first in range(0, size * count, size)
    ]


class TiffSource:
    """The levels of a TIFF.

    The file is opened for each read: safe in threads, after a fork and in a pickle.

    Args:
        path: The file.
        mpp: The um/px that it states, or None.
        read_levels: Finds the levels of the slide in the file, level 0 first.
    """

    def __init__(
        self, path: Path, mpp: float | None, read_levels: Callable[[Path], Sequence[TiffLevel]]
    ) -> None:
        self.path = path
        self.mpp = mpp
        self._read_levels = read_levels
        self._levels = tuple(read_levels(path))
        self.level_sizes = tuple((level.width, level.height) for level in self._levels)
        # decoded segments by level, plane and number, the last used at the end
        self._cache: OrderedDict[tuple[int, int, int], NDArray[np.uint8]] = OrderedDict()
        self._cache_bytes = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return TiffSource, (self.path, self.mpp, self._read_levels)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read pixels of a level, as `SlideSource.read_level` does."""
        chosen = self._levels[level]
        try:
            with open_regular(self.path) as file:
                planes = [
                    self._read_plane(file, (level, plane), (x, y, width, height))
                    for plane in range(len(chosen.planes))
                ]
        except CODEC_ERRORS as error:
            raise damaged_file(self.path, error) from error
        return _to_rgb(np.concatenate(planes, axis=2) if len(planes) > 1 else planes[0], chosen.alpha)

    def close(self) -> None:
        """Free the cache."""
        with self._lock:
            self._cache.clear()
            self._cache_bytes = 0

    def _read_plane(self, file: BinaryIO, plane: tuple[int, int], box: LevelBox) -> NDArray[np.uint8]:
        """A box of one plane (level, number), (height, width, samples), from all its segments."""
        x, y, width, height = box
        level = self._levels[plane[0]]
        segment_width, segment_height = level.segment
        canvas: NDArray[np.uint8] | None = None
        for row in range(y // segment_height, -(-(y + height) // segment_height)):
            for column in range(x // segment_width, -(-(x + width) // segment_width)):
                segment = self._read_segment(file, plane, row * level.columns + column)
                if canvas is None:
                    canvas = np.full((height, width, segment.shape[2]), 255, np.uint8)
                _paste(segment, canvas, (column * segment_width - x, row * segment_height - y))
        if canvas is None:
            raise ValueError(f"the box {box} is empty")
        return canvas

    def _read_segment(self, file: BinaryIO, plane: tuple[int, int], index: int) -> NDArray[np.uint8]:
        """A segment of a plane, from the cache or from the file."""
        key = (*plane, index)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        # decode without the lock, so that other threads can go on
        level, number = plane
        segment = _decode_segment(file, self._levels[level].planes[number], index)
        with self._lock:
            if key not in self._cache:
                self._cache[key] = segment
                self._cache_bytes += segment.nbytes
            while self._cache_bytes > CACHE_BYTES and len(self._cache) > 1:
                self._cache_bytes -= self._cache.popitem(last=False)[1].nbytes
        return segment


# ---------------------------------------------------------------- decoding


def _decode_segment(file: BinaryIO, plane: TiffPlane, index: int) -> NDArray[np.uint8]:
    """One segment, (height, width, samples); white where the writer left it out as empty."""
    file.seek(plane.offsets[index])
    data = file.read(plane.byte_counts[index])
    if len(data) < plane.byte_counts[index]:
        raise EOFError("the file ends before the pixels do")
    _, _, (_, *shape) = plane.decode(None, plane.first + index, **plane.extra)
    height, width, samples = shape
    if not data:
        return np.full(shape, 255, np.uint8)
    if plane.packing is not None:
        return _decompress(data, plane, (height, width, samples))

    # decoders allocate what the segment's own header states: refuse more than there should be
    header = plane.extra.get("jpegheader") or data
    frame_width, frame_height = frame_size(header, plane.compression) or (0, 0)
    if frame_width * frame_height > height * width:
        stated = f"a picture of {frame_width} x {frame_height} px"
        raise ValueError(f"a segment of {width} x {height} px contains {stated}")
    pixels, _, _ = plane.decode(data, plane.first + index, **plane.extra)
    return np.ascontiguousarray(pixels[0])


def _decompress(data: bytes, plane: TiffPlane, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A segment of this shape (height, width, samples), decompressed by libtiff."""
    if plane.packing is None:
        raise ValueError("libtiff does not decompress this plane")
    height, width, samples = shape
    pixels = decompress_with_libtiff(
        data, plane.compression, (height, width * samples), fill_order=plane.packing.fill_order
    ).reshape(shape)
    if not plane.packing.has_differences:
        return pixels
    summed: NDArray[np.uint8] = imagecodecs.delta_decode(pixels, axis=1)
    return summed


def _paste(segment: NDArray[np.uint8], canvas: NDArray[np.uint8], corner: tuple[int, int]) -> None:
    """Copy the part of a segment that is on the canvas, with the segment's corner at (x, y)."""
    x, y = corner
    top, bottom = max(0, y), min(canvas.shape[0], y + segment.shape[0])
    left, right = max(0, x), min(canvas.shape[1], x + segment.shape[1])
    canvas[top:bottom, left:right] = segment[top - y : bottom - y, left - x : right - x]


def _to_rgb(pixels: NDArray[np.uint8], alpha: int | None) -> NDArray[np.uint8]:
    """Three colors: gray repeated, transparency on white, further channels left out."""
    if pixels.shape[2] < 3:
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    colors = pixels[:, :, :3]
    if alpha is None or alpha == UNSPECIFIED:
        return colors
    opacity = pixels[:, :, 3:4].astype(np.uint16)
    weighted = colors if alpha == PREMULTIPLIED_ALPHA else (colors * opacity + 127) // 255
    on_white: NDArray[np.uint8] = np.minimum(weighted + (255 - opacity), 255).astype(np.uint8)
    return on_white
