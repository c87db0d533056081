"""The study's tiles: a regular grid, a filter, three tiles without lesion for each with one, and a split by tile.

The split by tile leaks: neighbours of a training tile are tested on. It exists here only.

Batches of the study's tiles: shuffled anew each epoch, flipped; a function of seed and number alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.geometry.box import Box, TileGrid
from histoscout.recipe import IGNORE, Recipe
from histoscout.sampling.datasets import target_of
from histoscout.study import protocol
from histoscout.study.faults import Batch, MaskFunction, flips, grown, negatives_among

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


def tile_grid(labeled: LabeledSlide, recipe: Recipe) -> TileGrid:
    """The paper's grid: no overlap, incomplete tiles at the right and the bottom dropped."""
    side = labeled.px(recipe.patches.size_um)
    return TileGrid(labeled.slide.box, side, side, "drop")


def kept_tiles(slides: Sequence[LabeledSlide], recipe: Recipe) -> list[Tile]:
    """The tiles that the filter keeps (`tissue.method = "tile_std"`), slide by slide."""
    kept = []
    for index, labeled in enumerate(slides):
        grid = tile_grid(labeled, recipe)
        shares = labeled.tissue.shares(grid)
        kept += [Tile(index, box) for box, share in zip(grid, shares, strict=True) if share > 0.5]
    return kept


def with_mask(
    tiles: Sequence[Tile], slides: Sequence[LabeledSlide], made: MaskFunction, recipe: Recipe
) -> NDArray[np.bool_]:
    """Which tiles have any positive pixel in their mask, as the mask is made: bool (N,)."""
    return np.array(
        [(made(slides[tile.slide], tile.box, recipe.patches.mpp) == 1).any() for tile in tiles], bool
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
    count = min(len(others), protocol.NEGATIVES * len(positive))
    chosen = np.concatenate([positive, random.choice(others, count, replace=False)])
    if "G" in faults:
        chosen = grown(chosen, protocol.GROWTH, random)
    train, test = _split(random.permutation(chosen), patients, faults, random)
    return Drawn(train if "G" in faults else grown(train, protocol.GROWTH, random), test)


def _split(
    chosen: Indices, patients: Sequence[str], faults: frozenset[str], random: np.random.Generator
) -> tuple[Indices, Indices]:
    if "J" in faults:
        tested = round(protocol.TEST_SHARE * len(chosen))
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
    tiles: Sequence[Tile], slides: Sequence[LabeledSlide], made: MaskFunction, recipe: Recipe
) -> TilePixels:
    """Read pictures and both kinds of masks, all by the ordinary functions but `made`."""
    mpp = recipe.patches.mpp
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


Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class TileExamples:
    """Training tiles by number, without end: one epoch after the other, each in an order of its own."""

    pixels: TilePixels
    order: Indices  # the rows of an epoch, some of them twice
    faults: frozenset[str]
    recipe: Recipe

    def __getitem__(self, number: int) -> tuple[Picture, NDArray[np.uint8]]:
        """Picture and mask, flipped alike."""
        epoch, place = divmod(number, len(self.order))
        shuffled = np.random.default_rng([self.recipe.seed, epoch, 3]).permutation(self.order)
        row = shuffled[place]
        down, across = flips(self.recipe.seed, number, self.faults)
        return tuple(flipped(array[row], down, across) for array in (self.pixels.pictures, self.pixels.own))  # type: ignore[return-value]

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of the steps from `start` up to `stop`."""
        size = self.recipe.training.batch_size
        for step in range(start, stop):
            pairs = [self[number] for number in range(step * size, (step + 1) * size)]
            pictures, masks = (np.stack(kind) for kind in zip(*pairs, strict=True))
            yield torch.from_numpy(pictures), torch.from_numpy(targets_of(masks, self.recipe))


def flipped(pixels: NDArray[np.uint8], down: bool, across: bool) -> NDArray[np.uint8]:
    """The picture or mask turned over from top to bottom, from left to right."""
    return pixels[:: -1 if down else 1, :: -1 if across else 1]


def plain(pixels: TilePixels, faults: frozenset[str], recipe: Recipe, truth: bool = False) -> Iterator[Batch]:
    """All tiles in order, in batches; F flips these too. With `truth`, beside the masks as they are."""
    down, across = flips(recipe.seed, 0, faults) if "F" in faults else (False, False)
    masks = pixels.truth if truth else pixels.own
    size = recipe.training.batch_size
    for start in range(0, len(masks), size):
        pictures = [flipped(one, down, across) for one in pixels.pictures[start : start + size]]
        targets = [flipped(one, down, across) for one in masks[start : start + size]]
        yield torch.from_numpy(np.stack(pictures)), torch.from_numpy(targets_of(np.stack(targets), recipe))
