"""A regular grid of tiles over a box: arithmetic, no pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, overload

from histoscout.geometry.box import Box

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
