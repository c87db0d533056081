"""Dividing a large heatmap into parts that hold whole regions: memory is bounded and no outline is cut."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.detection.room import let_go

BLOCK = 64
LARGEST = 2**24
"""Cells of a part; a larger one is made coarser by averaging."""

_Levels = NDArray[np.uint8]


@dataclass(frozen=True)
class Part:
    """A piece of a heatmap with whole regions in it: uint8 (H, W), 0 where other parts' regions lie.

    Its first cell is at `row`, `column` of the heatmap; each of its cells is `coarser` cells of it wide and
    high.
    """

    levels: _Levels
    row: int
    column: int
    coarser: int


def parts(levels: _Levels, floor: int, reach: int) -> Iterator[Part]:
    """The parts of a heatmap, uint8 (H, W), that reach the level `floor` somewhere, from the top down.

    Regions nearer to one another than `reach` cells come in one part.
    """
    occupied = _block_peaks(levels) >= floor
    if reach:
        occupied = ndimage.maximum_filter(occupied.view(np.uint8), 2 * math.ceil(reach / BLOCK) + 1).view(
            np.bool_
        )
    groups, _ = ndimage.label(occupied, np.ones((3, 3)))
    for number, where in enumerate(ndimage.find_objects(groups), start=1):
        if where is not None:
            yield _part(levels, groups[where] == number, where[0].start, where[1].start)


def _block_peaks(levels: _Levels) -> _Levels:
    """The highest level in each block."""
    rows, columns = (math.ceil(length / BLOCK) for length in levels.shape)
    peaks = np.zeros((rows, columns), np.uint8)
    for row in range(rows):
        highest = levels[row * BLOCK : (row + 1) * BLOCK].max(axis=0)
        peaks[row] = np.pad(highest, (0, columns * BLOCK - len(highest))).reshape(columns, BLOCK).max(axis=1)
        if row % 16 == 0:
            let_go(levels)
    return peaks


def _part(levels: _Levels, mine: NDArray[np.bool_], block_row: int, block_column: int) -> Part:
    """Read a part strip by strip, coarser if it is too large."""
    top, left = block_row * BLOCK, block_column * BLOCK
    bottom, right = (
        min(start + count * BLOCK, end)
        for start, count, end in zip((top, left), mine.shape, levels.shape, strict=True)
    )
    coarser = 1
    while (bottom - top) * (right - left) / coarser**2 > LARGEST and coarser < BLOCK:
        coarser *= 2
    strips = []
    for row, belongs in enumerate(mine):
        strip = levels[top + row * BLOCK : min(top + (row + 1) * BLOCK, bottom), left:right]
        strip = strip * np.repeat(belongs, BLOCK)[: strip.shape[1]].astype(np.uint8)
        strips.append(strip if coarser == 1 else _averaged(strip, coarser))
        let_go(levels)
    return Part(np.concatenate(strips), top, left, coarser)


def _averaged(strip: _Levels, factor: int) -> _Levels:
    rows, columns = (-(-length // factor) * factor for length in strip.shape)
    whole = np.pad(strip, ((0, rows - strip.shape[0]), (0, columns - strip.shape[1])), mode="edge")
    # rows first, then columns, a step at a time: far quicker than a mean over axes of a few cells
    down = whole[::factor].astype(np.uint32)
    for start in range(1, factor):
        down += whole[start::factor]
    sums = down[:, ::factor].copy()
    for start in range(1, factor):
        sums += down[:, start::factor]
    return np.asarray(((sums + factor**2 // 2) // factor**2).astype(np.uint8))
