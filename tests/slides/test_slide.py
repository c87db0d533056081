"""Reading any box at any resolution, as laws; over slides in memory, written pyramids and real files."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from histoscout.errors import MppMissingError, SlideError
from histoscout.geometry.box import Box
from histoscout.slides.image_reader import in_memory
from histoscout.slides.open import FORMATS, info, open_slide
from histoscout.slides.pyramid import write_pyramid
from histoscout.slides.slide import About, Slide

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
def test_a_box_is_the_crop_of_the_whole(mpp: float, row: int, column: int, height: int, width: int) -> None:
    slide = in_memory(NOISE, 0.5)
    scale = mpp / 0.5
    whole = slide.read(slide.box, mpp)
    rows, columns = min(height, whole.shape[0] - row), min(width, whole.shape[1] - column)
    if rows < 1 or columns < 1:
        return
    box = Box(column * scale, row * scale, columns * scale, rows * scale)
    part = slide.read(box, mpp)
    wanted = whole[row : row + rows, column : column + columns]
    assert part.shape == wanted.shape
    assert np.abs(part.astype(int) - wanted).max() <= 1


@given(st.integers(-50, 350), st.integers(-50, 450), st.integers(1, 80), st.integers(1, 80))
def test_level_0_is_exact_and_outside_is_white(y: int, x: int, height: int, width: int) -> None:
    slide = in_memory(NOISE, 0.5)
    around = np.full((500, 600, 3), 255, np.uint8)
    around[100:400, 100:500] = NOISE
    wanted = around[y + 100 : y + 100 + height, x + 100 : x + 100 + width]
    if wanted.shape[:2] == (height, width):
        assert np.array_equal(slide.read(Box(x, y, width, height), 0.5), wanted)


@pytest.mark.parametrize("hair", [-1.5e-14, 1.5e-14, -0.004, 0.004])
def test_a_hairs_breadth_on_one_axis_is_no_offset(hair: float) -> None:
    """Turning a window leaves such coordinates: one axis on whole pixels but for rounding, the other between them."""
    slide = in_memory(SMOOTH, 0.5)
    for box in (Box(60 + hair, 53.5, 64, 64), Box(53.5, 60 + hair, 64, 64)):
        straight = Box(round(box.x, 1), round(box.y, 1), 64, 64)
        assert np.abs(slide.read(box, 0.5).astype(int) - slide.read(straight, 0.5)).max() <= 1


def test_halving_averages() -> None:
    slide = in_memory(SMOOTH, 0.5)
    half = slide.read(slide.box, 1.0)
    mean = SMOOTH.reshape(150, 2, 200, 2, 3).mean((1, 3))
    assert half.shape == (150, 200, 3)
    assert np.abs(half[2:-2, 2:-2] - mean[2:-2, 2:-2]).max() <= 1.5


def pyramid(folder: Path, pixels: NDArray[np.uint8] = SMOOTH) -> Path:
    path = folder / "slide.tif"
    write_pyramid(path, np.repeat(np.repeat(pixels, 3, 0), 3, 1), 0.25, compression="zlib")
    return path


def test_a_written_pyramid_keeps_pixels_scale_and_place(tmp_path: Path) -> None:
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


def test_slides_travel_by_path_and_read_in_threads(tmp_path: Path) -> None:
    slide = open_slide(pyramid(tmp_path, NOISE))
    again = pickle.loads(pickle.dumps(slide))  # noqa: S301
    boxes = [Box(x * 37, x * 21, 64, 64) for x in range(20)]
    with ThreadPoolExecutor(4) as pool:
        many = list(pool.map(lambda box: again.read(box, 0.25), boxes))
    assert all(np.array_equal(one, slide.read(box, 0.25)) for one, box in zip(many, boxes, strict=True))
    slide.close()
    with pytest.raises(SlideError, match="closed"):
        slide.read(boxes[0], 0.25)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_plain_images_need_an_mpp_and_then_are_slides(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"region.{suffix}"
    Image.fromarray(SMOOTH).save(path)
    with pytest.raises(MppMissingError, match="--mpp"):
        open_slide(path)
    with open_slide(path, 0.5) as slide:
        assert (slide.mpp, slide.mpp_source) == (0.5, "cohort")
        assert np.abs(slide.read(slide.box, 0.5).astype(int) - SMOOTH).mean() < 3
    assert info(path).mpp is None


@pytest.mark.parametrize("content", [b"", b"text, not a slide", b"II*\x00\x08\x00\x00\x00"])
@pytest.mark.parametrize("name", ["slide.svs", "slide.tif", "slide.ndpi", "slide.png"])
def test_what_is_no_slide_is_said_to_be_none(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SlideError, match=name):
        open_slide(tmp_path / name, 0.5)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.svs", tmp_path):
        with pytest.raises(SlideError, match=path.name):
            open_slide(path)


def test_a_truncated_slide_never_gives_wrong_pixels(tmp_path: Path) -> None:
    whole = pyramid(tmp_path, NOISE)
    content = whole.read_bytes()
    for part in (0.2, 0.5, 0.9):
        short = tmp_path / f"short_{part}.tif"
        short.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(SlideError, match="short"):
            open_slide(short).read(Box(0, 0, 1200, 900), 0.25)


def test_every_format_is_registered_by_a_name_that_exists() -> None:
    from histoscout.registry import find

    for maker in FORMATS.values():
        assert callable(find(maker))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "mpp"),
    [
        ("slides/cmu-1-small-region.svs", 0.499),
        ("slides/test3-TRITC 2 (560).ndpi", None),
        ("glas/slides/patient_08.tif", 0.62005),
        ("slides/dicom/multiframe_camelyon_challenge_image.dcm", None),
    ],
)
def test_real_slides_open_and_read(shared_data: Path, name: str, mpp: float | None) -> None:
    with open_slide(shared_data / name) as slide:
        if mpp is not None:
            assert slide.mpp == pytest.approx(mpp, abs=1e-3)
        pixels, shown = slide.overview(300)
        assert max(pixels.shape) <= 301
        assert shown >= slide.mpp
        assert pixels.std() > 1


@pytest.mark.shared
def test_real_files_that_cannot_be_read_say_why(shared_data: Path) -> None:
    slides = shared_data / "slides"
    with pytest.raises(MppMissingError, match="tcga"):
        open_slide(slides / "tcga-cr-7395-01a-01-ts1.svs")
    for name in ("broken.svs", "dicom/not_conforming.dcm"):
        with pytest.raises(SlideError, match=Path(name).name):
            open_slide(slides / name, 0.5)
    with pytest.raises(SlideError, match="unreadable"):
        open_slide(slides / "unreadable.svs", 0.5).read(Box(0, 0, 16, 16), 0.5)


def test_a_corrupt_tile_spoils_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write_pyramid(path, np.tile(SMOOTH, (4, 4, 1)), 0.25)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        offset, size = page.dataoffsets[0], page.databytecounts[0]
    with path.open("r+b") as file_:
        file_.seek(offset)
        file_.write(bytes(size))
    with open_slide(path) as slide:
        with pytest.raises(SlideError, match="the box x=0, y=0"):
            slide.read(Box(0, 0, 100, 100), 0.25)
        assert slide.read(Box(600, 600, 100, 100), 0.25).std() > 1


def test_ome_tiff_is_read_with_its_scale(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    metadata = {
        "axes": "YXS",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
    }
    with tifffile.TiffWriter(path, ome=True) as file:
        options: dict[str, Any] = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}
        file.write(NOISE, subifds=1, metadata=metadata, **options)
        file.write(NOISE[::2, ::2], subfiletype=1, **options)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(0.5)
        assert slide.level_sizes == ((400, 300), (200, 150))
        assert np.array_equal(slide.read(Box(30, 40, 100, 80), 0.5), NOISE[40:120, 30:130])


def test_the_origin_is_the_corner_of_the_bounds() -> None:
    source = in_memory(NOISE, 0.5)._source
    slide = Slide(source, About("bounded", 0.5, bounds=Box(100, 50, 200, 150)))
    assert slide.box == Box(0, 0, 200, 150)
    assert np.array_equal(slide.read(Box(10, 20, 30, 40), 0.5), NOISE[70:110, 110:140])
    assert (slide.read(Box(-20, 0, 20, 20), 0.5) == 255).all()
