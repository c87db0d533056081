"""The only rectangle.

A regular grid of tiles over a box: arithmetic, no pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, overload


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a slide.

    In level-0 pixels (fractions allowed), x to the right, y down, origin at the top left of the image as
    QuPath shows it. The box covers [x, x + width) and [y, y + height).
    """

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> Self:
        """The box of this size centred on (x, y)."""
        return cls(x - width / 2, y - height / 2, width, height)

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def center(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self) -> float:
        return self.width * self.height

    def shape(self, scale: float) -> tuple[int, int]:
        """Rows and columns of this box drawn at `scale` level-0 px per pixel (at least one of each)."""
        return max(1, round(self.height / scale)), max(1, round(self.width / scale))

    def moved(self, dx: float, dy: float) -> "Box":
        return Box(self.x + dx, self.y + dy, self.width, self.height)

    def grown(self, margin: float) -> "Box":
        """The box with `margin` added on each side (taken away if negative)."""
        return Box(self.x - margin, self.y - margin, self.width + 2 * margin, self.height + 2 * margin)

    def intersection(self, other: "Box") -> "Box | None":
        """What both boxes cover, or None if they only touch or lie apart."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        width, height = min(self.right, other.right) - x, min(self.bottom, other.bottom) - y
        return Box(x, y, width, height) if width > 0 and height > 0 else None

    def contains(self, other: "Box") -> bool:
        return (
            self.x <= other.x
            and self.y <= other.y
            and self.right >= other.right
            and self.bottom >= other.bottom
        )

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom, as shapely orders them."""
        return self.x, self.y, self.right, self.bottom


Overflow = Literal["keep", "drop"]


@dataclass(frozen=True)
class TileGrid(Sequence[Box]):
    """The tiles of one size that cover a box, row by row.

    `side` and `stride` in level-0 px, square tiles. With `overflow="keep"` the last row and column reach beyond
    the box, so that every point is covered; with "drop" incomplete tiles are left out (the study's grid).
    """

    box: Box
    side: float
    stride: float
    overflow: Overflow = "keep"

    def __post_init__(self) -> None:
        if self.side <= 0 or self.stride <= 0 or self.stride > self.side:
            raise ValueError(f"a grid needs 0 < stride <= side, got side {self.side}, stride {self.stride}")

    @property
    def columns(self) -> int:
        return self._count(self.box.width)

    @property
    def rows(self) -> int:
        return self._count(self.box.height)

    def _count(self, length: float) -> int:
        # a billionth of a stride is rounding, not a tile
        steps = (length - self.side) / self.stride
        if self.overflow == "drop":
            return max(0, math.floor(steps + 1e-9) + 1)
        return max(1, math.ceil(steps - 1e-9) + 1)

    def __len__(self) -> int:
        return self.rows * self.columns

    def at(self, row: int, column: int) -> Box:
        return Box(self.box.x + column * self.stride, self.box.y + row * self.stride, self.side, self.side)

    @overload
    def __getitem__(self, index: int) -> Box: ...
    @overload
    def __getitem__(self, index: slice) -> list[Box]: ...
    def __getitem__(self, index: int | slice) -> Box | list[Box]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.at(*divmod(index % len(self), self.columns))
