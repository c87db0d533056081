"""Pixel and tile counts against scikit-learn and slow, obvious counting."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from histoscout.evaluation.pixels.counts import NEAR_BEST_DICE, PixelCounts, count_tiles
from histoscout.evaluation.reference import HeatmapRaster, Reference, Strip, iterate_strips
from histoscout.evaluation.slide_metrics import score_slide_heatmap
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe
from histoscout.sampling.datasets import make_target
from histoscout.tissue.mask import Tissue
from tests.evaluation.random_pixels import Pixels, pixels
from tests.evaluation.slides import BOX, MPP, RECIPE, heatmap, reference


@given(pixels(), st.floats(0.01, 1))
def test_metrics_agree_with_scikit_learn(case: Pixels, threshold: float) -> None:
    levels, truth = case
    counts = PixelCounts.from_levels(levels, truth)
    detected = levels / 255 >= threshold - 1e-9
    metrics = counts.metrics_at(threshold)
    if truth.any():
        assert counts.ap == pytest.approx(average_precision_score(truth, levels), abs=1e-9)
        assert metrics.recall == pytest.approx(recall_score(truth, detected))
    if detected.any():
        assert metrics.precision == pytest.approx(precision_score(truth, detected))
    if detected.any() or truth.any():
        assert metrics.dice == pytest.approx(f1_score(truth, detected))


@given(pixels(), pixels())
def test_counts_of_two_slides_add_up_to_the_counts_of_both(one: Pixels, two: Pixels) -> None:
    together = PixelCounts.from_levels(np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1]]))
    summed = PixelCounts.from_levels(*one) + PixelCounts.from_levels(*two)
    assert np.array_equal(together.positive, summed.positive)
    assert np.array_equal(together.negative, summed.negative)


@given(pixels())
def test_the_best_threshold_is_as_good_as_the_best(case: Pixels) -> None:
    counts = PixelCounts.from_levels(*case)
    best = counts.metrics_at(counts.best_threshold()).dice
    others = [counts.metrics_at(level / 255).dice for level in range(1, 256)]
    assert (best or 0) >= NEAR_BEST_DICE * max(value or 0 for value in others) - 1e-9


def test_where_dice_hardly_changes_the_threshold_lies_in_the_middle() -> None:
    levels = np.array([20] * 20 + [21] * 80 + [180] * 1000, np.uint8)
    truth = np.array([False] * 20 + [False] * 80 + [True] * 1000)
    truth[20] = True  # one pixel more is right from 21 down than from 22 up
    assert PixelCounts.from_levels(levels, truth).best_threshold() == pytest.approx(101 / 255, abs=2 / 255)


@given(arrays(np.bool_, st.integers(1, 50)))
def test_a_perfect_heatmap_scores_one(truth: NDArray[np.bool_]) -> None:
    counts = PixelCounts.from_levels(np.where(truth, 255, 0).astype(np.uint8), truth)
    if truth.any():
        assert counts.ap == 1
        assert counts.metrics_at(0.5).dice == 1


def test_without_the_class_there_is_nothing_to_average() -> None:
    counts = PixelCounts.from_levels(np.array([3, 200], np.uint8), np.array([False, False]))
    assert counts.ap is None
    assert counts.metrics_at(0.5).recall is None
    assert counts.metrics_at(0.5).precision == 0
    assert counts.prevalence == 0
    assert PixelCounts.empty().prevalence is None


# ---------------------------------------------------------------- tiles

SIDE = 32  # px of a tile
VALUES = st.sampled_from([0, 0, 0, 1, 2, 255])


def strip_of(levels: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Strip:
    rows, columns = mask.shape
    return Strip(box=Box(0, 0, columns * 2, rows * 2), levels=levels, mask=mask, valid=mask != 255)


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
    tissue = reference(Regions(), box=Box(0, 0, columns * 2, rows * 2)).tissue
    counts = count_tiles(strip_of(levels, mask), replace(reference(Regions()), tissue=tissue, recipe=recipe))
    expected: list[tuple[int, bool]] = []
    for top in range(0, rows, SIDE):
        for left in range(0, columns, SIDE):
            tile = np.zeros((2, SIDE, SIDE), np.uint8)
            part = (slice(top, top + SIDE), slice(left, left + SIDE))
            tile[0, : mask[part].shape[0], : mask[part].shape[1]] = mask[part]
            tile[1, : mask[part].shape[0], : mask[part].shape[1]] = levels[part]
            target = int(make_target(tile[0], recipe))
            if target != 255 and tissue.fractions([Box(left * 2, top * 2, 64, 64)])[0] >= 0.01:
                enough = [t for t in range(256) if t == 0 or (tile[1] >= t).mean() >= max(share, 1 / SIDE**2)]
                expected.append((max(enough), target == 1))
    scores = np.array([score for score, _ in expected], np.uint8)
    truth = np.array([is_positive for _, is_positive in expected], bool)
    want = PixelCounts.from_levels(scores, truth)
    assert counts.positive.tolist() == want.positive.tolist()
    assert counts.negative.tolist() == want.negative.tolist()


def test_a_tile_classifiers_answer_is_its_tiles_score_and_that_of_each_of_its_pixels() -> None:
    answers = np.arange(16, dtype=np.uint8).reshape(4, 4) * 10  # a cell for each tile of 64 level-0 px
    truth = Regions.of([Region(shapely.box(0, 0, 64, 64), "UDH")])
    scores = score_slide_heatmap(reference(truth), heatmap(answers, mpp=128.0), Regions(), threshold=0.5)
    assert np.flatnonzero(scores.tiles.positive).tolist() == [0]
    assert np.flatnonzero(scores.tiles.negative).tolist() == [*range(10, 160, 10)]
    assert scores.pixels.positive.sum() == 32 * 32
    assert scores.pixels.negative[150] == 32 * 32


def test_tiles_without_tissue_do_not_count() -> None:
    half = np.zeros((64, 64), bool)
    half[:, :32] = True
    tissue = Tissue(
        mask=half, artifact_mask=np.zeros_like(half), box=BOX, scale=4.0, area_mm2=1.0, artifact_mm2={}
    )
    on_slide = replace(reference(Regions()), tissue=tissue)
    levels = np.zeros((128, 128), np.uint8)
    (strip,) = iterate_strips(on_slide, HeatmapRaster(heatmap(levels), "UDH", RECIPE.patches.mpp), SIDE)
    assert count_tiles(strip, on_slide).negative.sum() == 8
    assert PixelCounts.from_strip(strip).negative.sum() == 128 * 64


@given(arrays(np.uint8, (128, 128), elements=VALUES))
def test_strips_add_up_to_the_whole_whatever_their_height(levels: NDArray[np.uint8]) -> None:
    on_slide = reference(Regions.of([Region(shapely.Point(100, 90).buffer(40), "UDH")]))
    detected = HeatmapRaster(heatmap(levels), "UDH", RECIPE.patches.mpp)
    whole = PixelCounts.total(PixelCounts.from_strip(strip) for strip in iterate_strips(on_slide, detected))
    direct = PixelCounts.from_levels(levels, positive_mask(on_slide))
    assert whole.positive.tolist() == direct.positive.tolist()
    assert whole.negative.tolist() == direct.negative.tolist()


def positive_mask(on_slide: Reference) -> NDArray[np.bool_]:
    (region,) = on_slide.positive
    return polygon_to_mask(region.outline, BOX, RECIPE.patches.mpp / MPP)


@pytest.mark.parametrize("rows", [4, 5, 7])
def test_the_last_cells_answer_for_the_slide_beyond_them(rows: int) -> None:
    recipe = Recipe.from_dict({"patches": {"mpp": 4.0, "size_um": 128.0}, "classes": {"positive": "UDH"}})
    box = Box(0, 0, 64 * rows + 20, 64 * rows + 20)  # cells of 64 px: a third of one is left over
    cells = np.full((rows, rows), 200, np.uint8)
    on_slide = replace(reference(Regions(), box=box), recipe=recipe)
    predictions = HeatmapRaster(heatmap(cells, box, mpp=128.0), "UDH", recipe.patches.mpp)
    counts = PixelCounts.total(
        PixelCounts.from_strip(strip) for strip in iterate_strips(on_slide, predictions)
    )
    assert counts.negative[200] == (32 * rows + 10) ** 2
    assert counts.negative.sum() == counts.negative[200]
