"""The study's tiles: a regular grid, a filter, three negatives per positive, a split by tile.

The split by tile leaks, since neighbors of a training tile are tested on; it exists here only. Training batches are
shuffled in every epoch and flipped, as a function of seed and number alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.geometry.box import Box, TileGrid
from histoscout.recipe import IGNORE, Recipe
from histoscout.sampling.datasets import make_target
from histoscout.study import protocol
from histoscout.study.faults import Batch, MaskFunction, draw_flips, negative_candidates, repeat_tiles

Indices = NDArray[np.intp]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Tile:
    """A cell of a slide's grid.

    Attributes:
        slide: Index of the slide in the study.
        box: The cell, level-0 px.
    """

    slide: int
    box: Box


@dataclass(frozen=True)
class TileSplit:
    """Training and test tiles: indices into the tiles that the filter kept, some of them twice.

    Attributes:
        train: Training tiles.
        test: Test tiles.
    """

    train: Indices
    test: Indices


@dataclass(frozen=True)
class TilePixels:
    """Tiles in memory.

    Attributes:
        images: (N, H, W, 3) uint8.
        own: (N, H, W) masks that the run was given.
        truth: (N, H, W) correct masks.
    """

    images: Pixels
    own: Pixels
    truth: Pixels

    def select(self, rows: Indices) -> "TilePixels":
        """Return some of the tiles."""
        return TilePixels(self.images[rows], self.own[rows], self.truth[rows])


@dataclass(frozen=True, kw_only=True)
class TileExamples:
    """Training tiles by number, without end; each epoch has an order of its own.

    Attributes:
        pixels: The tiles.
        order: Rows of `pixels` in an epoch, some of them twice.
        faults: Letters of the faults that are switched on.
        recipe: The run's recipe.
    """

    pixels: TilePixels
    order: Indices
    faults: frozenset[str]
    recipe: Recipe

    def __getitem__(self, number: int) -> tuple[Pixels, Pixels]:
        """Return image and mask, flipped alike."""
        epoch, position = divmod(number, len(self.order))
        # a permutation per epoch, computed again for each tile, so that there is no state
        row = np.random.default_rng([self.recipe.seed, epoch, 3]).permutation(self.order)[position]
        vertical, horizontal = draw_flips(self.recipe.seed, number, self.faults)
        image = flip(self.pixels.images[row], vertical, horizontal)
        return image, flip(self.pixels.own[row], vertical, horizontal)

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Return the batches of the steps from `start` up to `stop`."""
        size = self.recipe.training.batch_size
        for step in range(start, stop):
            pairs = [self[number] for number in range(step * size, (step + 1) * size)]
            images, masks = (np.stack(parts) for parts in zip(*pairs, strict=True))
            yield torch.from_numpy(images), torch.from_numpy(make_targets(masks, self.recipe))


def tile_grid(labeled: LabeledSlide, recipe: Recipe) -> TileGrid:
    """Return the paper's grid: no overlap, incomplete tiles at the right and the bottom dropped.

    Args:
        labeled: A slide with its annotations.
        recipe: The recipe.
    """
    side = labeled.px(recipe.patches.size_um)
    return TileGrid(labeled.slide.box, side, side, overflow="drop")


def filter_tiles(slides: Sequence[LabeledSlide], recipe: Recipe) -> list[Tile]:
    """Return the tiles that the filter keeps (`tissue.method = "tile_std"`), slide by slide.

    Args:
        slides: The slides.
        recipe: The recipe.
    """
    kept = []
    for index, labeled in enumerate(slides):
        grid = tile_grid(labeled, recipe)
        shares = labeled.tissue.fractions(grid)
        kept += [Tile(index, box) for box, share in zip(grid, shares, strict=True) if share > 0.5]
    return kept


def find_masked_tiles(
    tiles: Sequence[Tile], slides: Sequence[LabeledSlide], make_mask: MaskFunction, *, recipe: Recipe
) -> NDArray[np.bool_]:
    """Return which tiles have any positive pixel in their mask.

    Args:
        tiles: The tiles.
        slides: The study's slides.
        make_mask: How masks are made.
        recipe: The run's recipe.

    Returns:
        (N,) bool.
    """
    mpp = recipe.patches.mpp
    return np.array([(make_mask(slides[tile.slide], tile.box, mpp) == 1).any() for tile in tiles], bool)


def sample_tiles(
    has_mask: NDArray[np.bool_], patients: Sequence[str], faults: frozenset[str], *, seed: int
) -> TileSplit:
    """Choose all tiles with a mask and three times as many without; split and repeat them.

    Args:
        has_mask: (N,) whether each tile has a mask.
        patients: (N,) the patient of each tile; without J the last one is tested on and nobody else.
        faults: Letters of the faults that are switched on. With G tiles are repeated before the split, and negatives
            are drawn from all tiles.
        seed: Random seed.

    Returns:
        Training and test tiles: 8 to 2, and the training set grown by half.
    """
    random = np.random.default_rng([seed, 7])
    # all positives, and three negatives for each
    positive = np.flatnonzero(has_mask)
    candidates = negative_candidates(has_mask, faults)
    count = min(len(candidates), protocol.NEGATIVES_PER_POSITIVE * len(positive))
    chosen = np.concatenate([positive, random.choice(candidates, count, replace=False)])
    # repeated before the split, or after it
    if "G" in faults:
        chosen = repeat_tiles(chosen, protocol.REPEATED_SHARE, random)
    chosen = random.permutation(chosen)
    if "J" in faults:
        test_count = round(protocol.TEST_SHARE * len(chosen))
        train, test = chosen[test_count:], chosen[:test_count]
    else:
        is_last = np.array([patients[index] == patients[-1] for index in chosen], bool)
        train, test = chosen[~is_last], chosen[is_last]
    if "G" not in faults:
        train = repeat_tiles(train, protocol.REPEATED_SHARE, random)
    return TileSplit(train, test)


def read_tiles(
    tiles: Sequence[Tile], slides: Sequence[LabeledSlide], make_mask: MaskFunction, *, recipe: Recipe
) -> TilePixels:
    """Read images and both kinds of masks, all by the ordinary functions but `make_mask`.

    Args:
        tiles: The tiles.
        slides: The study's slides.
        make_mask: How the run's masks are made.
        recipe: The run's recipe.

    Returns:
        The tiles in memory.
    """
    mpp = recipe.patches.mpp
    images = [slides[tile.slide].picture(tile.box, mpp) for tile in tiles]
    own = [make_mask(slides[tile.slide], tile.box, mpp) for tile in tiles]
    truth = [slides[tile.slide].mask(tile.box, mpp) for tile in tiles]
    return TilePixels(np.array(images), np.array(own), np.array(truth))


def make_targets(masks: Pixels, recipe: Recipe) -> Pixels:
    """Return the network's targets for some masks: (N, H, W), or (N,) for a tile classifier.

    Args:
        masks: Masks of tiles.
        recipe: The recipe.
    """
    return np.array([make_target(mask, recipe) for mask in masks], np.uint8)


def balance_classes(targets: Pixels) -> Indices:
    """Return rows of all tiles, the rarer class repeated until both are as many.

    Args:
        targets: Classes, of the same size.
    """
    positive = np.flatnonzero(targets == 1)
    negative = np.flatnonzero((targets != 1) & (targets != IGNORE))
    if not len(positive) or not len(negative):
        return np.arange(len(targets))
    # the rarer class is repeated in order
    rarer, more_common = sorted((positive, negative), key=len)
    return np.concatenate([more_common, np.resize(rarer, len(more_common))])


def flip(pixels: Pixels, vertical: bool, horizontal: bool) -> Pixels:
    """Return an image or a mask flipped from top to bottom, and from left to right.

    Args:
        pixels: Image (H, W, 3) uint8 or mask (H, W).
        vertical: Whether to flip top to bottom.
        horizontal: Whether to flip left to right.
    """
    return pixels[:: -1 if vertical else 1, :: -1 if horizontal else 1]


def iterate_batches(
    pixels: TilePixels, faults: frozenset[str], recipe: Recipe, *, truth: bool = False
) -> Iterator[Batch]:
    """Return all tiles in order, in batches, without augmentation.

    Args:
        pixels: The tiles.
        faults: Letters of the faults that are switched on; F flips these tiles too.
        recipe: The run's recipe.
        truth: Whether the targets are the correct masks instead of the run's own.

    Returns:
        Batches of images and targets.
    """
    vertical, horizontal = draw_flips(recipe.seed, 0, faults) if "F" in faults else (False, False)
    masks = pixels.truth if truth else pixels.own
    size = recipe.training.batch_size
    for start in range(0, len(masks), size):
        rows = slice(start, start + size)
        images = [flip(image, vertical, horizontal) for image in pixels.images[rows]]
        targets = [flip(mask, vertical, horizontal) for mask in masks[rows]]
        yield torch.from_numpy(np.stack(images)), torch.from_numpy(make_targets(np.stack(targets), recipe))
