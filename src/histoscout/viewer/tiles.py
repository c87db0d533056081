"""Tiles of slides as JPEG: each level has half the resolution of the one above it, as Deep Zoom has them."""

import io
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image

from histoscout.cohort.case import open_case
from histoscout.errors import SlideError
from histoscout.geometry.box import Box
from histoscout.slides.slide import Slide
from histoscout.viewer.library import ViewedSlide

TILE = 512
"""Side of a tile in px."""

JPEG_QUALITY = 85

CACHE_BYTES = 256 << 20
"""Tiles that are kept, in bytes of JPEG."""

OPEN_SLIDES = 8
"""Slides that stay open when nobody reads them."""

Address = tuple[str, int, int, int]
"""Key of a slide, level, column and row of a tile."""


def last_level(slide: Slide) -> int:
    """The level at which a tile has the pixels of level 0; level 0 of the tiles is a single pixel.

    Args:
        slide: The slide.
    """
    return math.ceil(math.log2(max(slide.box.width, slide.box.height, 1)))


def tile_box(slide: Slide, level: int, column: int, row: int) -> tuple[Box, float] | None:
    """The part of a slide that a tile shows.

    Args:
        slide: The slide.
        level: Level of the tile.
        column: Its column.
        row: Its row.

    Returns:
        The box in level-0 px, and level-0 px per pixel; None if there is no such tile.
    """
    top = last_level(slide)
    if not 0 <= level <= top:
        return None
    scale = float(2 ** (top - level))
    columns, rows = (
        math.ceil(length / scale) - TILE * number
        for length, number in ((slide.box.width, column), (slide.box.height, row))
    )
    if min(columns, rows) <= 0 or min(column, row) < 0:
        return None
    width, height = min(columns, TILE), min(rows, TILE)
    return Box(column * TILE * scale, row * TILE * scale, width * scale, height * scale), scale


def encode_jpeg(image: Image.Image) -> bytes:
    """Encode an image.

    Args:
        image: The image, RGB.
    """
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


class OpenSlides:
    """Slides that are open, shared by all requests; one that nobody reads is closed when others are needed."""

    def __init__(self, limit: int = OPEN_SLIDES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._slides: OrderedDict[str, tuple[Slide, list[int]]] = OrderedDict()

    @contextmanager
    def use(self, viewed: ViewedSlide) -> Iterator[Slide]:
        """Open a slide, or take the open one, and keep it open for the block.

        Args:
            viewed: The slide.

        Yields:
            The open slide.

        Raises:
            HistoscoutError: It cannot be opened.
        """
        with self._lock:
            if viewed.key not in self._slides:
                self._slides[viewed.key] = (open_case(viewed.case), [0])
            slide, readers = self._slides[viewed.key]
            readers[0] += 1
            self._slides.move_to_end(viewed.key)
            idle = [key for key, (_, count) in self._slides.items() if not count[0]]
            for key in idle[: max(0, len(self._slides) - self._limit)]:
                self._slides.pop(key)[0].close()
        try:
            yield slide
        finally:
            with self._lock:
                readers[0] -= 1

    def close(self) -> None:
        """Close all slides."""
        with self._lock:
            for slide, _ in self._slides.values():
                slide.close()
            self._slides.clear()


@dataclass
class _Stored:
    """Tiles by address, the least recently used first."""

    tiles: OrderedDict[Address, bytes]
    size: int = 0


class TileServer:
    """Reads tiles, keeps them in a bounded cache, and reads those of the next level ahead while nobody waits.

    Args:
        slides: The open slides.
        cache_bytes: Most bytes to keep.
        prefetch: Whether to read ahead.
    """

    def __init__(self, slides: OpenSlides, cache_bytes: int = CACHE_BYTES, *, prefetch: bool = True) -> None:
        self._slides = slides
        self._limit = cache_bytes
        self._lock = threading.Lock()
        self._stored = _Stored(OrderedDict())
        self._waiting = 0
        self._ahead = ThreadPoolExecutor(1, "histoscout-ahead") if prefetch else None
        self._queued = 0

    @property
    def cached_bytes(self) -> int:
        """Bytes of the tiles in the cache."""
        return self._stored.size

    def read(self, viewed: ViewedSlide, level: int, column: int, row: int) -> bytes | None:
        """Read a tile.

        Args:
            viewed: The slide.
            level: Level of the tile.
            column: Its column.
            row: Its row.

        Returns:
            JPEG; None if there is no such tile.

        Raises:
            HistoscoutError: The slide cannot be read.
        """
        with self._lock:
            self._waiting += 1
        try:
            tile = self._read(viewed, level, column, row)
        finally:
            with self._lock:
                self._waiting -= 1
        if tile is not None:
            self._read_ahead(viewed, level + 1, column, row)
        return tile

    def _read(self, viewed: ViewedSlide, level: int, column: int, row: int) -> bytes | None:
        address = (viewed.key, level, column, row)
        with self._lock:
            if address in self._stored.tiles:
                self._stored.tiles.move_to_end(address)
                return self._stored.tiles[address]
        with self._slides.use(viewed) as slide:
            place = tile_box(slide, level, column, row)
            if place is None:
                return None
            tile = encode_jpeg(Image.fromarray(slide.read(place[0], place[1] * slide.mpp)))
        with self._lock:
            if address not in self._stored.tiles:
                self._stored.tiles[address] = tile
                self._stored.size += len(tile)
            while self._stored.size > self._limit and len(self._stored.tiles) > 1:
                self._stored.size -= len(self._stored.tiles.popitem(last=False)[1])
        return tile

    def _read_ahead(self, viewed: ViewedSlide, level: int, column: int, row: int) -> None:
        """Read the four tiles that show the same place one level further in, if nobody waits."""
        if self._ahead is None or self._queued > 16:
            return
        for right in (0, 1):
            for down in (0, 1):
                self._queued += 1
                self._ahead.submit(self._try_ahead, viewed, level, 2 * column + right, 2 * row + down)

    def _try_ahead(self, viewed: ViewedSlide, level: int, column: int, row: int) -> None:
        self._queued -= 1
        if self._waiting:
            return
        try:
            self._read(viewed, level, column, row)
        except SlideError:
            # whoever asks for this tile is told
            return

    def close(self) -> None:
        """Stop reading ahead."""
        if self._ahead is not None:
            self._ahead.shutdown(wait=True, cancel_futures=True)


def crop_jpeg(slide: Slide, box: Box, longest: int) -> bytes:
    """Read a part of a slide as a small picture.

    Args:
        slide: The slide.
        box: The part, level-0 px.
        longest: Width or height of the picture in px, at most.
    """
    scale = max(1.0, box.width / longest, box.height / longest)
    return encode_jpeg(Image.fromarray(slide.read(box, scale * slide.mpp)))
