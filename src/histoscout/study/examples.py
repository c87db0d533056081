"""Batches of the study's tiles: shuffled anew each epoch, flipped; a function of seed and number alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from histoscout.recipe import Recipe
from histoscout.study.faults import Batch, flips
from histoscout.study.tiles import Indices, TilePixels, targets_of

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
        size = self.recipe.training.batch
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
    size = recipe.training.batch
    for start in range(0, len(masks), size):
        pictures = [flipped(one, down, across) for one in pixels.pictures[start : start + size]]
        targets = [flipped(one, down, across) for one in masks[start : start + size]]
        yield torch.from_numpy(np.stack(pictures)), torch.from_numpy(targets_of(np.stack(targets), recipe))
