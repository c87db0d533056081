"""The smaller copies of a slide that its file holds: which one to read, and what to read of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
