"""How well masks of patches fit their own images, compared with other images.

Masks are laid on their own images, and then on one another's. How much more of the stain's variance they explain on
their own, in standard deviations over random pairings, is the fit. No model is trained.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.checks.alignment.scoring import (
    SMOOTH_UM,
    Maps,
    cell_means,
    measure_quantities,
    smooth_quantities,
)
from histoscout.geometry.box import Box
from histoscout.geometry.vectorize import mask_to_polygons
from histoscout.recipe import BACKGROUND, IGNORE

CELLS_PER_SIDE = 64
"""Cells along the shorter side of a patch."""

PAIRINGS = 200
"""Random pairings of masks with images of other patches."""

SEED = 0
"""Seed of the pairings."""

MIN_VARIANCE = 1e-9
"""Keeps divisors above zero where images are flat."""

SHIFTS = (1 / 8, 1 / 4, 1 / 2)
"""Shifts that are tried, as shares of a patch's side."""

SHIFTED = "shifted"
"""How the names of shifts begin."""

MIXED_SHARE = (0.03, 0.97)
"""Share of a patch that is of some class, for its mask to distinguish classes from other tissue."""

WHITE_PERCENTILE = 99
"""Percentile of the cells' gray values that counts as the white of the patch."""

NEARLY_WHITE = 0.88
"""Share of the white from which a pixel is nearly white: 225 of 255."""

MIN_WHITE = 150
"""Of 255: glass was never darker than this, with a stain jitter of up to 0.2."""

MIN_WHITE_CELLS = 0.2
"""Share of nearly white cells from which there is glass: tissue varies more."""

EVEN_SHARES = (0.90, 0.95)
"""Few cells may be nearly white if there is glass: then those above the second share of the white ..."""

EVENNESS = 2
"""... are this many times as many as those between both shares."""

STAIR_PX = 1.5
"""Height of the stairs that a mask makes of a slanted straight edge."""

LONG_EDGE = 0.6
"""Edges longer than this share of the side of an equally large square are straight edges of a rectangle."""

MIN_PIECE_PX = 16.0
"""Side of the smallest pieces whose shape is measured."""

Picture = NDArray[np.uint8]
Mask = NDArray[np.uint8]

Pair = tuple[Picture, Mask]
"""An image (H, W, 3) uint8 and its mask (H, W) uint8: 0 background, 1.. classes, 255 ignore."""


@dataclass(frozen=True)
class PatchMeasures:
    """Stain quantities and masks of patches, cell by cell.

    Attributes:
        values: (N, K, H, W) float32, whitened and of mean 0 in each patch.
        inside: (N, C, H, W) float32, the share of each cell that is of each class.
    """

    values: Maps
    inside: Maps


def measure_patches(pairs: Sequence[Pair], mpp: float) -> PatchMeasures:
    """Measure patches, each compared with its own mean, so that no two slides are compared.

    Glass and the white beyond a slide's edge are left out: that masks avoid them proves little. Lumens count.

    Args:
        pairs: Images and masks of one size.
        mpp: Resolution in um/px.

    Returns:
        The measures.
    """
    per_cell = max(1, min(pairs[0][1].shape) // CELLS_PER_SIDE)
    sigma = SMOOTH_UM / (per_cell * mpp)
    values = np.stack(
        [smooth_quantities(measure_quantities(picture, per_cell, mpp), sigma) for picture, _ in pairs]
    )
    tissue = ~np.stack([find_glass(picture, per_cell) for picture, _ in pairs])[:, None]
    count = np.maximum(tissue.sum((2, 3), keepdims=True), 1)
    values = (values - (values * tissue).sum((2, 3), keepdims=True) / count) * tissue
    classes = sorted({int(value) for _, mask in pairs for value in np.unique(mask)} - {BACKGROUND, IGNORE})
    shares = [
        np.stack([cell_means((mask == value).astype(np.float32), per_cell) for value in classes])
        for _, mask in pairs
    ]
    inside = np.stack(shares) * tissue
    # Whiten the quantities over all patches.
    flat = values.swapaxes(0, 1).reshape(values.shape[1], -1)
    variances, vectors = np.linalg.eigh(np.cov(flat))
    rotation = (vectors / np.sqrt(np.maximum(variances, MIN_VARIANCE))).T
    white = np.tensordot(rotation, values, (1, 1)).swapaxes(0, 1)
    return PatchMeasures(np.ascontiguousarray(white, np.float32), inside.astype(np.float32))


def patch_fit(values: Maps, inside: Maps) -> float:
    """By how many standard deviations masks explain their own images better than others.

    Args:
        values: (N, K, H, W) float32, see `PatchMeasures`.
        inside: (N, C, H, W) float32, see `PatchMeasures`.

    Returns:
        The fit.
    """
    patches, quantities = values.shape[:2]
    classes = inside.shape[1]
    masks = inside.reshape(patches * classes, -1)
    # The sum of each quantity of image i under each class of mask j: (N, C, N, K).
    sums = (masks @ values.reshape(patches * quantities, -1).T).reshape(patches, classes, patches, quantities)
    covered = np.maximum(inside.sum((0, 2, 3)), 1)

    def explained(mask_of: NDArray[np.intp]) -> float:
        """The variance that masks explain if image i has mask `mask_of[i]`."""
        total = sums[mask_of, :, np.arange(patches)].sum(0)
        return float((total**2 / covered[:, None]).sum())

    random = np.random.default_rng(SEED)
    others = []
    for _ in range(PAIRINGS):
        # A random ring: no image has its own mask.
        ring = random.permutation(patches)
        mask_of = np.empty(patches, np.intp)
        mask_of[ring] = np.roll(ring, 1)
        others.append(explained(mask_of))
    own = explained(np.arange(patches))
    return (own - float(np.mean(others))) / (float(np.std(others)) + MIN_VARIANCE)


def correct_patches(measures: PatchMeasures) -> Mapping[str, tuple[Maps, Maps]]:
    """Undo each typical mistake in making masks.

    Args:
        measures: The patches.

    Returns:
        Values and masks after the correction, by the name of the mistake.
    """
    corrections: dict[str, Callable[[Maps], Maps]] = {
        "mirrored top to bottom": lambda maps: maps[..., ::-1, :],
        "mirrored left to right": lambda maps: maps[..., ::-1],
        "turned upside down": lambda maps: maps[..., ::-1, ::-1],
    }
    rows, columns = measures.inside.shape[-2:]
    if rows == columns:
        corrections |= {
            "rows and columns swapped": lambda maps: maps.swapaxes(-1, -2),
            "turned to the left": lambda maps: np.rot90(maps, -1, (-2, -1)),
            "turned to the right": lambda maps: np.rot90(maps, 1, (-2, -1)),
        }
    corrected = {
        name: (measures.values, np.ascontiguousarray(correct(measures.inside)))
        for name, correct in corrections.items()
    }
    for share in SHIFTS:
        for direction, down, right in (("right", 0, 1), ("down", 1, 0), ("left", 0, -1), ("up", -1, 0)):
            name = f"{SHIFTED} {direction} by {share:g} of a patch"
            corrected[name] = _shift_back(
                measures, round(down * share * rows), round(right * share * columns)
            )
    return corrected


def _shift_back(measures: PatchMeasures, down: int, right: int) -> tuple[Maps, Maps]:
    """Values and masks where both exist after masks are moved back by (down, right) cells."""
    rows, columns = measures.inside.shape[-2:]
    values = measures.values[
        ..., max(0, -down) : rows - max(0, down), max(0, -right) : columns - max(0, right)
    ]
    masks = measures.inside[..., max(0, down) : rows + min(0, down), max(0, right) : columns + min(0, right)]
    return np.ascontiguousarray(values), np.ascontiguousarray(masks)


# ---------------------------------------------------------------- kinds of masks and images


def is_mixed(mask: Mask) -> bool:
    """Whether a mask distinguishes tissue of some class from other tissue.

    Args:
        mask: (H, W) uint8; masks of another shape, such as () of tile classifiers, do not.
    """
    if mask.ndim != 2:
        return False
    share = float(((mask != BACKGROUND) & (mask != IGNORE)).mean())
    return MIXED_SHARE[0] < share < MIXED_SHARE[1] and float((mask == IGNORE).mean()) < 0.5


def find_glass(picture: Picture, per_cell: int) -> NDArray[np.bool_]:
    """Find the cells of a patch that are mostly glass, whatever its colors.

    Stain jitter darkens glass to as little as two thirds of white, and pale tissue may be brighter than that. So glass
    is what is nearly as bright as the white of the patch, if the patch has glass at all. Glass is even: many cells are
    about equally bright, while the palest tissue is the thin end of a wide spread.

    Args:
        picture: (H * per_cell, W * per_cell, 3) uint8.
        per_cell: Pixels along the side of a cell.

    Returns:
        (H, W) bool.
    """
    channels = [cell_means(picture[..., color].astype(np.float32), per_cell) for color in range(3)]
    grays = np.stack(channels).min(0)
    white = float(np.percentile(grays, WHITE_PERCENTILE))
    share = grays / max(white, MIN_VARIANCE)
    below, even = EVEN_SHARES
    brightest = (share > even).mean()
    next_brightest = ((share > below) & (share <= even)).mean()
    has_glass = (share > NEARLY_WHITE).mean() >= MIN_WHITE_CELLS or brightest >= EVENNESS * next_brightest
    if white < MIN_WHITE or not has_glass:
        return np.zeros(grays.shape, bool)
    bright: Maps = (picture.min(-1) > NEARLY_WHITE * white).astype(np.float32)
    return cell_means(bright, per_cell) >= 0.5


def straightness(masks: Iterable[Mask]) -> float:
    """The share of edges that are long and straight.

    It is about 0.8 for rectangles and 0.2 for outlines along glands.

    Args:
        masks: Masks (H, W) uint8; edges along the border of a mask do not count.

    Returns:
        The share; 0 if there are no edges.
    """
    straight = total = 0.0
    for mask in masks:
        rows, columns = mask.shape
        frame = Box(0, 0, columns, rows)
        for piece in mask_to_polygons((mask != BACKGROUND) & (mask != IGNORE), frame, 1.0):
            side = float(np.sqrt(piece.area))
            if side >= MIN_PIECE_PX:
                lengths = _edge_lengths(piece, frame)
                straight += float(lengths[lengths > LONG_EDGE * side].sum())
                total += float(lengths.sum())
    return straight / total if total else 0.0


def _edge_lengths(piece: shapely.Polygon, frame: Box) -> NDArray[np.float64]:
    """Lengths of outer edges, stairs smoothed, without those along the frame: (N,) float64."""
    corners = np.array(shapely.LineString(piece.exterior.coords).simplify(STAIR_PX).coords)
    starts, ends = corners[:-1], corners[1:]
    limits = np.array([frame.width, frame.height])
    along_frame = ((starts == ends) & ((starts <= 0) | (starts >= limits))).any(1)
    return np.asarray(np.linalg.norm(ends - starts, axis=1)[~along_frame])
