"""The only rectangle."""

from dataclasses import dataclass
from typing import Self


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
    def centre(self) -> tuple[float, float]:
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
