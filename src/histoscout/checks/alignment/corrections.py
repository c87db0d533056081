"""Typical mistakes on the way from annotations to masks, and the corrections that undo them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import shapely
from shapely.affinity import affine_transform

from histoscout.geometry.box import Box, TileGrid
from histoscout.geometry.regions import Region, Regions, valid_outline

Matrix = tuple[float, float, float, float, float, float]
JOIN_PX = 0.1  # pieces whose borders are no further apart (level-0 px; files round) are joined


@dataclass(frozen=True)
class Mistake:
    """What may have happened to outlines on their way: its `name`, what a user should be told, and its undoing."""

    name: str
    message: str
    correct: Callable[[Regions], Regions]


@dataclass(frozen=True)
class ReferenceFrame:
    """What mistakes refer to: the slide's box, the side of a tile, and the corner of the scanned part (level-0 px)."""

    box: Box
    tile: float
    corner: tuple[float, float] = (0.0, 0.0)


def known_mistakes(frame: ReferenceFrame) -> tuple[Mistake, ...]:
    """Every mistake that is tried on a slide; those about the scanned part only where the slide states one.

    Args:
        frame: Slide, tile and scanned part that mistakes refer to.
    """
    return (
        *_displaced(frame),
        *_mirrored(frame.box),
        *_scaled(),
        *_by_tile(frame.tile),
        *_bounds(frame.corner),
    )


def displacement(dx: float, dy: float, name: str, message: str) -> Mistake:
    """Outlines displaced by (dx, dy) level-0 px.

    Args:
        dx: Displacement to the right in level-0 px.
        dy: Displacement down in level-0 px.
        name: Name of the mistake.
        message: What a user reads.
    """
    return Mistake(name, message, partial(_transformed, matrix=(1, 0, 0, 1, -dx, -dy)))


def _displaced(frame: ReferenceFrame) -> list[Mistake]:
    tile = frame.tile
    ways = {"down": (0.0, tile), "up": (0.0, -tile), "right": (tile, 0.0), "left": (-tile, 0.0)}
    return [
        displacement(dx, dy, f"a tile {way}", f"all annotations are one tile ({tile:g} px) too far {way}")
        for way, (dx, dy) in ways.items()
    ]


def _mirrored(box: Box) -> list[Mistake]:
    ways: dict[str, tuple[str, Matrix]] = {
        "mirrored top to bottom": (
            "y points up in the annotations, down on slides",
            (1, 0, 0, -1, 0, box.height),
        ),
        "mirrored left to right": ("x runs from right to left", (-1, 0, 0, 1, box.width, 0)),
        "turned upside down": ("the slide was turned by 180 degrees", (-1, 0, 0, -1, box.width, box.height)),
        "rows and columns swapped": ("x and y are exchanged", (0, 1, 1, 0, 0, 0)),
    }
    return [
        Mistake(name, message, partial(_transformed, matrix=matrix))
        for name, (message, matrix) in ways.items()
    ]


def _scaled() -> list[Mistake]:
    return [
        Mistake(
            f"{factor:g} times too large" if factor > 1 else f"{1 / factor:g} times too small",
            "the annotations were drawn or exported at another resolution than the slide's finest",
            partial(_transformed, matrix=(1 / factor, 0, 0, 1 / factor, 0, 0)),
        )
        for factor in (2.0, 4.0, 0.5, 0.25)
    ]


def _by_tile(tile: float) -> list[Mistake]:
    ways = {
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
        )
        for name, (message, mirror, rows) in ways.items()
    ]


def _bounds(corner: tuple[float, float]) -> list[Mistake]:
    if corner == (0.0, 0.0):
        return []
    x, y = corner
    told = f"({x:g}, {y:g}) px"
    return [
        displacement(
            x,
            y,
            "offset by the scanned part",
            f"coordinates count from the file's corner, not from the scanned part's {told}",
        ),
        displacement(
            -x,
            -y,
            "offset by the scanned part twice",
            f"the scanned part's corner {told} was subtracted twice",
        ),
    ]


def _transformed(regions: Regions, matrix: Matrix) -> Regions:
    return Regions.of(
        replace(region, outline=affine_transform(region.outline, list(matrix))) for region in regions
    )


def mirror_by_tile(regions: Regions, tile: float, mirror: tuple[float, float], rows: int) -> Regions:
    """Cut outlines along the grid of tiles, mirror each piece within its tile, move it by `rows`, join what meets.

    `mirror` is 1 or -1 for x and y. Pieces of one label that meet become one region; its other properties are those of
    the first.

    Args:
        regions: The annotations.
        tile: Side of a tile in level-0 px.
        mirror: Factors 1 or -1 for x and y.
        rows: Tiles that each piece is moved down.
    """
    first: dict[str, Region] = {}
    pieces: dict[str, list[shapely.Geometry]] = {}
    for region in regions:
        first.setdefault(region.label, region)
        pieces.setdefault(region.label, []).extend(_pieces(region, tile, mirror, rows))
    return Regions.of(
        Region(outline, label, first[label].score, properties=first[label].properties)
        for label, cut in pieces.items()
        for part in shapely.get_parts(_joined(cut))
        if (outline := valid_outline(part)) is not None
    )


def _joined(pieces: Sequence[shapely.Geometry]) -> shapely.Geometry:
    wide = shapely.buffer(np.array(pieces, dtype=object), JOIN_PX, join_style="mitre")
    return shapely.buffer(shapely.union_all(wide), -JOIN_PX, join_style="mitre")


def _pieces(
    region: Region, tile: float, mirror: tuple[float, float], rows: int
) -> Sequence[shapely.Geometry]:
    tiles = list(_tiles(region.box, tile))
    cut = shapely.intersection(
        region.outline, np.array([shapely.box(*one.bounds) for one in tiles], dtype=object)
    )
    points, piece = shapely.get_coordinates(cut, return_index=True)
    centers = np.array([one.center for one in tiles]).reshape(-1, 2)[piece]
    turned = centers + (points - centers) * mirror + (0.0, rows * tile)
    return [one for one in shapely.set_coordinates(cut, turned) if not one.is_empty]


def _tiles(box: Box, tile: float) -> TileGrid:
    """The tiles of the slide's grid that a box meets."""
    left, top = (np.floor(start / tile) * tile for start in (box.x, box.y))
    right, bottom = (np.ceil(end / tile) * tile for end in (box.right, box.bottom))
    return TileGrid(Box(float(left), float(top), float(right - left), float(bottom - top)), tile, tile)
