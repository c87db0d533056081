"""Typical mistakes on the way from annotations to masks, and the corrections that undo them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import shapely
from shapely.affinity import affine_transform

from histoscout.geometry.box import Box, TileGrid
from histoscout.geometry.regions import Region, Regions, valid_outline

JOIN_PX = 0.1
"""Pieces whose borders are no further apart are joined (level-0 px; files round coordinates)."""

SAME_FACTOR = 1e-3
"""Factors that differ by less than this share scale annotations alike."""

Matrix = tuple[float, float, float, float, float, float]
"""An affine transformation as shapely takes it: a, b, d, e, x offset, y offset."""


@dataclass(frozen=True)
class Mistake:
    """A mistake that annotations may have suffered.

    Attributes:
        name: Name of the mistake.
        message: What a user reads.
        correct: Undoes the mistake.
        by_tile: Whether it is made within each tile. Cutting annotations along tiles changes their shape, which may
            fit by chance: two slides must show it.
    """

    name: str
    message: str
    correct: Callable[[Regions], Regions]
    by_tile: bool = False


@dataclass(frozen=True)
class ReferenceFrame:
    """What mistakes refer to, in level-0 px.

    Attributes:
        box: The slide.
        tile: Side of a tile.
        corner: Corner of the scanned part in the whole scan.
        mpp: um per px; None if annotations in um are not tried.
    """

    box: Box
    tile: float
    corner: tuple[float, float] = (0.0, 0.0)
    mpp: float | None = None


def known_mistakes(frame: ReferenceFrame) -> tuple[Mistake, ...]:
    """List every mistake that is tried on a slide.

    Args:
        frame: Slide, tile and scanned part that the mistakes refer to.

    Returns:
        The mistakes; those about the scanned part only if the slide states one.
    """
    return (
        *_tile_displacements(frame.tile),
        *_reflections(frame.box),
        *_scalings(frame.mpp),
        *_reflections_by_tile(frame.tile),
        *_corner_displacements(frame.corner),
    )


def displacement(dx: float, dy: float, name: str, message: str) -> Mistake:
    """The mistake of displaced annotations.

    Args:
        dx: Displacement to the right in level-0 px.
        dy: Displacement down in level-0 px.
        name: Name of the mistake.
        message: What a user reads.

    Returns:
        The mistake.
    """
    return Mistake(name, message, partial(_transform, matrix=(1, 0, 0, 1, -dx, -dy)))


def _tile_displacements(tile: float) -> list[Mistake]:
    directions = {"down": (0.0, tile), "up": (0.0, -tile), "right": (tile, 0.0), "left": (-tile, 0.0)}
    return [
        displacement(
            dx,
            dy,
            name=f"a tile {direction}",
            message=f"all annotations are one tile ({tile:g} px) too far {direction}",
        )
        for direction, (dx, dy) in directions.items()
    ]


def _reflections(box: Box) -> list[Mistake]:
    reflections: dict[str, tuple[str, Matrix]] = {
        "mirrored top to bottom": (
            "y points up in the annotations, down on slides",
            (1, 0, 0, -1, 0, box.height),
        ),
        "mirrored left to right": ("x runs from right to left", (-1, 0, 0, 1, box.width, 0)),
        "turned upside down": ("the slide was turned by 180 degrees", (-1, 0, 0, -1, box.width, box.height)),
        "rows and columns swapped": ("x and y are exchanged", (0, 1, 1, 0, 0, 0)),
    }
    return [
        Mistake(name, message, partial(_transform, matrix=matrix))
        for name, (message, matrix) in reflections.items()
    ]


def _scalings(mpp: float | None) -> list[Mistake]:
    mistakes = []
    for factor in (2.0, 4.0, 0.5, 0.25):
        message = "the annotations were drawn or exported at another resolution than the slide's finest"
        # then both mistakes give the same coordinates
        if mpp is not None and abs(mpp / factor - 1) < SAME_FACTOR:
            message += ", or their coordinates are in um instead of px"
        name = f"{factor:g} times too large" if factor > 1 else f"{1 / factor:g} times too small"
        mistakes.append(_scaling(factor, name, message))
    if mpp is not None and all(abs(mpp / factor - 1) >= SAME_FACTOR for factor in (1.0, 2.0, 4.0, 0.5, 0.25)):
        message = f"the coordinates are in um instead of px ({mpp:.4g} um/px)"
        mistakes.append(_scaling(mpp, "in um", message))
    return mistakes


def _scaling(factor: float, name: str, message: str) -> Mistake:
    return Mistake(name, message, partial(_transform, matrix=(1 / factor, 0, 0, 1 / factor, 0, 0)))


def _reflections_by_tile(tile: float) -> list[Mistake]:
    reflections = {
        "of the tile above, mirrored": (
            "each tile has the mask of the tile above it, upside down",
            (1.0, -1.0),
            -1,
        ),
        "mirrored within each tile, top to bottom": ("each tile's mask is upside down", (1.0, -1.0), 0),
        "mirrored within each tile, left to right": ("each tile's mask is mirrored", (-1.0, 1.0), 0),
    }
    return [
        Mistake(
            name,
            f"{message} (tiles of {tile:g} px)",
            partial(mirror_by_tile, tile=tile, mirror=mirror, rows=rows),
            by_tile=True,
        )
        for name, (message, mirror, rows) in reflections.items()
    ]


def _corner_displacements(corner: tuple[float, float]) -> list[Mistake]:
    if corner == (0.0, 0.0):
        return []
    x, y = corner
    return [
        displacement(
            x,
            y,
            name="offset by the scanned part",
            message=f"coordinates count from the file's corner, not from the scanned part's ({x:g}, {y:g}) px",
        ),
        displacement(
            -x,
            -y,
            name="offset by the scanned part twice",
            message=f"the scanned part's corner ({x:g}, {y:g}) px was subtracted twice",
        ),
    ]


def _transform(regions: Regions, matrix: Matrix) -> Regions:
    return Regions.of(
        replace(region, outline=affine_transform(region.outline, list(matrix))) for region in regions
    )


def mirror_by_tile(regions: Regions, tile: float, mirror: tuple[float, float], rows: int) -> Regions:
    """Cut annotations along the grid of tiles, mirror each piece within its tile and move it.

    Pieces of one class that touch become one region; its other properties are those of the first region.

    Args:
        regions: The annotations.
        tile: Side of a tile in level-0 px.
        mirror: Factors 1 or -1 for x and y.
        rows: Tiles that each piece is moved down.

    Returns:
        The changed annotations.
    """
    first: dict[str, Region] = {}
    pieces: dict[str, list[shapely.Geometry]] = {}
    for region in regions:
        first.setdefault(region.label, region)
        pieces.setdefault(region.label, []).extend(_mirrored_pieces(region, tile, mirror, rows))
    changed = []
    for label, label_pieces in pieces.items():
        # Pieces are joined a little widened, because rounding leaves gaps between them.
        wide = shapely.buffer(np.array(label_pieces, dtype=object), JOIN_PX, join_style="mitre")
        joined = shapely.buffer(shapely.union_all(wide), -JOIN_PX, join_style="mitre")
        for part in shapely.get_parts(joined):
            if (outline := valid_outline(part)) is not None:
                source = first[label]
                changed.append(Region(outline, label, source.score, properties=source.properties))
    return Regions.of(changed)


def _mirrored_pieces(
    region: Region, tile: float, mirror: tuple[float, float], rows: int
) -> Sequence[shapely.Geometry]:
    # The tiles of the slide's grid that the region touches.
    left, top = (np.floor(start / tile) * tile for start in (region.box.x, region.box.y))
    right, bottom = (np.ceil(end / tile) * tile for end in (region.box.right, region.box.bottom))
    covered = Box(float(left), float(top), float(right - left), float(bottom - top))
    tiles = list(TileGrid(covered, tile, tile))
    frames = np.array([shapely.box(*box.bounds) for box in tiles], dtype=object)
    pieces = shapely.intersection(region.outline, frames)
    # Mirror all corners at once, each about the center of its own tile.
    points, piece_of = shapely.get_coordinates(pieces, return_index=True)
    centers = np.array([box.center for box in tiles]).reshape(-1, 2)[piece_of]
    mirrored = centers + (points - centers) * mirror + (0.0, rows * tile)
    return [piece for piece in shapely.set_coordinates(pieces, mirrored) if not piece.is_empty]
