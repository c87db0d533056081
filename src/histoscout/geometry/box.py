"""Rectangles on a slide, and regular grids of tiles over them."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, Self, overload


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a slide, in level-0 px (fractions allowed).

    The origin is the top left corner of the image as QuPath shows it, x to the right and y down. The box covers
    [x, x + width) and [y, y + height).

    Attributes:
        x: Left edge.
        y: Top edge.
        width: Width.
        height: Height.

    Example:
        >>> from histoscout import Box
        >>> box = Box(100, 50, 400, 200)
        >>> box.center
        (300.0, 150.0)
        >>> box.shape(scale=4)
        (50, 100)
        >>> box.intersection(Box(0, 0, 200, 100))
        Box(x=100, y=50, width=100, height=50)
    """

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> Self:
        """The box of this size centered on (x, y)."""
        return cls(x - width / 2, y - height / 2, width, height)

    @property
    def right(self) -> float:
        """Right edge, not part of the box."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Bottom edge, not part of the box."""
        return self.y + self.height

    @property
    def center(self) -> tuple[float, float]:
        """The center (x, y)."""
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self) -> float:
        """Area in square level-0 px."""
        return self.width * self.height

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom, in the order that shapely uses."""
        return self.x, self.y, self.right, self.bottom

    def shape(self, scale: float) -> tuple[int, int]:
        """Rows and columns of an image of this box.

        Args:
            scale: Level-0 px per pixel of the image.

        Returns:
            (rows, columns), at least one of each.
        """
        return max(1, round(self.height / scale)), max(1, round(self.width / scale))

    def translate(self, dx: float, dy: float) -> "Box":
        """The box moved by (dx, dy)."""
        return Box(self.x + dx, self.y + dy, self.width, self.height)

    def expand(self, margin: float) -> "Box":
        """The box with `margin` added on each side (removed if negative)."""
        return Box(self.x - margin, self.y - margin, self.width + 2 * margin, self.height + 2 * margin)

    def intersection(self, other: "Box") -> "Box | None":
        """What both boxes cover; None if they are disjoint or only touch."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        width, height = min(self.right, other.right) - x, min(self.bottom, other.bottom) - y
        return Box(x, y, width, height) if width > 0 and height > 0 else None

    def contains(self, other: "Box") -> bool:
        """Whether all of the other box is in this one."""
        return (
            self.x <= other.x
            and self.y <= other.y
            and self.right >= other.right
            and self.bottom >= other.bottom
        )


Overflow = Literal["keep", "drop"]


@dataclass(frozen=True)
class TileGrid(Sequence[Box]):
    """The square tiles of one size that cover a box, row by row.

    Attributes:
        box: The box that is tiled, in level-0 px.
        side: Side of a tile, in level-0 px.
        stride: Distance from one tile to the next, in level-0 px; at most `side`.
        overflow: With "keep", the last row and column extend beyond the box, so that every point is covered.
            With "drop", incomplete tiles are left out.

    Raises:
        ValueError: Not 0 < stride <= side.

    Example:
        >>> from histoscout import Box, TileGrid
        >>> grid = TileGrid(Box(0, 0, 1000, 600), side=256, stride=256)
        >>> grid.rows, grid.columns, len(grid)
        (3, 4, 12)
        >>> grid[5]
        Box(x=256, y=256, width=256, height=256)
    """

    box: Box
    side: float
    stride: float
    _: KW_ONLY
    overflow: Overflow = "keep"

    def __post_init__(self) -> None:
        if self.side <= 0 or self.stride <= 0 or self.stride > self.side:
            raise ValueError(f"a grid needs 0 < stride <= side, got side {self.side}, stride {self.stride}")

    @property
    def columns(self) -> int:
        """How many tiles there are in a row."""
        return self._count(self.box.width)

    @property
    def rows(self) -> int:
        """How many rows of tiles there are."""
        return self._count(self.box.height)

    def _count(self, length: float) -> int:
        # a billionth of a stride is a rounding error, not a tile
        steps = (length - self.side) / self.stride
        if self.overflow == "drop":
            return max(0, math.floor(steps + 1e-9) + 1)
        return max(1, math.ceil(steps - 1e-9) + 1)

    def __len__(self) -> int:
        return self.rows * self.columns

    def tile_at(self, row: int, column: int) -> Box:
        """The tile in this row and column, both counted from 0."""
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
        return self.tile_at(*divmod(index % len(self), self.columns))
