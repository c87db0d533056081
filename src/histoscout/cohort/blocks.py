"""Blocks of a slide kept apart for tuning, where there are too few patients to keep a patient apart.

Neighbouring tissue is alike, so blocks are large (1 mm) and training stays a gap away from them; figures on
them are still optimistic, and are said to be.
"""

import math

import numpy as np

from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions

BLOCK_UM, GAP_UM = 1000.0, 250.0


def tune_blocks(
    slide_box: Box,
    mpp: float,
    seed: int,
    share: float,
    block_um: float = BLOCK_UM,
    holding: Regions | None = None,
) -> list[Box]:
    """The blocks of a slide to tune on: `share` of its area, at least one block and never all of them.

    The slide is divided into equal blocks of at least `block_um`; one too small for two blocks is
    halved. With `holding`, blocks that meet these regions and blocks that do not are drawn in the same share,
    so that both sides get some. Level-0 px; the same seed gives the same blocks.
    """
    rows, columns = (
        max(1, math.floor(side * mpp / block_um)) for side in (slide_box.height, slide_box.width)
    )
    if rows * columns == 1:
        rows, columns = (2, 1) if slide_box.height > slide_box.width else (1, 2)
    width, height = slide_box.width / columns, slide_box.height / rows
    blocks = [
        Box(slide_box.x + column * width, slide_box.y + row * height, width, height)
        for row in range(rows)
        for column in range(columns)
    ]
    random = np.random.default_rng(seed)
    with_regions = [block for block in blocks if holding is not None and len(holding.touching(block))]
    without = [block for block in blocks if block not in with_regions]
    chosen = _some(with_regions, share, random) + _some(without, share, random)
    return sorted(chosen or [blocks[int(random.integers(len(blocks)))]], key=lambda block: (block.y, block.x))


def _some(blocks: list[Box], share: float, random: np.random.Generator) -> list[Box]:
    """A share of the blocks: one at least and not all, if there are two; none if there is one."""
    count = min(len(blocks) - 1, max(1, round(share * len(blocks))))
    return [blocks[i] for i in random.permutation(len(blocks))[: max(0, count)]]
