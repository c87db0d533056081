"""Outlines to masks, by the rule that a pixel belongs to the outline that holds its centre (see `spans`)."""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from histoscout.geometry.box import Box
from histoscout.geometry.regions import Outline, Region, Regions
from histoscout.geometry.spans import spans


def mask_of(outline: Outline, box: Box, scale: float) -> NDArray[np.bool_]:
    """Where the outline lies inside the box: bool (H, W) at `scale` level-0 px per pixel, holes left out.

    Pixel (i, j) is true if its centre, box.x + (j + .5) * scale and box.y + (i + .5) * scale, lies in the outline.
    """
    mask = np.zeros(box.shape(scale), bool)
    for row, first, last in spans([outline], box, scale):
        mask[row, first:last] = True
    return mask


def label_map(layers: Sequence[tuple[Regions, int]], box: Box, scale: float) -> NDArray[np.uint8]:
    """One value per pixel: 0 where nothing lies, else the value of the last layer that covers it; uint8 (H, W)."""
    painted = np.zeros(box.shape(scale), np.uint8)
    for regions, value in layers:
        for row, first, last in spans([region.outline for region in regions.touching(box)], box, scale):
            painted[row, first:last] = value
    return painted


def value_map(
    regions: Regions, value_of: Callable[[Region], int], box: Box, scale: float
) -> NDArray[np.uint8]:
    """One value per pixel: 0 where nothing lies, else the value of the last region that covers it; uint8 (H, W)."""
    in_order = groupby(regions.touching(box), value_of)
    return label_map([(Regions(tuple(alike)), value) for value, alike in in_order], box, scale)
