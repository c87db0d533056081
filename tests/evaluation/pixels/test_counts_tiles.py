"""Tiles against the rule that tile classifiers are taught by, and a slow, obvious score."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from histoscout.evaluation.pixels.counts import PixelCounts, count_tiles
from histoscout.evaluation.reference import FoundHeatmap, Ground, Strip, strips
from histoscout.evaluation.slide_metrics import judge_heatmap
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import mask_of
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe
from histoscout.sampling.datasets import target_of
from histoscout.tissue.mask import Tissue
from tests.evaluation.slides import BOX, MPP, RECIPE, ground, heatmap

SIDE = 32  # px of a tile
VALUES = st.sampled_from([0, 0, 0, 1, 2, 255])


def strip_of(levels: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Strip:
    rows, columns = mask.shape
    return Strip(Box(0, 0, columns * 2, rows * 2), levels, mask, mask != 255)


@given(
    st.integers(1, 40),
    st.integers(1, 70),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),
)
def test_tiles_are_classed_as_classifiers_are_taught_and_scored_by_what_share_of_them_is_found(
    rows: int, columns: int, seed: int, share: float
) -> None:
    random = np.random.default_rng(seed)
    blocks = random.choice([0, 0, 0, 1, 2, 255], size=(rows // 8 + 1, columns // 8 + 1)).astype(np.uint8)
    mask = np.kron(blocks, np.ones((8, 8), np.uint8))[:rows, :columns]
    levels = random.integers(0, 256, mask.shape).astype(np.uint8)
    recipe = RECIPE.with_choices(
        {"patches.tile_coverage": share, "network.architecture": "timm", "network.encoder": "resnet18"}
    )
    tissue = ground(Regions(), box=Box(0, 0, columns * 2, rows * 2)).tissue
    counts = count_tiles(strip_of(levels, mask), Ground("s", "p", Regions(), tissue, MPP, recipe))
    expected: list[tuple[int, bool]] = []
    for top in range(0, rows, SIDE):
        for left in range(0, columns, SIDE):
            tile = np.zeros((2, SIDE, SIDE), np.uint8)
            part = (slice(top, top + SIDE), slice(left, left + SIDE))
            tile[0, : mask[part].shape[0], : mask[part].shape[1]] = mask[part]
            tile[1, : mask[part].shape[0], : mask[part].shape[1]] = levels[part]
            target = int(target_of(tile[0], recipe))
            if target != 255 and tissue.shares([Box(left * 2, top * 2, 64, 64)])[0] >= 0.01:
                enough = [t for t in range(256) if t == 0 or (tile[1] >= t).mean() >= max(share, 1 / SIDE**2)]
                expected.append((max(enough), target == 1))
    scores = np.array([score for score, _ in expected], np.uint8)
    truth = np.array([is_positive for _, is_positive in expected], bool)
    want = PixelCounts.of(scores, truth)
    assert counts.positive.tolist() == want.positive.tolist()
    assert counts.negative.tolist() == want.negative.tolist()


def test_a_tile_classifiers_answer_is_its_tiles_score_and_that_of_each_of_its_pixels() -> None:
    answers = np.arange(16, dtype=np.uint8).reshape(4, 4) * 10  # a cell for each tile of 64 level-0 px
    truth = Regions.of([Region(shapely.box(0, 0, 64, 64), "UDH")])
    scores = judge_heatmap(ground(truth), heatmap(answers, mpp=128.0), Regions(), 0.5)
    assert np.flatnonzero(scores.tiles.positive).tolist() == [0]
    assert np.flatnonzero(scores.tiles.negative).tolist() == [*range(10, 160, 10)]
    assert scores.pixels.positive.sum() == 32 * 32
    assert scores.pixels.negative[150] == 32 * 32


def test_tiles_without_tissue_do_not_count() -> None:
    half = np.zeros((64, 64), bool)
    half[:, :32] = True
    tissue = Tissue(half, np.zeros_like(half), BOX, 4.0, 1.0, {})
    judged = Ground("s", "p", Regions(), tissue, MPP, RECIPE)
    levels = np.zeros((128, 128), np.uint8)
    (strip,) = strips(judged, FoundHeatmap(heatmap(levels), "UDH", RECIPE.patches.mpp), SIDE)
    assert count_tiles(strip, judged).negative.sum() == 8
    assert PixelCounts.in_strip(strip).negative.sum() == 128 * 64


@given(arrays(np.uint8, (128, 128), elements=VALUES))
def test_strips_add_up_to_the_whole_whatever_their_height(levels: NDArray[np.uint8]) -> None:
    judged = ground(Regions.of([Region(shapely.Point(100, 90).buffer(40), "UDH")]))
    found = FoundHeatmap(heatmap(levels), "UDH", RECIPE.patches.mpp)
    whole = PixelCounts.total(PixelCounts.in_strip(strip) for strip in strips(judged, found))
    direct = PixelCounts.of(levels, judged_mask(judged))
    assert whole.positive.tolist() == direct.positive.tolist()
    assert whole.negative.tolist() == direct.negative.tolist()


def judged_mask(judged: Ground) -> NDArray[np.bool_]:
    (region,) = judged.positive
    return mask_of(region.outline, BOX, RECIPE.patches.mpp / MPP)


@pytest.mark.parametrize("rows", [4, 5, 7])
def test_the_last_cells_answer_for_the_slide_beyond_them(rows: int) -> None:
    recipe = Recipe.from_dict({"patches": {"mpp": 4.0, "size_um": 128.0}, "classes": {"positive": "UDH"}})
    box = Box(0, 0, 64 * rows + 20, 64 * rows + 20)  # cells of 64 px: a third of one is left over
    cells = np.full((rows, rows), 200, np.uint8)
    judged = Ground("s", "p", Regions(), ground(Regions(), box=box).tissue, MPP, recipe)
    shown = FoundHeatmap(heatmap(cells, box, mpp=128.0), "UDH", recipe.patches.mpp)
    counts = PixelCounts.total(PixelCounts.in_strip(strip) for strip in strips(judged, shown))
    assert counts.negative[200] == (32 * rows + 10) ** 2
    assert counts.negative.sum() == counts.negative[200]
