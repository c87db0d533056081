"""The reference of a slide: annotations and tissue, beside predictions strip by strip."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from histoscout.cohort.annotated_slide import LabeledSlide, Layers, counted_tissue, mask_layers
from histoscout.detection.heatmap import LEVELS, Heatmap
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from histoscout.geometry.regions import Regions
from histoscout.recipe import IGNORE, Recipe
from histoscout.tissue.mask import Tissue

STRIP_ROWS = 512
"""About how many rows of pixels are compared at once: memory stays bounded on any slide."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The reference standard of one slide: annotations in the recipe's classes, and tissue.

    It needs no slide file: annotations and a tissue mask are enough.

    Attributes:
        name: Name of the slide.
        patient: The patient of the slide.
        regions: The annotations in level-0 px, with the class names of the recipe.
        tissue: The tissue; its box is that of the slide.
        mpp: um per level-0 px.
        recipe: The recipe: classes, patches and tissue.
    """

    name: str
    patient: str
    regions: Regions
    tissue: Tissue
    mpp: float
    recipe: Recipe

    @classmethod
    def from_slide(cls, labeled: LabeledSlide) -> Self:
        """Take the reference of an opened slide.

        Args:
            labeled: The slide with its annotations and tissue.

        Returns:
            The reference, which needs the slide no more.
        """
        return cls(
            name=labeled.slide.name,
            patient=labeled.patient,
            regions=labeled.regions,
            tissue=labeled.tissue,
            mpp=labeled.slide.mpp,
            recipe=labeled.recipe,
        )

    @property
    def box(self) -> Box:
        """The slide in level-0 px."""
        return self.tissue.box

    @cached_property
    def positive(self) -> Regions:
        """The annotations of the positive class."""
        return self.regions.with_labels(self.recipe.classes.positive)

    @cached_property
    def ignored(self) -> Regions:
        """The areas to be ignored."""
        return self.regions.with_labels("ignore")

    @cached_property
    def evaluated_mm2(self) -> float:
        """Tissue that is not ignored, mm2: false positives are counted per area of this."""
        tissue_cells = max(1, int(self.tissue.mask.sum()))
        evaluated_cells = int(counted_tissue(self.tissue, self.regions).sum())
        return self.tissue.area_mm2 * evaluated_cells / tissue_cells

    @cached_property
    def annotated(self) -> Regions:
        """Annotations of any class, even if the recipe does not name it; without ignored areas."""
        return self.regions.where(lambda region: region.label != "ignore")

    @cached_property
    def unlisted(self) -> Regions:
        """Annotations of classes that the recipe does not name; they are background in masks."""
        listed = (*self.recipe.classes.labels, "ignore")
        return self.regions.where(lambda region: region.label not in listed)

    @cached_property
    def mask_layers(self) -> Layers:
        """The annotations as layers of a mask."""
        return mask_layers(self.regions, self.recipe.classes)


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Some rows of a slide, over its whole width: predictions beside the reference mask.

    Attributes:
        box: The strip in level-0 px.
        levels: Predicted probability of the positive class, (H, W) uint8, 0..255.
        mask: Reference mask, (H, W) uint8, with the values of `LabeledSlide.mask`.
        valid: Pixels that are evaluated: tissue that is not ignored, (H, W) bool.
    """

    box: Box
    levels: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    valid: NDArray[np.bool_]


class PredictionRaster(Protocol):
    """Predictions on a slide: heatmap levels 0..255 of a raster over the slide's box."""

    @property
    def mpp(self) -> float:
        """Um per pixel of the raster."""
        ...

    def read_rows(self, box: Box, top: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """Read the levels inside a box.

        Args:
            box: The rows to read, in level-0 px.
            top: The first of these rows, counted in the raster.
            shape: Rows and columns of the result.

        Returns:
            The levels, (H, W) uint8.
        """
        ...


@dataclass(frozen=True)
class HeatmapRaster:
    """A heatmap as a raster at patch resolution.

    A cell is repeated over several pixels if the network predicts whole tiles.

    Attributes:
        heatmap: The heatmap.
        label: The class to read.
        patch_mpp: The resolution of the patches, um/px.
    """

    heatmap: Heatmap
    label: str
    patch_mpp: float

    @property
    def pixels_per_cell(self) -> int:
        """Pixels along the side of a heatmap cell."""
        return max(1, round(self.heatmap.mpp / self.patch_mpp))

    @property
    def mpp(self) -> float:
        """Um per pixel of the raster."""
        return self.heatmap.mpp / self.pixels_per_cell

    def read_rows(self, box: Box, top: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """Read the levels inside a box (see `PredictionRaster.read_rows`)."""
        levels = self.heatmap.levels(self.label)
        if self.pixels_per_cell == 1:
            return np.ascontiguousarray(levels[top : top + shape[0]])

        # the last cells may end a little before the slide does: they are extended to its edge
        row, column = (
            np.minimum((start + np.arange(count)) // self.pixels_per_cell, limit - 1)
            for start, count, limit in zip((top, 0), shape, levels.shape, strict=True)
        )
        return np.ascontiguousarray(levels[np.ix_(row, column)])


@dataclass(frozen=True)
class RegionRaster:
    """Regions without a heatmap as a raster: probability 1 inside, 0 outside.

    Attributes:
        regions: The regions in level-0 px.
        mpp: Um per pixel of the raster.
        scale: Level-0 px per pixel of the raster.
    """

    regions: Regions
    mpp: float
    scale: float

    def read_rows(self, box: Box, top: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """Read the levels inside a box (see `PredictionRaster.read_rows`)."""
        return label_map(((self.regions, LEVELS - 1),), box, self.scale)


def iterate_strips(reference: Reference, predictions: PredictionRaster, multiple: int = 1) -> Iterator[Strip]:
    """Iterate over a slide in strips of predictions and reference mask, from the top.

    Args:
        reference: The annotations and tissue of the slide.
        predictions: The predictions on it.
        multiple: Every strip but the last has a number of rows that is a multiple of this.

    Yields:
        Strips of about `STRIP_ROWS` rows at the resolution of the predictions.
    """
    # strips of whole rows of tiles, at the resolution of the predictions
    scale = predictions.mpp / reference.mpp
    rows, columns = reference.box.shape(scale)
    step = multiple * max(1, round(STRIP_ROWS / multiple))
    for top in range(0, rows, step):
        height = min(step, rows - top)
        box = Box(reference.box.x, reference.box.y + top * scale, columns * scale, height * scale)
        mask = label_map(reference.mask_layers, box, scale)
        yield Strip(
            box=box,
            levels=predictions.read_rows(box, top, (height, columns)),
            mask=mask,
            valid=reference.tissue.mask_in(box, scale) & (mask != IGNORE),
        )
