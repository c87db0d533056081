"""The tissue mask of a slide, and the morphology that cleans binary masks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.geometry.box import Box
from histoscout.recipe_sections import PatchConfig, TissueConfig
from histoscout.slides.scale import MAX_ENLARGEMENT, check_enlargement, check_overview
from histoscout.slides.slide import Slide
from histoscout.tissue.artifacts import FINEST_FOCUS_MPP, find_out_of_focus, find_pen_marks

_Mask = NDArray[np.bool_]

MIN_THRESHOLD = 12
"""Lower limit of the color threshold (brightest minus dullest channel, of 255): paler pixels are never tissue."""

MAX_THRESHOLD = 30
"""Upper limit of the color threshold: stronger colors are always tissue."""

UNSCANNED = 25
"""Scanners fill areas that they do not scan with black: no channel is above this value."""

GLASS = np.uint8(243)
"""The gray that replaces pixels hidden by an artifact: the value of empty glass."""

GAP_UM = 64.0
"""Gaps up to twice as wide are closed before holes are filled: a lumen may open to the outside."""


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """The tissue mask of a slide.

    Attributes:
        mask: Where there is tissue, (H, W) bool; it covers the slide's box.
        artifact_mask: Where pen marks or bad focus hide the tissue, (H, W) bool; never true where `mask` is.
        box: The slide's box, in level-0 px.
        scale: Level-0 px per pixel of the mask.
        area_mm2: Area of the tissue.
        artifact_mm2: Area of each kind of artifact: "pen" (on empty glass too) and "out of focus".
        notes: Notes for the user.
    """

    mask: _Mask
    artifact_mask: _Mask
    box: Box
    scale: float
    area_mm2: float
    artifact_mm2: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def fractions(self, boxes: Sequence[Box]) -> NDArray[np.float64]:
        """The tissue fraction of each box.

        Args:
            boxes: Boxes in level-0 px; outside the slide there is no tissue.

        Returns:
            The share of each box's area that is tissue, (N,) float64 in [0, 1].
        """
        if not len(boxes):
            return np.zeros(0)
        left, top, right, bottom = np.array([box.bounds for box in boxes], np.float64).T
        # the sum over a rectangle, from four values of the summed-area table
        tissue_px = (
            self._pixels_before(bottom, right)
            - self._pixels_before(top, right)
            - self._pixels_before(bottom, left)
            + self._pixels_before(top, left)
        )
        fraction = tissue_px * self.scale**2 / ((right - left) * (bottom - top))
        return np.asarray(np.clip(fraction, 0, 1))

    def mask_in(self, box: Box, scale: float) -> _Mask:
        """The tissue mask of a box at another scale, sampled at pixel centers.

        Args:
            box: The box, in level-0 px.
            scale: Level-0 px per pixel.

        Returns:
            (H, W) bool, with H and W as `box.shape(scale)`.
        """
        return _sample_mask(self.mask, (self.box, self.scale), (box, scale))

    def artifact_mask_in(self, box: Box, scale: float) -> _Mask:
        """The artifact mask of a box at another scale, as `mask_in` gives the tissue mask: (H, W) bool."""
        return _sample_mask(self.artifact_mask, (self.box, self.scale), (box, scale))

    def restrict_to(self, boxes: Sequence[Box]) -> "Tissue":
        """The tissue whose mask pixels have their centers in one of the boxes (level-0 px)."""
        rows, columns = ((np.arange(count) + 0.5) * self.scale for count in self.mask.shape)
        inside = np.zeros_like(self.mask)
        for box in (box.translate(-self.box.x, -self.box.y) for box in boxes):
            inside |= np.outer(
                (rows >= box.y) & (rows < box.bottom), (columns >= box.x) & (columns < box.right)
            )
        mask = self.mask & inside
        area = self.area_mm2 * float(mask.sum()) / max(1, int(self.mask.sum()))
        return replace(self, mask=mask, area_mm2=area)

    def hide_artifacts(self, pixels: NDArray[np.uint8], box: Box, scale: float) -> NDArray[np.uint8]:
        """Show artifacts as empty glass, so that a network does not have to know pen marks.

        Args:
            pixels: The pixels of the box, (H, W, 3) uint8.
            box: The box, in level-0 px.
            scale: Level-0 px per pixel.

        Returns:
            The same pixels, or a copy with the artifacts replaced, (H, W, 3) uint8.
        """
        if not self.artifact_mask.any():
            return pixels
        hidden = self.artifact_mask_in(box, scale)
        return np.where(hidden[..., None], GLASS, pixels) if hidden.any() else pixels

    @cached_property
    def _summed_area(self) -> NDArray[np.int64]:
        """How many tissue pixels are above and left of each corner of the mask: (H + 1, W + 1) int64."""
        return np.pad(self.mask, ((1, 0), (1, 0))).cumsum(0, dtype=np.int64).cumsum(1)

    def _pixels_before(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        """How many tissue pixels are above and left of points (level-0 px), fractions of pixels included."""
        points = [(y - self.box.y) / self.scale, (x - self.box.x) / self.scale]
        limits = self.mask.shape
        inside = [np.clip(point, 0, limit) for point, limit in zip(points, limits, strict=True)]
        (row, column) = (
            np.minimum(point.astype(int), limit - 1) for point, limit in zip(inside, limits, strict=True)
        )
        # bilinear interpolation of the summed-area table is exact within a pixel
        down, across = inside[0] - row, inside[1] - column
        sums = self._summed_area
        upper = sums[row, column] * (1 - across) + sums[row, column + 1] * across
        lower = sums[row + 1, column] * (1 - across) + sums[row + 1, column + 1] * across
        return np.asarray(upper * (1 - down) + lower * down)


def _sample_mask(mask: _Mask, source: tuple[Box, float], target: tuple[Box, float]) -> _Mask:
    """A mask of one box and scale, sampled at the pixel centers of another; false outside of it."""
    (whole, mask_scale), (box, scale) = source, target
    indices, inside = [], []
    for start, origin, length, count in zip(
        (box.y, box.x), (whole.y, whole.x), box.shape(scale), mask.shape, strict=True
    ):
        index = np.floor((start + (np.arange(length) + 0.5) * scale - origin) / mask_scale).astype(int)
        # the last pixel of the mask may end a little before the slide does
        inside.append((index >= 0) & (index <= count))
        indices.append(np.clip(index, 0, count - 1))
    return np.asarray(mask[np.ix_(*indices)] & np.outer(*inside))


def find_tissue(slide: Slide, config: TissueConfig, patches: PatchConfig) -> Tissue:
    """Find the tissue of a slide by the color of the stain, or by the standard deviation of tiles.

    The method "saturation" reads the slide at `config.mpp` um/px. Pixels with more color than the glass are tissue
    (threshold by Otsu, 1979). Small pieces are dropped and small holes (lumens, fat) filled. With `config.artifacts`,
    pen marks are left out, and so is tissue that is out of focus at the resolution of the patches.
    The method "tile_std" calls a tile of a patch's side tissue if the standard deviation of all its red, green and
    blue values is at least `config.min_std`.

    Args:
        slide: The slide.
        config: The recipe's section `tissue`.
        patches: The recipe's section `patches`.

    Returns:
        The tissue mask.

    Raises:
        SlideError: The slide cannot be read, or its um/px makes it far too coarse or too large.
    """
    where = slide.path or slide.name
    check_enlargement(where, slide.mpp, config.mpp, "the search for tissue (tissue.mpp)")
    check_overview(where, slide.box.shape(config.mpp / slide.mpp), "tissue.mpp")
    if config.method == "tile_std":
        return _find_by_tile_std(slide, config, patches.size_um)
    scale = config.mpp / slide.mpp
    pixels = slide.read(slide.box, config.mpp)

    # what is stained and no pen mark, without gaps, holes and specks
    pen = find_pen_marks(pixels, config.mpp) if config.artifacts else np.zeros(pixels.shape[:2], bool)
    stained = close_gaps(_find_stained(pixels) & ~pen, round(GAP_UM / config.mpp))
    pixel_um2 = config.mpp**2
    mask = clean_mask(stained, config.min_area_um2 / pixel_um2, config.max_hole_um2 / pixel_um2) & ~pen

    # areas that are out of focus for a network that sees the patches' resolution
    blurred = np.zeros_like(mask)
    if config.artifacts:
        focus_mpp = max(FINEST_FOCUS_MPP, patches.mpp, slide.mpp / MAX_ENLARGEMENT)
        blurred = find_out_of_focus(slide, mask, scale, mpp=focus_mpp)
    mask &= ~blurred

    mm2 = config.mpp**2 * 1e-6
    area = float(mask.sum() * mm2)
    return Tissue(
        mask=mask,
        artifact_mask=pen | blurred,
        box=slide.box,
        scale=scale,
        area_mm2=area,
        artifact_mm2={"pen": float(pen.sum() * mm2), "out of focus": float(blurred.sum() * mm2)},
        notes=_tissue_notes(pixels, area),
    )


def full_tissue(box: Box, mpp: float, cell_um: float) -> Tissue:
    """The tissue mask of a slide that is tissue everywhere.

    Args:
        box: The slide's box, in level-0 px.
        mpp: The slide's resolution, in um per level-0 px.
        cell_um: Side of a pixel of the mask, in um.

    Returns:
        A mask that is true everywhere, without artifacts.
    """
    scale = cell_um / mpp
    mask = np.ones(box.shape(scale), bool)
    return Tissue(
        mask=mask,
        artifact_mask=np.zeros_like(mask),
        box=box,
        scale=scale,
        area_mm2=box.area * mpp**2 * 1e-6,
        artifact_mm2={"pen": 0.0, "out of focus": 0.0},
    )


def _find_by_tile_std(slide: Slide, config: TissueConfig, tile_um: float) -> Tissue:
    """Tissue by the standard deviation of whole tiles; artifacts are not detected."""
    side = tile_um / slide.mpp
    rows, columns = math.ceil(slide.box.height / side - 1e-9), math.ceil(slide.box.width / side - 1e-9)
    mask = np.zeros((rows, columns), bool)
    for row in range(rows):
        for column in range(columns):
            tile = Box(slide.box.x + column * side, slide.box.y + row * side, side, side)
            on_slide = tile.intersection(slide.box)
            mask[row, column] = (
                on_slide is not None and slide.read(on_slide, config.mpp).std() >= config.min_std
            )
    note = 'the tissue method "tile_std" does not detect pen marks or bad focus: none are left out'
    return Tissue(
        mask=mask,
        artifact_mask=np.zeros_like(mask),
        box=slide.box,
        scale=side,
        area_mm2=float(mask.sum() * (tile_um * 1e-3) ** 2),
        artifact_mm2={"pen": 0.0, "out of focus": 0.0},
        notes=(note,) if config.artifacts else (),
    )


def _find_stained(pixels: NDArray[np.uint8]) -> _Mask:
    """Which pixels have more color than the glass."""
    # color relative to the glass, so that a yellow lamp is no stain
    glass = _glass_color(pixels)
    color = np.zeros(pixels.shape[:2], np.float32)
    planes = [pixels[..., c].astype(np.float32) * (255 / glass[c]) for c in range(3)]
    np.subtract(np.maximum.reduce(planes), np.minimum.reduce(planes), out=color)
    color = ndimage.gaussian_filter(color, 0.7)
    threshold = float(np.clip(_otsu_threshold(color), MIN_THRESHOLD, MAX_THRESHOLD))
    return np.asarray((color > threshold) & (pixels.max(-1) > UNSCANNED))


def _glass_color(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The color of empty glass; white if less than 1 % of the slide is glass."""
    bright = pixels[(pixels.min(-1) > 200) & (np.ptp(pixels, axis=-1) < 30)]
    if len(bright) < 0.01 * pixels.shape[0] * pixels.shape[1]:
        return np.full(3, 255, np.float32)
    # tissue can be as pale as this, but seldom brighter than the glass
    brightest = bright[bright.sum(-1) >= np.median(bright.sum(-1))]
    return np.asarray(np.median(brightest, axis=0), np.float32)


def _otsu_threshold(values: NDArray[np.float32]) -> float:
    """The threshold that divides values of 0 to 255 into the two most different groups (Otsu 1979)."""
    counts = np.bincount(np.clip(values, 0, 255).astype(np.uint8).ravel(), minlength=256).astype(np.float64)
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * np.arange(256))
    both = (below > 0) & (above > 0)
    means = sums[both] / below[both], (sums[-1] - sums[both]) / above[both]
    spread = below[both] * above[both] * (means[0] - means[1]) ** 2
    return float(np.flatnonzero(both)[np.argmax(spread)]) if both.any() else float(MAX_THRESHOLD)


def _tissue_notes(pixels: NDArray[np.uint8], area_mm2: float) -> tuple[str, ...]:
    if float((pixels.max(-1) < 40).mean()) > 0.5:
        return ("most of the slide is black: it may not be a brightfield H&E slide",)
    return () if area_mm2 > 0 else ("no tissue was found",)


# ---------------------------------------------------------------- cleaning of binary masks


def close_gaps(mask: _Mask, radius: int) -> _Mask:
    """Close gaps of a mask that are at most twice `radius` pixels wide (morphological closing).

    Args:
        mask: (H, W) bool.
        radius: Half the side of the square structuring element, in pixels.

    Returns:
        The mask and its closed gaps, (H, W) bool.
    """
    if radius < 1:
        return mask
    size = 2 * radius + 1
    dilated = ndimage.maximum_filter(np.pad(mask, size).view(np.uint8), size)
    return np.asarray(ndimage.minimum_filter(dilated, size)[size:-size, size:-size].view(np.bool_) | mask)


def clean_mask(mask: _Mask, min_area_px: float, max_hole_px: float) -> _Mask:
    """Fill the small holes of a mask, then drop its small pieces.

    Args:
        mask: (H, W) bool. Pixels of a piece share a side or a corner.
        min_area_px: Smaller pieces are dropped.
        max_hole_px: Holes up to this area are filled. Background that reaches the border is not a hole.

    Returns:
        The cleaned mask, (H, W) bool.
    """
    filled = mask | _find_holes(~mask, max_hole_px) if max_hole_px > 0 else mask
    if min_area_px <= 1:
        return filled
    pieces, count = ndimage.label(filled, np.ones((3, 3)))
    keep = np.bincount(pieces.ravel(), minlength=count + 1) >= min_area_px
    keep[0] = False
    return np.asarray(keep[pieces])


def _find_holes(background: _Mask, max_area_px: float) -> _Mask:
    """The pieces of the background that do not reach the border and are no larger than that."""
    pieces, count = ndimage.label(background)
    keep = np.bincount(pieces.ravel(), minlength=count + 1) <= max_area_px
    keep[np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])] = False
    keep[0] = False
    return np.asarray(keep[pieces])


def join_corner_contacts(mask: _Mask) -> _Mask:
    """Grow a mask until no two of its pixels touch only at a corner.

    Then no polygon of the mask touches itself.

    Args:
        mask: (H, W) bool.

    Returns:
        The grown mask, (H, W) bool.
    """
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
