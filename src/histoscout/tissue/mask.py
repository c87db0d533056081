"""Where on a slide there is tissue worth looking at.

Tidying masks: closing gaps, filling holes, dropping specks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.geometry.box import Box
from histoscout.recipe import PatchConfig
from histoscout.recipe import TissueConfig as Choices
from histoscout.slides.slide import Slide
from histoscout.tissue.artifacts import FINEST, ink, out_of_focus

_Mask = NDArray[np.bool_]


def closed(mask: _Mask, reach: int) -> _Mask:
    """A mask with its gaps and bays closed that are at most twice `reach` pixels wide."""
    if reach < 1:
        return mask
    size = 2 * reach + 1
    grown = ndimage.maximum_filter(np.pad(mask, size).view(np.uint8), size)
    return np.asarray(ndimage.minimum_filter(grown, size)[size:-size, size:-size].view(np.bool_) | mask)


def cleaned(mask: _Mask, smallest: float, largest_hole: float) -> _Mask:
    """A mask with its small holes filled, then its small pieces dropped; sizes in pixels.

    What is false up to the picture's border is no hole. Pixels of a piece share a side or a corner.
    """
    whole = mask | _kept(~mask, largest_hole) if largest_hole > 0 else mask
    if smallest <= 1:
        return whole
    pieces, count = ndimage.label(whole, np.ones((3, 3)))
    keep = np.bincount(pieces.ravel(), minlength=count + 1) >= smallest
    keep[0] = False
    return np.asarray(keep[pieces])


def _kept(outside: _Mask, largest: float) -> _Mask:
    """The pieces of a mask that do not meet the border and are no larger than that."""
    pieces, count = ndimage.label(outside)
    keep = np.bincount(pieces.ravel(), minlength=count + 1) <= largest
    keep[np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])] = False
    keep[0] = False
    return np.asarray(keep[pieces])


def without_corners(mask: _Mask) -> _Mask:
    """A mask grown until no two of its pixels touch at a corner only, so that no outline touches itself."""
    joined = mask.copy()
    upper_left, upper_right = joined[:-1, :-1], joined[:-1, 1:]
    lower_left, lower_right = joined[1:, :-1], joined[1:, 1:]
    while True:
        falling = upper_left & lower_right & ~upper_right & ~lower_left
        rising = upper_right & lower_left & ~upper_left & ~lower_right
        if not (falling.any() or rising.any()):
            return joined
        upper_right |= falling
        upper_left |= rising


FAINTEST, STRONGEST = 12, 30
"""Colour (brightest minus dullest channel, of 255) below which nothing, and above which all is tissue."""

UNSCANNED = 25
"""Scanners leave what they did not look at black."""

GLASS = np.uint8(243)
"""The grey that stands for glass where a mark is covered."""

GAP_UM = 64.0
"""Gaps up to twice as wide are closed before holes are filled: a lumen may open to the outside."""


@dataclass(frozen=True)
class Tissue:
    """Where a slide shows tissue.

    `mask` bool (H, W) covers the slide's box at `scale` level-0 px per pixel. `left_out`, of the same
    shape, is where pen marks or bad focus hide the tissue; it is no part of `mask`. `artifacts` says how
    much that is, in mm2: "pen" (on the glass too) and "out of focus". `notes` are for the user.
    """

    mask: _Mask
    left_out: _Mask
    box: Box
    scale: float
    area_mm2: float
    artifacts: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def shares(self, boxes: Sequence[Box]) -> NDArray[np.float64]:
        """The share of each box (level-0 px) that is tissue, float64 (N,); beyond the slide there is none."""
        if not len(boxes):
            return np.zeros(0)
        left, top, right, bottom = np.array([box.bounds for box in boxes], np.float64).T
        covered = (
            self._sum_to(bottom, right)
            - self._sum_to(top, right)
            - self._sum_to(bottom, left)
            + self._sum_to(top, left)
        )
        share = covered * self.scale**2 / ((right - left) * (bottom - top))
        return np.asarray(np.clip(share, 0, 1))

    def mask_of(self, box: Box, scale: float) -> _Mask:
        """Whether each pixel of a box is tissue at its centre: bool (H, W), `scale` level-0 px per pixel."""
        return _sampled(self.mask, self.box, self.scale, box, scale)

    def within(self, boxes: Sequence[Box]) -> "Tissue":
        """Only the tissue whose pixels have their centres in one of the boxes."""
        rows, columns = ((np.arange(count) + 0.5) * self.scale for count in self.mask.shape)
        inside = np.zeros_like(self.mask)
        for box in (box.moved(-self.box.x, -self.box.y) for box in boxes):
            inside |= np.outer(
                (rows >= box.y) & (rows < box.bottom), (columns >= box.x) & (columns < box.right)
            )
        mask = self.mask & inside
        area = self.area_mm2 * float(mask.sum()) / max(1, int(self.mask.sum()))
        return replace(self, mask=mask, area_mm2=area)

    def left_out_of(self, box: Box, scale: float) -> _Mask:
        """Whether pen or bad focus hides the centre of each pixel of a box: bool (H, W)."""
        return _sampled(self.left_out, self.box, self.scale, box, scale)

    def covered(self, pixels: NDArray[np.uint8], box: Box, scale: float) -> NDArray[np.uint8]:
        """Pixels of a box, uint8 (H, W, 3), with what is left out shown as glass: a network need not know pens."""
        if not self.left_out.any():
            return pixels
        hidden = self.left_out_of(box, scale)
        return np.where(hidden[..., None], GLASS, pixels) if hidden.any() else pixels

    @cached_property
    def _sums(self) -> NDArray[np.int64]:
        """Tissue pixels above and left of each corner of the mask."""
        return np.pad(self.mask, ((1, 0), (1, 0))).cumsum(0, dtype=np.int64).cumsum(1)

    def _sum_to(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Tissue pixels above and left of points (level-0 px), parts of pixels counted."""
        points = [(y - self.box.y) / self.scale, (x - self.box.x) / self.scale]
        limits = self.mask.shape
        inside = [np.clip(point, 0, limit) for point, limit in zip(points, limits, strict=True)]
        (row, column) = (
            np.minimum(point.astype(int), limit - 1) for point, limit in zip(inside, limits, strict=True)
        )
        down, across = inside[0] - row, inside[1] - column
        sums = self._sums
        upper = sums[row, column] * (1 - across) + sums[row, column + 1] * across
        lower = sums[row + 1, column] * (1 - across) + sums[row + 1, column + 1] * across
        return np.asarray(upper * (1 - down) + lower * down)


def _sampled(mask: _Mask, whole: Box, mask_scale: float, box: Box, scale: float) -> _Mask:
    indices, inside = [], []
    for start, origin, length, count in zip(
        (box.y, box.x), (whole.y, whole.x), box.shape(scale), mask.shape, strict=True
    ):
        index = np.floor((start + (np.arange(length) + 0.5) * scale - origin) / mask_scale).astype(int)
        # the last pixel of the mask may end a little before the slide does
        inside.append((index >= 0) & (index <= count))
        indices.append(np.clip(index, 0, count - 1))
    return np.asarray(mask[np.ix_(*indices)] & np.outer(*inside))


def find_tissue(slide: Slide, choices: Choices, windows: PatchConfig) -> Tissue:
    """Find a slide's tissue, by the colour of stain or by the study's rule.

    "saturation" reads the slide at `choices.mpp` um/px: what is coloured more than the glass is tissue; small
    pieces are dropped, small holes (lumens, fat) filled, pen marks left out if `choices.artefacts`, and what is out of
    focus for somebody who looks at the um/px of the windows. "tile_std" is the study's rule: tiles of a window's side
    are tissue where the standard deviation of all their red, green and blue values is at least `choices.std`.
    """
    if choices.method == "tile_std":
        return _by_spread(slide, choices, windows.size_um)
    scale = choices.mpp / slide.mpp
    pixels = slide.read(slide.box, choices.mpp)
    pen = ink(pixels, choices.mpp) if choices.artifacts else np.zeros(pixels.shape[:2], bool)
    stained = _stained(pixels) & ~pen
    mask = (
        cleaned(
            closed(stained, round(GAP_UM / choices.mpp)),
            choices.min_area_um2 / choices.mpp**2,
            choices.max_hole_um2 / choices.mpp**2,
        )
        & ~pen
    )
    blurred = np.zeros_like(mask)
    if choices.artifacts:
        blurred = out_of_focus(slide, mask, scale, max(FINEST, windows.mpp))
    mask &= ~blurred
    mm2 = choices.mpp**2 * 1e-6
    artifacts = {"pen": float(pen.sum() * mm2), "out of focus": float(blurred.sum() * mm2)}
    area = float(mask.sum() * mm2)
    return Tissue(mask, pen | blurred, slide.box, scale, area, artifacts, _notes(pixels, area))


def _stained(pixels: NDArray[np.uint8]) -> _Mask:
    """Which pixels have more colour than the glass."""
    glass = _glass(pixels)
    color = np.zeros(pixels.shape[:2], np.float32)
    planes = [pixels[..., c].astype(np.float32) * (255 / glass[c]) for c in range(3)]
    np.subtract(np.maximum.reduce(planes), np.minimum.reduce(planes), out=color)
    color = ndimage.gaussian_filter(color, 0.7)
    threshold = float(np.clip(_otsu(color), FAINTEST, STRONGEST))
    return np.asarray((color > threshold) & (pixels.max(-1) > UNSCANNED))


def _glass(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The colour of empty glass; white if hardly any is seen."""
    bright = pixels[(pixels.min(-1) > 200) & (np.ptp(pixels, axis=-1) < 30)]
    if len(bright) < 0.01 * pixels.shape[0] * pixels.shape[1]:
        return np.full(3, 255, np.float32)
    # tissue can be as pale as this, but seldom brighter than the glass
    brightest = bright[bright.sum(-1) >= np.median(bright.sum(-1))]
    return np.asarray(np.median(brightest, axis=0), np.float32)


def _otsu(values: NDArray[np.float32]) -> float:
    """The threshold that divides values of 0 to 255 into the two most different groups (Otsu 1979)."""
    counts = np.bincount(np.clip(values, 0, 255).astype(np.uint8).ravel(), minlength=256).astype(np.float64)
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * np.arange(256))
    both = (below > 0) & (above > 0)
    means = sums[both] / below[both], (sums[-1] - sums[both]) / above[both]
    spread = below[both] * above[both] * (means[0] - means[1]) ** 2
    return float(np.flatnonzero(both)[np.argmax(spread)]) if both.any() else float(STRONGEST)


def all_of(box: Box, mpp: float, cell_um: float) -> Tissue:
    """A slide of which all is tissue: `box` in level-0 px of `mpp` um, in cells of `cell_um`."""
    scale = cell_um / mpp
    mask = np.ones(box.shape(scale), bool)
    artifacts = {"pen": 0.0, "out of focus": 0.0}
    return Tissue(mask, np.zeros_like(mask), box, scale, box.area * mpp**2 * 1e-6, artifacts)


def _by_spread(slide: Slide, choices: Choices, window_um: float) -> Tissue:
    side = window_um / slide.mpp
    rows, columns = math.ceil(slide.box.height / side - 1e-9), math.ceil(slide.box.width / side - 1e-9)
    mask = np.zeros((rows, columns), bool)
    for row in range(rows):
        for column in range(columns):
            tile = Box(slide.box.x + column * side, slide.box.y + row * side, side, side)
            seen = tile.intersection(slide.box)
            mask[row, column] = seen is not None and slide.read(seen, choices.mpp).std() >= choices.min_std
    notes = ("the study's rule does not know pen marks and bad focus: none are left out",) * choices.artifacts
    area = float(mask.sum() * (window_um * 1e-3) ** 2)
    return Tissue(mask, np.zeros_like(mask), slide.box, side, area, {"pen": 0.0, "out of focus": 0.0}, notes)


def _notes(pixels: NDArray[np.uint8], area_mm2: float) -> tuple[str, ...]:
    if float((pixels.max(-1) < 40).mean()) > 0.5:
        return ("most of the slide is black: it may not be a bright-field H&E slide",)
    return () if area_mm2 > 0 else ("no tissue was found",)
