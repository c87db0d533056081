"""Which windows of a slide are looked at, and how.

The ways to lay a window on the table: mirrored and turned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.geometry.box import Box, TileGrid
from histoscout.geometry.regions import Regions
from histoscout.hardware import usable_cores
from histoscout.recipe import Recipe
from histoscout.slides.slide import Slide
from histoscout.tissue.mask import Tissue

LEAST_TISSUE = 0.01
"""Share of a window, as far as it lies on the slide, that must be tissue for it to be worth a look."""

MOST_READERS = 8


@dataclass(frozen=True)
class WindowPlan:
    """How windows are looked at.

    `mpp` in um/px, `side_px` and `stride_px` at that resolution, `batch` windows at a time, `flips` views
    of each averaged. `readers` threads read ahead of the network; results do not depend on how many. A
    heatmap that is too large for memory lies in an unnamed file in the folder `scratch` (None: the
    system's).
    """

    mpp: float
    side_px: int
    stride_px: int
    batch: int = 4
    flips: int = 1
    readers: int = 2
    scratch: Path | None = None

    @classmethod
    def of(cls, recipe: Recipe, readers: int | None = None, scratch: Path | None = None) -> Self:
        """The plan that a recipe's choices mean."""
        choices, side = recipe.detection, recipe.patch_px
        return cls(
            mpp=recipe.patches.mpp,
            side_px=side,
            stride_px=max(1, round(side * (1 - choices.overlap))),
            batch=choices.batch_size,
            flips=choices.tta_views,
            readers=readers or min(MOST_READERS, usable_cores()),
            scratch=scratch,
        )


def detection_windows(
    slide: Slide, tissue: Tissue, recipe: Recipe, within: Regions | None = None
) -> list[Box]:
    """The windows that show tissue, row by row, in level-0 px; the last ones reach beyond the slide.

    With `within`, only those that meet one of these regions.
    """
    plan = WindowPlan.of(recipe)
    scale = plan.mpp / slide.mpp
    grid = TileGrid(slide.box, plan.side_px * scale, plan.stride_px * scale)
    worth = tissue.fractions(grid) >= LEAST_TISSUE * _on_slide(grid, slide.box)
    if within is not None:
        worth &= _touching(within, grid)
    return [grid[int(index)] for index in np.flatnonzero(worth)]


def _on_slide(boxes: Sequence[Box], slide: Box) -> NDArray[np.float64]:
    """Which share of each box lies on the slide: float64 (N,)."""
    left, top, right, bottom = np.array([box.bounds for box in boxes], np.float64).reshape(-1, 4).T
    width = np.minimum(right, slide.right) - np.maximum(left, slide.x)
    height = np.minimum(bottom, slide.bottom) - np.maximum(top, slide.y)
    return np.asarray(width.clip(0) * height.clip(0) / ((right - left) * (bottom - top)))


def _touching(regions: Regions, boxes: Sequence[Box]) -> NDArray[np.bool_]:
    """Whether each box meets a region: bool (N,)."""
    touched = np.zeros(len(boxes), bool)
    if len(regions):
        tree = shapely.STRtree([region.outline for region in regions])
        bounds = np.array([box.bounds for box in boxes])
        touched[tree.query(shapely.box(*bounds.T), predicate="intersects")[0]] = True
    return touched


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
