"""Where findings on a slide are judged: a slide's outlines and its tissue, without its pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from histoscout.cohort.annotated_slide import LabeledSlide, Layers, counted_tissue, layers_of
from histoscout.detection.heatmap import LEVELS, Heatmap
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from histoscout.geometry.regions import Regions
from histoscout.recipe import IGNORE, Recipe
from histoscout.tissue.mask import Tissue

STRIP = 512
"""About how many rows of pixels are compared at once: memory stays bounded on any slide."""


@dataclass(frozen=True)
class Ground:
    """One slide's truth: whose it is, its regions in the recipe's words, its tissue, um per level-0 px.

    The tissue's box is the slide's. Made of a slide and its outlines, or of outlines alone.
    """

    name: str
    patient: str
    regions: Regions
    tissue: Tissue
    mpp: float
    recipe: Recipe

    @classmethod
    def of(cls, labeled: LabeledSlide) -> Self:
        """The truth of an opened slide."""
        slide = labeled.slide
        return cls(slide.name, labeled.patient, labeled.regions, labeled.tissue, slide.mpp, labeled.recipe)

    @property
    def box(self) -> Box:
        return self.tissue.box

    @cached_property
    def positive(self) -> Regions:
        """The regions that are looked for."""
        return self.regions.labeled(self.recipe.classes.positive)

    @cached_property
    def ignored(self) -> Regions:
        """The areas that count neither for nor against."""
        return self.regions.labeled("ignore")

    @cached_property
    def counted_mm2(self) -> float:
        """Tissue that is not to be ignored, mm2: false alarms are counted per area of this."""
        seen = max(1, int(self.tissue.mask.sum()))
        return self.tissue.area_mm2 * int(counted_tissue(self.tissue, self.regions).sum()) / seen

    @cached_property
    def annotated(self) -> Regions:
        """Every region of any class, also of those that the recipe does not name; ignored areas are none."""
        return self.regions.where(lambda region: region.label != "ignore")

    @cached_property
    def unlisted(self) -> Regions:
        """Regions of classes that the recipe does not name; masks show them as background."""
        listed = (*self.recipe.classes.labels, "ignore")
        return self.regions.where(lambda region: region.label not in listed)

    @cached_property
    def layers(self) -> Layers:
        return layers_of(self.regions, self.recipe.classes)


@dataclass(frozen=True)
class Strip:
    """Some rows of a slide, from side to side: what was found there, what was drawn, what counts.

    `levels` uint8 (h, w) are 0..255 of the positive class; `mask` uint8 (h, w) as `LabelledSlide.mask` gives it;
    `counted` bool (h, w): tissue that is not to be ignored. `box` in level-0 px.
    """

    box: Box
    levels: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    counted: NDArray[np.bool_]


class Found(Protocol):
    """What was found on a slide, as levels 0..255 of each pixel of a raster over the slide's box."""

    @property
    def mpp(self) -> float:
        """Um per pixel of the raster."""
        ...

    def rows(self, box: Box, top: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """The levels inside a box whose first row is the raster's row `top`: uint8 of that shape."""
        ...


@dataclass(frozen=True)
class FoundHeatmap:
    """A heatmap; its cells are shown as several pixels each where a network answers for whole tiles."""

    heatmap: Heatmap
    label: str
    window_mpp: float

    @property
    def finer(self) -> int:
        """Pixels along the side of a cell."""
        return max(1, round(self.heatmap.mpp / self.window_mpp))

    @property
    def mpp(self) -> float:
        return self.heatmap.mpp / self.finer

    def rows(self, box: Box, top: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
        levels = self.heatmap.levels(self.label)
        if self.finer == 1:
            return np.ascontiguousarray(levels[top : top + shape[0]])
        # the last cells may end a little before the slide does: they answer for that, too
        row, column = (
            np.minimum((start + np.arange(count)) // self.finer, limit - 1)
            for start, count, limit in zip((top, 0), shape, levels.shape, strict=True)
        )
        return np.ascontiguousarray(levels[np.ix_(row, column)])


@dataclass(frozen=True)
class FoundRegions:
    """Outlines without a heatmap: certain inside, nothing outside."""

    regions: Regions
    mpp: float
    scale: float

    def rows(self, box: Box, top: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
        return label_map(((self.regions, LEVELS - 1),), box, self.scale)


def strips(ground: Ground, found: Found, multiple: int = 1) -> Iterator[Strip]:
    """Lay what was found over what was drawn, strip by strip from the top.

    Every strip but the last has a number of rows that is a multiple of `multiple`.
    """
    scale = found.mpp / ground.mpp
    rows, columns = ground.box.shape(scale)
    step = multiple * max(1, round(STRIP / multiple))
    for top in range(0, rows, step):
        shape = (min(step, rows - top), columns)
        box = Box(ground.box.x, ground.box.y + top * scale, columns * scale, shape[0] * scale)
        mask = label_map(ground.layers, box, scale)
        counted = ground.tissue.mask_of(box, scale) & (mask != IGNORE)
        yield Strip(box, found.rows(box, top, shape), mask, counted)
