"""The study's tiles: a regular grid, a filter, three tiles without lesion for each with one, and a split by tile.

The split by tile leaks: neighbours of a training tile are tested on. It exists here only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.labelled import LabelledSlide
from histoscout.geometry.box import Box
from histoscout.geometry.grid import TileGrid
from histoscout.recipe import IGNORE, Recipe
from histoscout.study import paper
from histoscout.study.faults import MaskFunction, grown, negatives_among
from histoscout.windows.examples import target_of

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Tile:
    """A cell of a slide's grid: which slide of the study, and where (level-0 px)."""

    slide: int
    box: Box


@dataclass(frozen=True)
class Drawn:
    """Tiles to learn from and to test on: indices into the kept tiles, some of them twice."""

    train: Indices
    test: Indices


def tile_grid(labelled: LabelledSlide, recipe: Recipe) -> TileGrid:
    """The paper's grid: no overlap, incomplete tiles at the right and the bottom dropped."""
    side = labelled.px(recipe.windows.side_um)
    return TileGrid(labelled.slide.box, side, side, "drop")


def kept_tiles(slides: Sequence[LabelledSlide], recipe: Recipe) -> list[Tile]:
    """The tiles that the filter keeps (`tissue.method = "tile_std"`), slide by slide."""
    kept = []
    for index, labelled in enumerate(slides):
        grid = tile_grid(labelled, recipe)
        shares = labelled.tissue.shares(grid)
        kept += [Tile(index, box) for box, share in zip(grid, shares, strict=True) if share > 0.5]
    return kept


def with_mask(
    tiles: Sequence[Tile], slides: Sequence[LabelledSlide], made: MaskFunction, recipe: Recipe
) -> NDArray[np.bool_]:
    """Which tiles have any positive pixel in their mask, as the mask is made: bool (N,)."""
    return np.array(
        [(made(slides[tile.slide], tile.box, recipe.windows.mpp) == 1).any() for tile in tiles], bool
    )


def draw_tiles(
    has_mask: NDArray[np.bool_], patients: Sequence[str], faults: frozenset[str], seed: int
) -> Drawn:
    """All tiles with a mask, three times as many without; split 8:2; the training set grown by half.

    `patients` names each tile's; without J the last of them is tested on and nobody else. With G tiles are repeated
    before the split, and negatives are drawn from all tiles.
    """
    random = np.random.default_rng([seed, 7])
    positive, others = np.flatnonzero(has_mask), negatives_among(has_mask, faults)
    count = min(len(others), paper.NEGATIVES * len(positive))
    chosen = np.concatenate([positive, random.choice(others, count, replace=False)])
    if "G" in faults:
        chosen = grown(chosen, paper.GROWTH, random)
    train, test = _split(random.permutation(chosen), patients, faults, random)
    return Drawn(train if "G" in faults else grown(train, paper.GROWTH, random), test)


def _split(
    chosen: Indices, patients: Sequence[str], faults: frozenset[str], random: np.random.Generator
) -> tuple[Indices, Indices]:
    if "J" in faults:
        tested = round(paper.TEST_SHARE * len(chosen))
        return chosen[tested:], chosen[:tested]
    last = np.array([patients[index] == patients[-1] for index in chosen], bool)
    return chosen[~last], chosen[last]


@dataclass(frozen=True)
class TilePixels:
    """Tiles in memory: pictures uint8 (N, H, W, 3), masks as the run was given them, and masks as they are."""

    pictures: NDArray[np.uint8]
    own: NDArray[np.uint8]
    truth: NDArray[np.uint8]

    def at(self, rows: Indices) -> "TilePixels":
        return TilePixels(self.pictures[rows], self.own[rows], self.truth[rows])


def read_tiles(
    tiles: Sequence[Tile], slides: Sequence[LabelledSlide], made: MaskFunction, recipe: Recipe
) -> TilePixels:
    """Read pictures and both kinds of masks, all by the ordinary functions but `made`."""
    mpp = recipe.windows.mpp
    pictures = [slides[tile.slide].picture(tile.box, mpp) for tile in tiles]
    own = [made(slides[tile.slide], tile.box, mpp) for tile in tiles]
    truth = [slides[tile.slide].mask(tile.box, mpp) for tile in tiles]
    return TilePixels(np.array(pictures), np.array(own), np.array(truth))


def targets_of(masks: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.uint8]:
    """What the network should answer for each mask: (N, H, W), or (N,) for a tile classifier."""
    return np.array([target_of(mask, recipe) for mask in masks], np.uint8)


def balanced(targets: NDArray[np.uint8]) -> Indices:
    """For the tile classifier: rows of all tiles, those of the rarer class repeated until both are as many."""
    positive, negative = np.flatnonzero(targets == 1), np.flatnonzero((targets != 1) & (targets != IGNORE))
    if not len(positive) or not len(negative):
        return np.arange(len(targets))
    rarer, commoner = sorted((positive, negative), key=len)
    return np.concatenate([commoner, np.resize(rarer, len(commoner))])
