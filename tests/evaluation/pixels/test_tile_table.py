"""Tiles of a fixed size: tables, grids, and their metrics."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from histoscout.detection.heatmap import Heatmap
from histoscout.errors import CohortError
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.evaluation.pixels.tile_table import (
    TILE_SET_METRICS,
    SlideTiles,
    TileSet,
    count_tile_set,
    make_tile_set,
)
from histoscout.evaluation.reference import HeatmapRaster, Reference
from histoscout.evaluation.regions import SlideComparison, score_regions
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe
from histoscout.tissue.mask import full_tissue

BOX = Box(0, 0, 640, 480)
MPP = 2.0
RECIPE = Recipe().with_choices({"classes.positive": "IDC", "patches.mpp": 8.0})


def reference_of(*regions: Region) -> Reference:
    return Reference(
        name="S1",
        patient="P1",
        regions=Regions.of(regions),
        tissue=full_tissue(BOX, MPP, 8.0),
        mpp=MPP,
        recipe=RECIPE,
    )


def raster_of(levels: np.ndarray) -> HeatmapRaster:
    heatmap = Heatmap(
        box=BOX, mpp=8.0, slide_mpp=MPP, slide_name="S1", labels=("IDC",), values=levels[None], windows=1
    )
    return HeatmapRaster(heatmap, "IDC", 8.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_score_of_a_tile_is_its_mean_level(seed: int) -> None:
    random = np.random.default_rng(seed)
    levels = random.integers(0, 256, (120, 160), np.uint8)
    # tiles of 80 um are 10 cells, 40 level-0 px
    corners = random.integers(0, (140, 110), (12, 2)) * 4
    positive = random.random(12) < 0.5
    tiles = TileSet(tile_um=80, listed={"S1": SlideTiles(corners=corners.astype(float), positive=positive)})
    counts = count_tile_set(tiles, reference_of(), raster_of(levels))
    assert counts is not None
    x, y = corners.T // 4
    scores = [levels[b : b + 10, a : a + 10].mean() for a, b in zip(x, y, strict=True)]
    assert np.array_equal(
        counts.positive + counts.negative, np.bincount(np.round(scores).astype(int), minlength=256)
    )
    assert counts.positive.sum() == positive.sum()


def test_a_grid_counts_tissue_and_takes_the_class_of_the_majority() -> None:
    # 160 um are 80 level-0 px: 8 columns, 6 rows
    lesion = Region(shapely.box(0, 0, 80, 115), "IDC")
    ignored = Region(shapely.box(560, 0, 640, 480), "ignore")
    counts = count_tile_set(
        TileSet(tile_um=160), reference_of(lesion, ignored), raster_of(np.zeros((120, 160), np.uint8))
    )
    assert counts is not None
    # the second tile is covered by 35 of 80 px
    assert counts.positive.sum() == 1
    assert counts.positive.sum() + counts.negative.sum() == 7 * 6


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.booleans()), min_size=2, max_size=60))
def test_metrics_agree_with_scikit_learn(tiles: list[tuple[int, bool]]) -> None:
    levels = np.array([level for level, _ in tiles], np.uint8)
    truth = np.array([label for _, label in tiles])
    counts = PixelCounts.from_levels(levels, truth)
    found = levels >= 128
    values = {name: metric(counts, 128 / 255) for name, metric in TILE_SET_METRICS.items()}
    if truth.any():
        assert values["f1"] == pytest.approx(sklearn.f1_score(truth, found))
    if truth.any() and not truth.all():
        assert values["balanced_accuracy"] == pytest.approx(sklearn.balanced_accuracy_score(truth, found))
        assert values["auroc"] == pytest.approx(sklearn.roc_auc_score(truth, levels))


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("patient,x_px,y_px,idc", "P1,50,100,1"),
        ("slide;x;y;label", "folder/S1.svs;50;100;IDC"),
        ("Slide,X_px,Y_px,Label", "S1.tif,50.0,100,yes"),
    ],
)
def test_tables_of_several_kinds_are_read(tmp_path: Path, head: str, row: str) -> None:
    table = tmp_path / "tiles.csv"
    table.write_text(f"{head}\n{row}\n")
    tiles = make_tile_set(table, 200.0, "IDC")
    assert tiles is not None
    chosen = tiles.of("S1", "P1")
    assert chosen is not None
    assert chosen.corners.tolist() == [[50, 100]]
    assert chosen.positive.tolist() == [True]
    assert tiles.of("S2", "P2") is None


@pytest.mark.parametrize(
    ("content", "side"),
    [
        ("slide,x,y,label\nS1,0,0,1\n", None),
        ("slide,x,y,label\nS1,0,0,1\n", 0.0),
        ("slide,x,y,label\nS1,0,0,1\n", 1e9),
        ("slide,x,y,label\nS1,zero,0,1\n", 200.0),
        ("slide,x,y,label\nS1,0,0,perhaps\n", 200.0),
        ("slide,x,y\nS1,0,0\n", 200.0),
        ("x,y,label\n0,0,1\n", 200.0),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, content: str, side: float | None) -> None:
    table = tmp_path / "tiles.csv"
    table.write_text(content)
    with pytest.raises(CohortError):
        make_tile_set(table, side, "IDC")


def test_without_tiles_there_are_none() -> None:
    assert make_tile_set(None, None, "IDC") is None


def test_regions_score_by_what_they_cover() -> None:
    lesion = Region(shapely.box(100, 100, 300, 300), "IDC")
    slide = SlideComparison(
        name="S1", truth=Regions.of([lesion]), detected=Regions.of([lesion]), box=BOX, mpp=MPP
    )
    assert score_regions([slide], positive="IDC").tile_set == {}
