"""A slide: an image too large for memory, of which any box can be read at any resolution."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoscout.errors import SlideError
from histoscout.geometry.box import Box
from histoscout.slides.scale import MppSource as MppSource

WHITE = 255

TOLERANCE = 1.01
"""A level up to 1 % coarser than requested is used. "0.5 um/px" on a scanner with 0.2505 means its second level, and
enlarging by 1 % loses nothing that reading four times as many pixels would bring back."""

SAME_PLACE_PX = 0.01
"""Positions nearer than this are the same: nothing is resampled for a hundredth of a pixel."""

MAX_READ_SIDE = 4096
"""Longest side of what is read from a level at once: 48 MB as RGB, however large the request."""


class SlideSource(Protocol):
    """What a reader of a slide format provides; `Slide` does the rest.

    Sources can be pickled; those of files are pickled by their path.
    """

    @property
    def mpp(self) -> float | None:
        """The um per level-0 px that the file states, or None."""

    @property
    def level_sizes(self) -> Sequence[tuple[int, int]]:
        """Width and height of each level, level 0 first."""

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read pixels of a level; may be called from several threads.

        Args:
            level: Number of the level.
            x: Left edge, in px of the level.
            y: Top edge, in px of the level.
            width: Width in px; the box is always within the level.
            height: Height in px.

        Returns:
            RGB pixels, (height, width, 3) uint8.

        Raises:
            SlideError: The file cannot be read.
        """

    def close(self) -> None:
        """Release the file."""


@dataclass(frozen=True, kw_only=True)
class SlideMetadata:
    """What is known of a slide besides its pixels.

    Attributes:
        name: Name of the slide.
        mpp: Resolution in um per level-0 px.
        mpp_source: Where `mpp` comes from.
        path: Its file, if it has one.
        series: The number of the image in its file; None if the file has only one.
        vendor: Scanner maker or format.
        bounds: The part of level 0 that was scanned, if the file states it. Its corner is the origin of the slide, as
            in QuPath.
        center_offset_um: Place of the scan's center from the center of the glass slide, if the file states it.
        notes: Notes for the user.
    """

    name: str
    mpp: float
    mpp_source: MppSource = "given"
    path: Path | None = None
    series: int | None = None
    vendor: str | None = None
    bounds: Box | None = None
    center_offset_um: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- levels


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of a pyramid.

    Attributes:
        number: Its number; level 0 is the finest.
        width: Width in its own pixels.
        height: Height in its own pixels.
        downsample_x: Level-0 px that one of its pixels spans horizontally.
        downsample_y: Level-0 px that one of its pixels spans vertically.
    """

    number: int
    width: int
    height: int
    downsample_x: float
    downsample_y: float


def build_levels(sizes: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
    """The levels of a slide with their downsamples.

    Args:
        sizes: Width and height of each level, level 0 first.

    Returns:
        The levels, in the same order.
    """
    full_width, full_height = sizes[0]
    return tuple(
        Level(
            number=number,
            width=width,
            height=height,
            downsample_x=downsample(full_width, width),
            downsample_y=downsample(full_height, height),
        )
        for number, (width, height) in enumerate(sizes)
    )


def downsample(full: int, reduced: int) -> float:
    """Level-0 px per px of a level, along one axis.

    A level of floor(250 / 4) = 62 px has downsample 4 and has lost its last two columns; it does not have downsample
    4.03, which the ratio of the sizes would give and which would shift its far end by half a cell.

    Args:
        full: Size of level 0 in px.
        reduced: Size of the level in px.
    """
    nominal = max(1, round(full / reduced))
    return float(nominal) if reduced in {full // nominal, -(-full // nominal)} else full / reduced


def best_level(levels: Sequence[Level], scale: float) -> Level:
    """The coarsest level that is still as fine as `scale` level-0 px per pixel; level 0 if none is.

    Args:
        levels: Levels of a slide, finest first.
        scale: Level-0 px for each pixel to read.

    Returns:
        The level to read from.
    """
    fine_enough = [
        level for level in levels if max(level.downsample_x, level.downsample_y) <= scale * TOLERANCE
    ]
    return max(fine_enough, key=lambda level: level.downsample_x * level.downsample_y, default=levels[0])


@dataclass(frozen=True, slots=True)
class AxisSpan:
    """Output pixels along one axis, in px of a level.

    Attributes:
        start: Where the first one starts.
        step: Size of each.
        count: How many there are.
    """

    start: float
    step: float
    count: int

    @property
    def end(self) -> float:
        """Where the last output pixel ends."""
        return self.start + self.step * self.count

    @property
    def is_exact(self) -> bool:
        """Whether output pixels are pixels of the level, so that nothing needs resampling."""
        return (
            abs(self.start - round(self.start)) < SAME_PLACE_PX
            and abs(self.end - round(self.start) - self.count) < SAME_PLACE_PX
        )

    def source_range(self) -> tuple[int, int]:
        """First and one past the last pixel of the level that is needed; may be outside the level."""
        if self.is_exact:
            return round(self.start), round(self.start) + self.count
        # the triangle filter reaches one step beyond; one more pixel for rounding
        margin = max(1.0, self.step) + 1
        return math.floor(self.start - margin), math.ceil(self.end + margin)

    def relative_to(self, first: int) -> tuple[float, float]:
        """Start and end, counted from pixel `first` of the level; a hundredth of a pixel is no offset."""
        return (0.0, float(self.count)) if self.is_exact else (self.start - first, self.end - first)

    def split(self, max_px: int) -> list[tuple[int, "AxisSpan"]]:
        """Parts of at most `max_px` px of the level, each with the number of its first output pixel."""
        size = max(1, int(max_px / self.step))
        return [
            (first, AxisSpan(self.start + first * self.step, self.step, min(size, self.count - first)))
            for first in range(0, self.count, size)
        ]


# ---------------------------------------------------------------- the slide


class Slide:
    """An image too large for memory, of which any box can be read at any resolution.

    Reading is safe from several threads. A slide of a file is pickled by its path and opened again at first use.
    Use `histoscout.open_slide` to open a file.

    Args:
        source: The reader of its file.
        metadata: What is known of it.

    Example:
        >>> import numpy as np
        >>> from histoscout import Box
        >>> from histoscout.slides.image_reader import slide_from_array
        >>> slide = slide_from_array(np.full((600, 800, 3), 240, np.uint8), mpp=0.5)
        >>> slide.box
        Box(x=0, y=0, width=800, height=600)
        >>> slide.read(Box(100, 100, 400, 200), mpp=1.0).shape
        (100, 200, 3)
    """

    def __init__(self, source: SlideSource, metadata: SlideMetadata) -> None:
        self._source = source
        self._metadata = metadata
        self._levels = build_levels(source.level_sizes)
        self._origin = metadata.bounds or Box(0, 0, self._levels[0].width, self._levels[0].height)
        self._closed = False

    @property
    def name(self) -> str:
        """Its name: that of its file without the suffix."""
        return self._metadata.name

    @property
    def path(self) -> Path | None:
        """Its file; None for a slide in memory."""
        return self._metadata.path

    @property
    def series(self) -> int | None:
        """The number of the image in its file; None if the file has only one."""
        return self._metadata.series

    @property
    def box(self) -> Box:
        """The whole slide: (0, 0, width, height) in level-0 px."""
        return Box(0, 0, self._origin.width, self._origin.height)

    @property
    def scan_corner(self) -> tuple[float, float]:
        """The slide's origin in the scanner's own level 0, in px: (0, 0) unless the file states bounds."""
        bounds = self._metadata.bounds
        return (bounds.x, bounds.y) if bounds else (0.0, 0.0)

    @property
    def scan_size(self) -> tuple[int, int]:
        """Width and height of the scanner's own level 0, of which the slide may be a part."""
        return self._levels[0].width, self._levels[0].height

    @property
    def center_offset_um(self) -> tuple[float, float] | None:
        """Place of the scan's center from the center of the glass slide, in um; None if unknown."""
        return self._metadata.center_offset_um

    @property
    def file_mpp(self) -> float:
        """Resolution in um per level-0 px as the file states it, else as it was given."""
        return self._source.mpp or self.mpp

    @property
    def mpp(self) -> float:
        """Resolution in um per level-0 px."""
        return self._metadata.mpp

    @property
    def mpp_source(self) -> MppSource:
        """Where `mpp` comes from."""
        return self._metadata.mpp_source

    @property
    def vendor(self) -> str | None:
        """Scanner maker or format."""
        return self._metadata.vendor

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user, such as a resolution that contradicts the cohort table."""
        return self._metadata.notes

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """Width and height of each level, within the bounds of the slide; level 0 first."""
        if self._metadata.bounds is None:
            return tuple((level.width, level.height) for level in self._levels)
        width, height = self._origin.width, self._origin.height
        return tuple(
            (round(width / level.downsample_x), round(height / level.downsample_y)) for level in self._levels
        )

    def read(self, box: Box, mpp: float) -> NDArray[np.uint8]:
        """Read the pixels of a box at any resolution.

        Output pixel (i, j) shows the square of side `mpp` at (box.x + j * scale, box.y + i * scale), averaged without
        aliasing. Pixels whose centers are outside the slide are white. A pixel does not depend on the box that it is
        read with.

        Args:
            box: The box, in level-0 px.
            mpp: Resolution of the result, in um/px.

        Returns:
            RGB pixels, (H, W, 3) uint8, with H and W as `box.shape(mpp / slide.mpp)`.

        Raises:
            SlideError: The slide is closed, or the file is damaged there; the message names the box.
            ValueError: `mpp` is not positive.
        """
        if not mpp > 0:
            raise ValueError(f"a resolution is a positive number of um/px, not {mpp}")
        if self._closed:
            raise SlideError(self.path or self.name, "the slide has been closed", "Open it again to read it")

        # the part of the result that is on the slide; the rest stays white
        scale = mpp / self.mpp
        rows, columns = box.shape(scale)
        top, bottom = _pixels_inside(box.y, scale, rows, length=self._origin.height)
        left, right = _pixels_inside(box.x, scale, columns, length=self._origin.width)
        pixels = np.full((rows, columns, 3), WHITE, np.uint8)
        if top < bottom and left < right:
            # the same part in px of the best level
            level = best_level(self._levels, scale)
            x, y = self._origin.x + box.x + left * scale, self._origin.y + box.y + top * scale
            across = AxisSpan(x / level.downsample_x, scale / level.downsample_x, right - left)
            down = AxisSpan(y / level.downsample_y, scale / level.downsample_y, bottom - top)
            try:
                self._fill(pixels[top:bottom, left:right], level, (across, down))
            except SlideError as error:
                place = f"x={box.x:.10g}, y={box.y:.10g}, width={box.width:.10g}, height={box.height:.10g}"
                fault = f"the box {place} cannot be read: {error.fault}"
                raise SlideError(error.where, fault, error.remedy) from error
        return pixels

    def overview(self, longest: int = 1024) -> tuple[NDArray[np.uint8], float]:
        """Read the whole slide at a small size, never enlarged.

        Args:
            longest: Width or height of the result, at most.

        Returns:
            RGB pixels, (H, W, 3) uint8, and their um/px.
        """
        mpp = self.mpp * max(1.0, self.box.width / longest, self.box.height / longest)
        return self.read(self.box, mpp), mpp

    def close(self) -> None:
        """Release the file; reading afterwards raises SlideError."""
        self._closed = True
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<slide {self.name}, {self.box.width:g} x {self.box.height:g} px, {self.mpp:g} um/px>"

    def _fill(self, canvas: NDArray[np.uint8], level: Level, spans: tuple[AxisSpan, AxisSpan]) -> None:
        """Fill the canvas part by part, so that memory stays bounded where the file has no small level."""
        across, down = spans
        for i, rows in down.split(MAX_READ_SIDE):
            for j, columns in across.split(MAX_READ_SIDE):
                canvas[i : i + rows.count, j : j + columns.count] = self._resample(level, columns, rows)

    def _resample(self, level: Level, across: AxisSpan, down: AxisSpan) -> NDArray[np.uint8]:
        (x0, x1), (y0, y1) = across.source_range(), down.source_range()
        pixels = self._read_padded(level, (x0, y0, x1, y1))
        if across.is_exact and down.is_exact:
            return pixels
        (left, right), (top, bottom) = across.relative_to(x0), down.relative_to(y0)
        size = (across.count, down.count)
        return np.asarray(
            Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom))
        )

    def _read_padded(self, level: Level, bounds: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Pixels of a level in (x0, y0, x1, y1); beyond its edge the edge is repeated."""
        x0, y0, x1, y1 = bounds
        # at least one pixel: a level may end a fraction of a pixel before the slide does
        left, right = min(max(x0, 0), level.width - 1), max(min(x1, level.width), 1)
        top, bottom = min(max(y0, 0), level.height - 1), max(min(y1, level.height), 1)
        pixels = self._source.read_level(level.number, x=left, y=top, width=right - left, height=bottom - top)
        if (left, top, right, bottom) == bounds:
            return pixels
        rows = np.clip(np.arange(y0, y1) - top, 0, pixels.shape[0] - 1)
        columns = np.clip(np.arange(x0, x1) - left, 0, pixels.shape[1] - 1)
        return pixels[rows[:, None], columns[None, :]]


def _pixels_inside(start: float, scale: float, count: int, *, length: float) -> tuple[int, int]:
    """The range of output pixels whose centers are in [0, length)."""
    centers = start + (np.arange(count) + 0.5) * scale
    first, last = np.searchsorted(centers, [0.0, length])
    return int(first), int(last)
