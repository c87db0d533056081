"""The ways to lay a window on the table: mirrored and turned."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Pixels = TypeVar("Pixels", bound=np.generic)


@dataclass(frozen=True)
class View:
    """Swap rows and columns, then turn upside down, then left to right."""

    swapped: bool = False
    upside_down: bool = False
    mirrored: bool = False

    @property
    def back(self) -> "View":
        """The view that undoes this one."""
        if self.swapped:
            return View(True, self.mirrored, self.upside_down)
        return self


def views_of(count: int) -> tuple[View, ...]:
    """The first 1, 2, 4 or 8 views: as is, mirrored, upside down, turned."""
    every = [View(s, u, m) for s in (False, True) for u in (False, True) for m in (False, True)]
    return tuple(every[:count])


def there(images: NDArray[Pixels], view: View) -> NDArray[Pixels]:
    """Images (N, H, W, C) seen that way, H and W alike if rows and columns are swapped."""
    if view == View():
        return images
    seen = images.swapaxes(1, 2) if view.swapped else images
    rows = slice(None, None, -1) if view.upside_down else slice(None)
    columns = slice(None, None, -1) if view.mirrored else slice(None)
    return np.ascontiguousarray(seen[:, rows, columns])
