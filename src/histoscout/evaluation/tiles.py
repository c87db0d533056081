"""How well tiles with lesion are told from tiles without: the grid a tile classifier works on, for any network."""

import math

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.windows import LEAST_TISSUE
from histoscout.evaluation.ground import Ground, Strip
from histoscout.evaluation.pixels import PixelCounts
from histoscout.geometry.grid import TileGrid
from histoscout.recipe import IGNORE

_Levels = NDArray[np.uint8]


def count_tiles(strip: Strip, ground: Ground) -> PixelCounts:
    """The tiles of a strip by their scores: those of the positive class, and those that are not.

    The strip begins where a row of tiles does. What a tile is follows the rule that tile classifiers are taught by
    (`windows.examples.target_of`): it is of the first class (the positive one first) that covers at least
    `tile_share` of it; one that a class merely touches is ignored, and so is one that is mostly ignored. Only
    tiles that detection would look at count. A tile's score is the highest probability that at least
    `tile_share` of it reaches: at any threshold, the tile is found if so much of it is found.
    """
    side = ground.recipe.window_px
    worth = _with_tissue(strip, ground, side)
    masks = _tiles(strip.mask, side)[worth]
    truth = _classes(masks, ground)
    known = truth != IGNORE
    scores = _scores(_tiles(strip.levels, side)[worth][known], ground.recipe.windows.tile_share)
    return PixelCounts.of(scores, truth[known] == 1)


def _with_tissue(strip: Strip, ground: Ground, side: int) -> NDArray[np.bool_]:
    """Whether each tile of a strip shows tissue, row by row: bool (N,)."""
    rows, columns = (math.ceil(length / side) for length in strip.mask.shape)
    px = side * strip.box.width / strip.mask.shape[1]
    grid = TileGrid(strip.box, px, px)
    boxes = [grid.at(row, column) for row in range(rows) for column in range(columns)]
    return ground.tissue.shares(boxes) >= LEAST_TISSUE


def _tiles(values: _Levels, side: int) -> _Levels:
    """The tiles of a raster row by row, 0 beyond its edges: uint8 (N, side * side)."""
    rows, columns = (math.ceil(length / side) for length in values.shape)
    beyond = [(0, count * side - length) for count, length in zip((rows, columns), values.shape, strict=True)]
    whole = np.pad(values, beyond) if any(after for _, after in beyond) else values
    tiles: _Levels = whole.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side * side)
    return tiles


def _classes(masks: _Levels, ground: Ground) -> _Levels:
    """The class of each tile, 0 for none, 255 to be ignored: uint8 (N,)."""
    classes = range(1, len(ground.recipe.classes.labels) + 1)
    shares = {value: (masks == value).mean(1) for value in (*classes, IGNORE)}
    touched = np.any([shares[value] > 0 for value in classes], axis=0) | (shares[IGNORE] > 0.5)
    found = np.where(touched, IGNORE, 0).astype(np.uint8)
    for value in reversed(classes):
        found[(shares[value] > 0) & (shares[value] >= ground.recipe.windows.tile_share)] = value
    return found


def _scores(tiles: _Levels, share: float) -> _Levels:
    """The level that at least a share of each tile's pixels has or passes: uint8 (N,)."""
    size = tiles.shape[1]
    enough = max(1, math.ceil(share * size - 1e-9))
    ordered = np.sort(tiles, axis=1, kind="stable")  # counts the levels: faster than a partition
    scores: _Levels = ordered[:, size - enough]
    return scores
