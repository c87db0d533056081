import errno
import os
from pathlib import Path
from threading import current_thread

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from histoscout.detection import inference as room_module
from histoscout.detection.grid import WindowPlan
from histoscout.detection.heatmap import (
    Heatmap,
    compute_heatmap,
    read_heatmap,
    threshold_level,
    write_heatmap,
)
from histoscout.errors import ModelError, OutputError, SlideError
from histoscout.geometry.box import Box, TileGrid
from histoscout.slides.image_reader import slide_from_array
from histoscout.slides.slide import Slide, SlideMetadata
from histoscout.tissue.mask import Tissue
from tests.detection.redness import Redness, redness


def picture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def quiet(done: int, total: int) -> None:
    """Nobody is waiting."""


def look(slide: Slide, plan: WindowPlan, engine: Redness, seed: int | None = None) -> Heatmap:
    scale = plan.mpp / slide.mpp
    grid = list(TileGrid(slide.box, plan.side_px * scale, plan.stride_px * scale))
    if seed is not None:
        np.random.default_rng(seed).shuffle(grid)
    return compute_heatmap(slide, engine, grid, plan, on_window=quiet)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 9),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(1, 40),
    st.floats(0, 0.75),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 5),
    st.integers(1, 3),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_by_tiles_equals_whole(
    seed: int,
    size: tuple[int, int],
    side: int,
    overlap: float,
    flips: int,
    batch: int,
    readers: int,
    mpp: float,
) -> None:
    slide = slide_from_array(picture(seed, *size), 0.5)
    plan = WindowPlan(
        mpp=mpp,
        side_px=side,
        stride_px=max(1, round(side * (1 - overlap))),
        batch=batch,
        views=flips,
        readers=readers,
    )
    found = look(slide, plan, Redness(("UDH", "other")), seed)
    whole = redness(slide.read(slide.box, mpp))
    assert found.values.shape == (2, *slide.box.shape(mpp / 0.5))
    # a level for rounding the heatmap, and where windows are resampled one for each colour
    most = 1.001 if mpp == slide.mpp else 3.001
    assert np.abs(found.probability("UDH") * 255 - whole * 255).max() <= most
    assert np.abs(found.probability("other") * 255 - (1 - whole) * 255).max() <= most


def test_order_readers_and_batches_change_nothing() -> None:
    slide = slide_from_array(picture(3, 200, 170), 0.5)
    plans = [
        WindowPlan(mpp=0.5, side_px=32, stride_px=16, batch=batch, views=2, readers=readers)
        for batch, readers in ((1, 1), (3, 4), (7, 2))
    ]
    maps = [look(slide, plan, Redness(), seed).values for plan in plans for seed in (None, 1)]
    for values in maps[1:]:
        np.testing.assert_array_equal(values, maps[0])


def test_tiles_give_one_cell_a_stride() -> None:
    slide = slide_from_array(picture(5, 96, 128), 0.5)
    found = look(slide, WindowPlan(mpp=0.5, side_px=32, stride_px=32), Redness(answers="tile"))
    whole = redness(slide.read(slide.box, 0.5)).reshape(3, 32, 4, 32).mean((1, 3))
    assert found.mpp == 16
    assert found.scale == 32
    assert np.abs(found.levels("UDH") - whole * 255).max() <= 1


def test_overlapping_tiles_are_averaged_over_the_windows_that_cover_a_cell() -> None:
    slide = slide_from_array(picture(6, 64, 64), 0.5)
    found = look(slide, WindowPlan(mpp=0.5, side_px=32, stride_px=16), Redness(answers="tile"))
    tile = redness(slide.read(slide.box, 0.5))
    means = np.array([[tile[y : y + 32, x : x + 32].mean() for x in (0, 16, 32)] for y in (0, 16, 32)])
    assert found.levels("UDH").shape == (4, 4)
    assert found.levels("UDH")[1, 1] == pytest.approx(means[:2, :2].mean() * 255, abs=1)
    assert found.levels("UDH")[0, 0] == pytest.approx(means[0, 0] * 255, abs=1)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([32, 48, 64, 67, 96]),
    st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75]),
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.sampled_from([0.5, 1.0]),
)
def test_tiles_are_where_their_windows_are(
    side: int, overlap: float, size: tuple[int, int], mpp: float
) -> None:
    """By brute force: each pixel of the map is the weighted mean of the windows that cover it."""
    stride = max(1, round(side * (1 - overlap)))
    plan = WindowPlan(mpp=mpp, side_px=side, stride_px=stride)
    slide = slide_from_array(picture(side, *size), 0.5)
    found = look(slide, plan, Redness(answers="tile"))
    cell = plan.cell_px
    assert side % cell == 0
    # the whole slide is covered, by less than one cell too much
    rows, columns = found.levels("UDH").shape
    scale = mpp / slide.mpp * cell
    for count, length in ((rows, slide.box.height), (columns, slide.box.width)):
        assert length - 1e-3 <= count * scale < length + scale
    ramp = np.minimum(
        1, (np.arange(side) // cell + 0.5) / max(0.5, side // cell - max(1, round(stride / cell)))
    )
    weight = np.outer(np.minimum(ramp, ramp[::-1]), np.minimum(ramp, ramp[::-1]))
    sums = np.zeros((2, rows * cell + 2 * side, columns * cell + 2 * side))
    for box in TileGrid(slide.box, side * mpp / 0.5, stride * mpp / 0.5):
        answer = redness(slide.read(box, mpp)).mean()
        y, x = round(box.y * 0.5 / mpp), round(box.x * 0.5 / mpp)
        sums[:, y : y + side, x : x + side] += (weight * answer, weight)
    expected = sums[0] / np.maximum(sums[1], 1e-9)
    # places are right to half a cell; where cells divide the stride, to the pixel
    enlarged = np.kron(found.levels("UDH") / 255, np.ones((cell, cell)))
    if stride % cell == 0:
        wanted = expected[: rows * cell, : columns * cell]
        np.testing.assert_allclose(enlarged, wanted, atol=1.01 / 255)


@pytest.mark.parametrize("overlap", [0, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.65, 0.75])
@pytest.mark.parametrize("size", [320, 331])
def test_a_lesion_is_found_in_its_place_by_a_tile_classifier(overlap: float, size: int) -> None:
    side = 32
    plan = WindowPlan(mpp=1.0, side_px=side, stride_px=max(1, round(side * (1 - overlap))))
    errors = []
    # one lesion is found as the windows happen to lie; on average over all shifts nothing may remain
    for shift in range(plan.stride_px):
        pixels = np.zeros((40, size, 3), np.uint8)
        pixels[:, 110 + shift : 210 + shift, 0] = 255
        found = look(slide_from_array(pixels, 1.0), plan, Redness(answers="tile"))
        levels = found.levels("UDH").astype(np.float64).sum(0)
        centers = (np.arange(len(levels)) + 0.5) * found.scale
        errors.append(levels @ centers / levels.sum() - (160 + shift))
    assert abs(np.mean(errors)) <= side / 64


@pytest.mark.parametrize("size", [640, 660, 671, 703, 60])
def test_a_lesion_at_the_border_is_not_thrown_away(size: int) -> None:
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[:, -12:, 0] = 255
    slide = slide_from_array(pixels, 1.0)
    for overlap in (0, 0.25, 0.5):
        plan = WindowPlan(mpp=1.0, side_px=64, stride_px=round(64 * (1 - overlap)))
        levels = look(slide, plan, Redness(answers="tile")).levels("UDH")
        assert levels[:, -1].min() > 0


def test_where_nobody_looked_is_zero_and_progress_is_told() -> None:
    slide = slide_from_array(np.full((64, 64, 3), (255, 0, 0), np.uint8), 1.0)
    told: list[tuple[int, int]] = []
    found = compute_heatmap(
        slide,
        Redness(),
        [Box(32, 32, 16, 16), Box(16, 32, 16, 16)],
        WindowPlan(mpp=1.0, side_px=16, stride_px=16),
        on_window=lambda done, total: told.append((done, total)),
    )
    assert found.windows == 2
    assert told == [(1, 2), (2, 2)]
    expected = np.zeros((64, 64), np.uint8)
    expected[32:48, 16:48] = 255
    np.testing.assert_array_equal(found.levels("UDH"), expected)


def test_a_network_does_not_see_what_is_left_out() -> None:
    red = np.full((64, 64, 3), (255, 0, 0), np.uint8)
    slide, left_out = slide_from_array(red, 1.0), np.zeros((8, 8), bool)
    left_out[2:4] = True
    tissue = Tissue(
        mask=~left_out, artifact_mask=left_out, box=slide.box, scale=8.0, area_mm2=0.0, artifact_mm2={}
    )
    plan, boxes = WindowPlan(mpp=1.0, side_px=16, stride_px=16), list(TileGrid(slide.box, 16, 16))
    found = compute_heatmap(slide, Redness(), boxes, plan, on_window=quiet, tissue=tissue)
    assert (found.levels("UDH")[16:32] == 0).all()
    assert (np.delete(found.levels("UDH"), np.s_[16:32], axis=0) == 255).all()


def test_nothing_to_look_at() -> None:
    slide = slide_from_array(picture(0, 20, 30), 1.0)
    found = compute_heatmap(
        slide, Redness(), [], WindowPlan(mpp=1.0, side_px=16, stride_px=16), on_window=quiet
    )
    assert not found.values.any()
    assert found.windows == 0


def test_a_large_map_lies_in_a_file_and_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slide = slide_from_array(picture(1, 150, 130), 1.0)
    plan = WindowPlan(mpp=1.0, side_px=32, stride_px=16, scratch=tmp_path)
    small = look(slide, plan, Redness())
    monkeypatch.setattr(room_module, "MAX_IN_MEMORY", 1000)
    large = look(slide, plan, Redness())
    assert isinstance(large.values, np.memmap)
    np.testing.assert_array_equal(large.values, small.values)
    write_heatmap(large, tmp_path / "large.ome.tiff")
    again = read_heatmap(tmp_path / "large.ome.tiff")
    np.testing.assert_array_equal(again.values, small.values)
    assert [path.name for path in tmp_path.iterdir()] == ["large.ome.tiff"]


class Spoilt:
    """A slide whose lower half cannot be read."""

    mpp = 1.0
    level_sizes = ((64, 64),)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        if y + height > 32:
            raise SlideError("spoilt.svs", "a tile is damaged", "Copy it again")
        assert current_thread().name.startswith("histoscout-read")
        return np.zeros((height, width, 3), np.uint8)

    def close(self) -> None:
        """Nothing to close."""


def test_a_spoilt_tile_ends_the_slide() -> None:
    slide = Slide(Spoilt(), SlideMetadata(name="damaged", mpp=1.0))
    with pytest.raises(SlideError, match="damaged"):
        look(slide, WindowPlan(mpp=1.0, side_px=16, stride_px=16), Redness())


class Flat(Redness):
    """Answers with maps of the wrong size."""

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        return super().__call__(windows)[:, ::2, ::2]


def test_an_engine_of_another_size_is_refused() -> None:
    with pytest.raises(ModelError, match="shape"):
        look(slide_from_array(picture(0, 40, 40), 1.0), WindowPlan(mpp=1.0, side_px=16, stride_px=16), Flat())


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 3), st.sampled_from([0.25, 1 / 3, 2.02]))
def test_read_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, count: int, mpp: float
) -> None:
    values = np.random.default_rng(height).integers(0, 256, (count, height, width), dtype=np.uint8)
    labels = ("UDH", "ADH & <co>", "ö")[:count]
    heatmap = Heatmap(
        box=Box(0, 0, width * 2.2, height * 2.2),
        mpp=mpp,
        slide_mpp=mpp / 2.2,
        slide_name="1286 [2]",
        labels=labels,
        values=values,
        windows=12,
    )
    path = tmp_path_factory.mktemp("maps") / "a.ome.tiff"
    write_heatmap(heatmap, path)
    again = read_heatmap(path)
    np.testing.assert_array_equal(again.values, values)
    facts = [(h.box, h.mpp, h.slide_mpp, h.slide_name, h.labels, h.windows) for h in (heatmap, again)]
    assert facts[0] == facts[1]


def test_other_programs_find_scale_names_and_levels(tmp_path: Path) -> None:
    values = np.zeros((2, 1500, 1100), np.uint8)
    values[0, :100, :100] = 200
    heatmap = Heatmap(
        box=Box(0, 0, 1100, 1500),
        mpp=2.0,
        slide_mpp=2.0,
        slide_name="slide",
        labels=("UDH", "ADH"),
        values=values,
        windows=1,
    )
    write_heatmap(heatmap, tmp_path / "a.ome.tiff")
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as file:
        series = file.series[0]
        assert series.axes == "CYX"
        assert [level.shape for level in series.levels] == [(2, 1500, 1100), (2, 750, 550), (2, 375, 275)]
        assert series.levels[1].asarray()[0, :50, :50].min() == 200
        assert file.pages[0].is_tiled  # type: ignore[union-attr]
        assert 'PhysicalSizeX="2.0"' in (file.ome_metadata or "")
        assert 'Name="ADH"' in (file.ome_metadata or "")


def test_the_same_map_gives_the_same_file(tmp_path: Path) -> None:
    values = picture(0, 40, 50)[None, ..., 0].copy()
    for name in ("a", "b"):
        write_heatmap(
            Heatmap(
                box=Box(0, 0, 50, 40),
                mpp=1.0,
                slide_mpp=1.0,
                slide_name="s",
                labels=("UDH",),
                values=values,
                windows=1,
            ),
            tmp_path / f"{name}.ome.tiff",
        )
    assert (tmp_path / "a.ome.tiff").read_bytes() == (tmp_path / "b.ome.tiff").read_bytes()


@pytest.mark.parametrize("content", [b"", b"II*\0", b"no image"])
def test_a_damaged_heatmap_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.ome.tiff"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="heatmap"):
        read_heatmap(path)


@given(st.integers(0, 255))
def test_a_threshold_taken_from_a_level_finds_that_level(level: int) -> None:
    assert threshold_level(level / 255) == level


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("reserves", [True, False])
def test_a_full_disk_is_an_error_before_anything_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reserves: bool
) -> None:
    import resource

    def cannot(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(room_module, "MAX_IN_MEMORY", 1000)
    if not reserves:
        monkeypatch.setattr(os, "posix_fallocate", cannot, raising=False)
    assert room_module.allocate_map((1, 300, 300), tmp_path).sum() == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OutputError) as caught:
            room_module.allocate_map((1, 300, 300), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.where == str(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_name_that_xml_cannot_hold_does_not_spoil_the_file(tmp_path: Path) -> None:
    heatmap = Heatmap(
        box=Box(0, 0, 4, 4),
        mpp=1.0,
        slide_mpp=1.0,
        slide_name="a\x01<b>\x1b]0;\x07&\n",
        labels=("U\x1bDH", "two\nlines"),
        values=np.full((2, 4, 4), 7, np.uint8),
        windows=1,
    )
    write_heatmap(heatmap, tmp_path / "a.ome.tiff")
    read = read_heatmap(tmp_path / "a.ome.tiff")
    assert read.slide_name.startswith("a\ufffd<b>")
    assert read.labels == heatmap.labels
    assert (read.values == heatmap.values).all()
