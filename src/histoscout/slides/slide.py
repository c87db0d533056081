"""A slide: an image too large to hold, of which any box can be read at any resolution.

The smaller copies of a slide that its file holds: which one to read, and what to read of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoscout.errors import SlideError
from histoscout.geometry.box import Box

# A level up to 1 % coarser than asked for is taken: "0.5 um/px" on a scanner with 0.2505 means its second
# level, and enlarging by 1 % loses nothing that reading four times as many pixels would bring back.
TOLERANCE = 1.01

# Pixels nearer than this to the wanted place are the wanted pixels: no resampling for a hundredth of a pixel.
SAME_PLACE = 0.01


@dataclass(frozen=True, slots=True)
class Level:
    """One copy: its number, size in its own pixels, and how many level-0 px each of them spans (x, y)."""

    number: int
    width: int
    height: int
    down_x: float
    down_y: float


def levels_of(sizes: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
    """The levels with their downsamples, from their sizes (width, height; level 0 first)."""
    width, height = sizes[0]
    return tuple(
        Level(number, w, h, downsample(width, w), downsample(height, h))
        for number, (w, h) in enumerate(sizes)
    )


def downsample(full: int, reduced: int) -> float:
    """Level-0 px per level px along one axis.

    A level of floor(250 / 4) = 62 px is a level of downsample 4 whose last two columns were dropped, not one
    of 4.03: taking the ratio of the sizes would shift its far end by half a cell.
    """
    nominal = max(1, round(full / reduced))
    return float(nominal) if reduced in {full // nominal, -(-full // nominal)} else full / reduced


def best_level(levels: Sequence[Level], scale: float) -> Level:
    """The coarsest level that is still as fine as `scale` level-0 px per pixel; level 0 if none is."""
    fine_enough = [level for level in levels if max(level.down_x, level.down_y) <= scale * TOLERANCE]
    return max(fine_enough, key=lambda level: level.down_x * level.down_y, default=levels[0])


@dataclass(frozen=True, slots=True)
class Span:
    """A row of output pixels along one axis, in level px: where it starts, how wide each is, how many."""

    start: float
    step: float
    count: int

    @property
    def end(self) -> float:
        return self.start + self.step * self.count

    @property
    def exact(self) -> bool:
        """Whether output pixels and level pixels are the same ones."""
        return (
            abs(self.start - round(self.start)) < SAME_PLACE
            and abs(self.end - round(self.start) - self.count) < SAME_PLACE
        )

    def needed(self) -> tuple[int, int]:
        """First and one past the last level pixel that the output depends on; may lie outside the level."""
        if self.exact:
            return round(self.start), round(self.start) + self.count
        margin = (
            max(1.0, self.step) + 1
        )  # the triangle filter reaches one step beyond; one more against rounding
        return math.floor(self.start - margin), math.ceil(self.end + margin)

    def among(self, first: int) -> tuple[float, float]:
        """Where it begins and ends among level pixels read from `first` on; a hundredth of a pixel is no offset."""
        return (0.0, float(self.count)) if self.exact else (self.start - first, self.end - first)

    def parts(self, most: int) -> list[tuple[int, "Span"]]:
        """The span in pieces of at most `most` level px, each with the number of its first output pixel."""
        size = max(1, int(most / self.step))
        return [
            (first, Span(self.start + first * self.step, self.step, min(size, self.count - first)))
            for first in range(0, self.count, size)
        ]


MppSource = Literal["metadata", "cohort", "annotations", "given"]
WHITE = 255

# Longest side of what is read of a level at once: 48 MB as RGB, whatever is asked for.
MOST_AT_ONCE = 4096


class SlideSource(Protocol):
    """What a file format must be able to do; `Slide` does the rest.

    `mpp` is the um per level-0 px that the file states, or None. `level_sizes` are width and height, level 0
    first. `read_level` gives uint8 RGB (height, width, 3); it is only asked for pixels inside the level, may
    be called from several threads, and raises SlideError. Sources pickle; those of files do so by their path.
    """

    @property
    def mpp(self) -> float | None: ...
    @property
    def level_sizes(self) -> Sequence[tuple[int, int]]: ...
    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class About:
    """What is known of a slide besides its pixels.

    `mpp` in um per level-0 px and who said so. `bounds` is the part of level 0 that was scanned, where the
    file states it: its corner is the slide's origin, as in QuPath. `notes` are for the user to see.
    """

    name: str
    mpp: float
    mpp_source: MppSource = "given"
    path: Path | None = None
    vendor: str | None = None
    bounds: Box | None = None
    notes: tuple[str, ...] = ()


class Slide:
    """An image too large to hold, of which any box can be read at any resolution.

    Reading is safe from several threads. A slide of a file pickles by its path and is opened again at first
    use.
    """

    def __init__(self, source: SlideSource, about: About) -> None:
        self._source, self._about = source, about
        self._levels = levels_of(source.level_sizes)
        self._origin = about.bounds or Box(0, 0, self._levels[0].width, self._levels[0].height)
        self._closed = False

    @property
    def name(self) -> str:
        return self._about.name

    @property
    def path(self) -> Path | None:
        return self._about.path

    @property
    def box(self) -> Box:
        """The whole slide: (0, 0, width, height) in level-0 px."""
        return Box(0, 0, self._origin.width, self._origin.height)

    @property
    def scan_corner(self) -> tuple[float, float]:
        """Where the slide's origin lies in the scanner's own level 0, in px: (0, 0) unless the file states bounds."""
        return (self._about.bounds.x, self._about.bounds.y) if self._about.bounds else (0.0, 0.0)

    @property
    def scan_size(self) -> tuple[int, int]:
        """Width and height of the scanner's own level 0, of which the slide may be a part."""
        return self._levels[0].width, self._levels[0].height

    @property
    def mpp(self) -> float:
        """How many um a level-0 pixel spans."""
        return self._about.mpp

    @property
    def mpp_source(self) -> MppSource:
        return self._about.mpp_source

    @property
    def vendor(self) -> str | None:
        return self._about.vendor

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how this slide was understood."""
        return self._about.notes

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """Width and height of each copy that the file holds, level 0 first."""
        if self._about.bounds is None:
            return tuple((level.width, level.height) for level in self._levels)
        width, height = self._origin.width, self._origin.height
        return tuple((round(width / level.down_x), round(height / level.down_y)) for level in self._levels)

    def read(self, box: Box, mpp: float) -> NDArray[np.uint8]:
        """The pixels of a box at `mpp` um/px: uint8 RGB (H, W, 3), H and W as `box.shape(mpp / slide.mpp)`.

        Output pixel (i, j) shows the square of side `mpp` at box.x + j * scale, box.y + i * scale, averaged so
        that nothing aliases. Pixels whose centre lies outside the slide are white. What a pixel shows does
        not depend on the box that it was read with. Raises SlideError naming the box where the file is spoilt.
        """
        if not mpp > 0:
            raise ValueError(f"a resolution is a positive number of um/px, not {mpp}")
        if self._closed:
            raise SlideError(self.path or self.name, "the slide has been closed", "Open it again to read it")
        scale = mpp / self.mpp
        rows, columns = box.shape(scale)
        top, bottom = _centres_inside(box.y, scale, rows, self._origin.height)
        left, right = _centres_inside(box.x, scale, columns, self._origin.width)
        pixels = np.full((rows, columns, 3), WHITE, np.uint8)
        if top < bottom and left < right:
            level = best_level(self._levels, scale)
            x, y = self._origin.x + box.x + left * scale, self._origin.y + box.y + top * scale
            across = Span(x / level.down_x, scale / level.down_x, right - left)
            down = Span(y / level.down_y, scale / level.down_y, bottom - top)
            try:
                self._draw(level, across, down, pixels[top:bottom, left:right])
            except SlideError as error:
                place = f"x={box.x:.10g}, y={box.y:.10g}, width={box.width:.10g}, height={box.height:.10g}"
                raise SlideError(error.where, f"the box {place} {error.fault}", error.remedy) from error
        return pixels

    def overview(self, longest: int = 1024) -> tuple[NDArray[np.uint8], float]:
        """The whole slide at most `longest` px wide or high, never enlarged: the pixels and their mpp."""
        mpp = self.mpp * max(1.0, self.box.width / longest, self.box.height / longest)
        return self.read(self.box, mpp), mpp

    def close(self) -> None:
        """Let go of the file; reading afterwards raises SlideError."""
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

    def _draw(self, level: Level, across: Span, down: Span, canvas: NDArray[np.uint8]) -> None:
        """Fill the canvas piece by piece, so that memory stays bounded where the file holds no small copy."""
        for i, rows in down.parts(MOST_AT_ONCE):
            for j, columns in across.parts(MOST_AT_ONCE):
                canvas[i : i + rows.count, j : j + columns.count] = self._resampled(level, columns, rows)

    def _resampled(self, level: Level, across: Span, down: Span) -> NDArray[np.uint8]:
        (x0, x1), (y0, y1) = across.needed(), down.needed()
        pixels = self._level_pixels(level, x0, y0, x1, y1)
        if across.exact and down.exact:
            return pixels
        (left, right), (top, bottom) = across.among(x0), down.among(y0)
        size = (across.count, down.count)
        return np.asarray(
            Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom))
        )

    def _level_pixels(self, level: Level, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        """Pixels of a level; beyond its rim the rim is repeated, so that filters see no false edge there."""
        # at least one pixel: a level may end a fraction of a pixel before the slide does
        left, right = min(max(x0, 0), level.width - 1), max(min(x1, level.width), 1)
        top, bottom = min(max(y0, 0), level.height - 1), max(min(y1, level.height), 1)
        pixels = self._source.read_level(level.number, left, top, right - left, bottom - top)
        if (left, top, right, bottom) == (x0, y0, x1, y1):
            return pixels
        return _repeated(pixels, (x0, y0, x1, y1), (left, top))


def _centres_inside(start: float, scale: float, count: int, length: float) -> tuple[int, int]:
    """The range of output pixels whose centres lie in [0, length)."""
    centers = start + (np.arange(count) + 0.5) * scale
    first, last = np.searchsorted(centers, [0.0, length])
    return int(first), int(last)


def _repeated(
    pixels: NDArray[np.uint8], wanted: tuple[int, int, int, int], corner: tuple[int, int]
) -> NDArray[np.uint8]:
    """The range (x0, y0, x1, y1) of an image whose first pixel stands at `corner`, its rim repeated."""
    x0, y0, x1, y1 = wanted
    rows = np.clip(np.arange(y0, y1) - corner[1], 0, pixels.shape[0] - 1)
    columns = np.clip(np.arange(x0, x1) - corner[0], 0, pixels.shape[1] - 1)
    return pixels[rows[:, None], columns[None, :]]
