"""The windows of a slide that detection examines, and the flipped and turned views of TTA."""

import math
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
from histoscout.slides.scale import check_enlargement, check_window_count
from histoscout.slides.slide import Slide
from histoscout.tissue.mask import Tissue

MIN_TISSUE = 0.01
"""Share of a window, as far as it is on the slide, that must be tissue for it to be examined."""

MAX_CELLS = 32
"""Cells along the side of a tile classifier's window at most, unless its side has no such divisor."""

MAX_READERS = 8
"""Threads that read windows at most."""


@dataclass(frozen=True, kw_only=True)
class WindowPlan:
    """How windows are read and predicted.

    Attributes:
        mpp: Resolution in um/px.
        side_px: Side of a window at that resolution.
        stride_px: Distance of neighboring windows.
        batch: Windows in a batch.
        views: TTA views of each window that are averaged.
        readers: Threads that read ahead of the network; results do not depend on it.
        scratch: Folder for heatmaps that are too large for memory; None for the system's.
    """

    mpp: float
    side_px: int
    stride_px: int
    batch: int = 4
    views: int = 1
    readers: int = 2
    scratch: Path | None = None

    @classmethod
    def of(cls, recipe: Recipe, readers: int | None = None, scratch: Path | None = None) -> Self:
        """The plan of a recipe."""
        choices, side = recipe.detection, recipe.patch_px
        return cls(
            mpp=recipe.patches.mpp,
            side_px=side,
            stride_px=max(1, round(side * (1 - choices.overlap))),
            batch=choices.batch_size,
            views=choices.tta_views,
            readers=readers or min(MAX_READERS, usable_cores()),
            scratch=scratch,
        )

    @property
    def cell_px(self) -> int:
        """Side of a heatmap's cell of a tile classifier, at the resolution of the windows.

        Cells divide the window, and the stride too where 32 cells or fewer are enough for that. Else there are at least
        32, so that an output is at most 1/64 of a window away from where the window is.
        """
        common = math.gcd(self.side_px, self.stride_px)
        if self.side_px // common <= MAX_CELLS:
            return common
        return next(
            self.side_px // count
            for count in range(min(MAX_CELLS, self.side_px), self.side_px + 1)
            if self.side_px % count == 0
        )


def detection_windows(
    slide: Slide, tissue: Tissue, recipe: Recipe, within: Regions | None = None
) -> list[Box]:
    """List the windows that show tissue.

    Args:
        slide: The slide.
        tissue: Its tissue.
        recipe: Resolution, side and overlap.
        within: Only windows that meet one of these regions; None for all.

    Returns:
        Windows in level-0 px, row by row; the last ones reach beyond the slide.

    Raises:
        SlideError: The slide is far too coarse for the recipe, or would have too many windows.
    """
    plan = WindowPlan.of(recipe)
    where = slide.path or slide.name
    check_enlargement(where, slide.mpp, plan.mpp, "the model (patches.mpp)")
    scale = plan.mpp / slide.mpp
    grid = TileGrid(slide.box, plan.side_px * scale, plan.stride_px * scale)
    check_window_count(where, len(grid))
    # windows at the slide's edge need the same share of what is on the slide
    shown = tissue.fractions(grid) >= MIN_TISSUE * _on_slide(grid, slide.box)
    if within is not None:
        shown &= _touching(within, grid)
    return [grid[int(index)] for index in np.flatnonzero(shown)]


def _on_slide(boxes: Sequence[Box], slide: Box) -> NDArray[np.float64]:
    """The share of each box that is on the slide: float64 (N,)."""
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
class TtaView:
    """A TTA view: rows and columns swapped, then flipped vertically, then horizontally.

    Attributes:
        swapped: Rows and columns are swapped.
        flipped: Top and bottom are flipped.
        mirrored: Left and right are flipped.
    """

    swapped: bool = False
    flipped: bool = False
    mirrored: bool = False

    @property
    def inverse(self) -> "TtaView":
        """The view that undoes this one."""
        if self.swapped:
            return TtaView(True, self.mirrored, self.flipped)
        return self


def tta_views(count: int) -> tuple[TtaView, ...]:
    """The first views of test-time augmentation: as is, mirrored, flipped, turned.

    Args:
        count: 1, 2, 4 or 8.

    Returns:
        The views.
    """
    every = [TtaView(s, u, m) for s in (False, True) for u in (False, True) for m in (False, True)]
    return tuple(every[:count])


def apply_view(images: NDArray[Pixels], view: TtaView) -> NDArray[Pixels]:
    """Flip and turn images.

    Args:
        images: (N, H, W, C), with H = W if rows and columns are swapped.
        view: The view.

    Returns:
        (N, H, W, C).
    """
    if view == TtaView():
        return images
    turned = images.swapaxes(1, 2) if view.swapped else images
    rows = slice(None, None, -1) if view.flipped else slice(None)
    columns = slice(None, None, -1) if view.mirrored else slice(None)
    return np.ascontiguousarray(turned[:, rows, columns])
