"""Reading any box at any resolution, of slides in memory and of pyramids."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from histoscout.errors import SlideError
from histoscout.geometry.box import Box
from histoscout.slides.image_reader import ArraySource, slide_from_array
from histoscout.slides.open import open_slide
from histoscout.slides.pyramid import write_pyramid
from histoscout.slides.slide import Slide, SlideMetadata

RANDOM = np.random.default_rng(0)
SMOOTH = np.stack(
    [
        np.add.outer(np.arange(300) * 0.5, np.arange(400) * 0.2) + 10,
        np.add.outer(np.arange(300) * 0.2, np.arange(400) * 0.3) + 20,
        np.full((300, 400), 90.0),
    ],
    axis=-1,
).astype(np.uint8)
NOISE = RANDOM.integers(0, 256, (300, 400, 3), np.uint8)


@settings(max_examples=60)
@given(
    st.sampled_from([0.5, 0.75, 1.0, 1.6, 2.0, 3.3, 4.0]),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_a_box_equals_the_crop_of_the_whole_slide(
    mpp: float, row: int, column: int, height: int, width: int
) -> None:
    slide = slide_from_array(NOISE, 0.5)
    scale = mpp / 0.5
    whole = slide.read(slide.box, mpp)
    rows, columns = min(height, whole.shape[0] - row), min(width, whole.shape[1] - column)
    if rows < 1 or columns < 1:
        return
    box = Box(column * scale, row * scale, columns * scale, rows * scale)
    part = slide.read(box, mpp)
    expected = whole[row : row + rows, column : column + columns]
    assert part.shape == expected.shape
    assert np.abs(part.astype(int) - expected).max() <= 1


@given(st.integers(-50, 350), st.integers(-50, 450), st.integers(1, 80), st.integers(1, 80))
def test_level_0_is_exact_and_outside_is_white(y: int, x: int, height: int, width: int) -> None:
    slide = slide_from_array(NOISE, 0.5)
    around = np.full((500, 600, 3), 255, np.uint8)
    around[100:400, 100:500] = NOISE
    expected = around[y + 100 : y + 100 + height, x + 100 : x + 100 + width]
    if expected.shape[:2] == (height, width):
        assert np.array_equal(slide.read(Box(x, y, width, height), 0.5), expected)


@pytest.mark.parametrize("error", [-1.5e-14, 1.5e-14, -0.004, 0.004])
def test_a_rounding_error_on_one_axis_is_no_offset(error: float) -> None:
    """Rotating a patch leaves such coordinates: one axis on whole pixels but for rounding, the other between them."""
    slide = slide_from_array(SMOOTH, 0.5)
    for box in (Box(60 + error, 53.5, 64, 64), Box(53.5, 60 + error, 64, 64)):
        straight = Box(round(box.x, 1), round(box.y, 1), 64, 64)
        assert np.abs(slide.read(box, 0.5).astype(int) - slide.read(straight, 0.5)).max() <= 1


def test_halving_averages() -> None:
    slide = slide_from_array(SMOOTH, 0.5)
    half = slide.read(slide.box, 1.0)
    mean = SMOOTH.reshape(150, 2, 200, 2, 3).mean((1, 3))
    assert half.shape == (150, 200, 3)
    assert np.abs(half[2:-2, 2:-2] - mean[2:-2, 2:-2]).max() <= 1.5


def pyramid(folder: Path, pixels: NDArray[np.uint8] = SMOOTH) -> Path:
    path = folder / "slide.tif"
    write_pyramid(path, np.repeat(np.repeat(pixels, 3, 0), 3, 1), 0.25, compression="zlib")
    return path


def test_a_written_pyramid_keeps_pixels_and_resolution(tmp_path: Path) -> None:
    pixels = np.repeat(np.repeat(SMOOTH, 3, 0), 3, 1)
    with open_slide(pyramid(tmp_path)) as slide:
        assert slide.mpp == pytest.approx(0.25)
        assert slide.mpp_source == "metadata"
        assert len(slide.level_sizes) > 2
        assert np.array_equal(slide.read(Box(100, 50, 200, 100), 0.25), pixels[50:150, 100:300])
        # a coarse level shows the same place as level 0
        coarse = slide.read(Box(0, 0, 1200, 900), 1.0)
        mean = pixels.reshape(225, 4, 300, 4, 3).mean((1, 3))
        assert np.abs(coarse[4:-4, 4:-4] - mean[4:-4, 4:-4]).max() <= 3


def test_slides_pickle_by_path_and_read_in_threads(tmp_path: Path) -> None:
    slide = open_slide(pyramid(tmp_path, NOISE))
    again = pickle.loads(pickle.dumps(slide))  # noqa: S301
    boxes = [Box(x * 37, x * 21, 64, 64) for x in range(20)]
    with ThreadPoolExecutor(4) as pool:
        many = list(pool.map(lambda box: again.read(box, 0.25), boxes))
    assert all(np.array_equal(part, slide.read(box, 0.25)) for part, box in zip(many, boxes, strict=True))
    slide.close()
    with pytest.raises(SlideError, match="closed"):
        slide.read(boxes[0], 0.25)


def test_a_truncated_slide_raises(tmp_path: Path) -> None:
    whole = pyramid(tmp_path, NOISE)
    content = whole.read_bytes()
    for part in (0.2, 0.5, 0.9):
        short = tmp_path / f"short_{part}.tif"
        short.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(SlideError, match="short"):
            open_slide(short).read(Box(0, 0, 1200, 900), 0.25)


def test_a_corrupt_tile_affects_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write_pyramid(path, np.tile(SMOOTH, (4, 4, 1)), 0.25)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        offset, size = page.dataoffsets[0], page.databytecounts[0]
    with path.open("r+b") as raw:
        raw.seek(offset)
        raw.write(bytes(size))
    with open_slide(path) as slide:
        with pytest.raises(SlideError, match="x=0, y=0"):
            slide.read(Box(0, 0, 100, 100), 0.25)
        assert slide.read(Box(600, 600, 100, 100), 0.25).std() > 1


def test_the_corner_of_the_bounds_is_the_origin() -> None:
    slide = Slide(
        ArraySource([NOISE], 0.5), SlideMetadata(name="bounded", mpp=0.5, bounds=Box(100, 50, 200, 150))
    )
    assert slide.box == Box(0, 0, 200, 150)
    assert np.array_equal(slide.read(Box(10, 20, 30, 40), 0.5), NOISE[70:110, 110:140])
    assert (slide.read(Box(-20, 0, 20, 20), 0.5) == 255).all()
