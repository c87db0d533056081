"""TIFF in every compression equals what tifffile reads; impossible sizes are rejected."""

import itertools
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from histoscout.errors import SlideError
from histoscout.geometry.box import Box
from histoscout.slides.open import open_slide
from histoscout.slides.slide import Slide, SlideMetadata
from histoscout.slides.tiff_checks import check_tiff
from histoscout.slides.tiff_reader import check_planes, open_ome_tiff, open_tiff

NOISE = np.random.default_rng(0).normal(0, 300, (90, 110, 4))
PIXELS = np.clip(180 + gaussian_filter(NOISE, (3, 3, 0)), 0, 255).astype(np.uint8)
LOSSLESS = (None, "zlib", "lzw", "packbits", "zstd", "lzma")
LOSSY = ("jpeg", "jpeg2000", "webp")
FORMS: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (32, 48)},
    "strips": {"rowsperstrip": 20},
    "one strip": {"rowsperstrip": 90},
}


def write(path: Path, pixels: NDArray[np.uint8] = PIXELS[..., :3], **options: Any) -> Path:
    tifffile.imwrite(path, pixels, metadata=None, **{"photometric": "rgb", **options})
    return path


def read(path: Path, box: Box | None = None) -> NDArray[np.uint8]:
    """The pixels by our own TIFF reader, even if OpenSlide could read the file."""
    file = open_tiff(path)
    assert file is not None
    slide = Slide(file.source, SlideMetadata(name="tiff", mpp=1.0))
    return slide.read(box or slide.box, 1.0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("compression", "predictor", "order"),
    [*itertools.product(LOSSLESS, (False, True), "<>"), *itertools.product(LOSSY, (False,), "<>")],
)
def test_pixels_are_those_of_tifffile(
    tmp_path: Path, form: str, compression: str | None, predictor: bool, order: str
) -> None:
    how = {**FORMS[form], "compression": compression, "predictor": predictor and compression is not None}
    path = write(tmp_path / "one.tif", **how, byteorder=order)
    whole = tifffile.imread(path)
    assert np.array_equal(read(path), whole)
    assert np.array_equal(read(path, Box(17, 25, 60, 41)), whole[25:66, 17:77])


@pytest.mark.parametrize("compression", ["lzw", "packbits", "zlib"])
@pytest.mark.parametrize("predictor", [False, True])
def test_separate_planes_gray_and_four_samples(tmp_path: Path, compression: str, predictor: bool) -> None:
    how: dict[str, Any] = {"compression": compression, "predictor": predictor, "tile": (32, 32)}
    separate = write(
        tmp_path / "separate.tif", np.moveaxis(PIXELS[..., :3], 2, 0), planarconfig="separate", **how
    )
    assert np.array_equal(read(separate), PIXELS[..., :3])
    four = write(tmp_path / "four.tif", PIXELS, extrasamples=["unspecified"], **how)
    assert np.array_equal(read(four), PIXELS[..., :3])
    gray = write(tmp_path / "grey.tif", PIXELS[..., 0], **{**how, "photometric": "minisblack"})
    assert np.array_equal(read(gray), np.repeat(PIXELS[..., :1], 3, 2))


def overwrite_tag(path: Path, code: int, value: int, page: int = 0) -> Path:
    """Overwrite the value of a tag, or where it is stored."""
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[page].aspage().tags[code].overwrite(value)
    return path


@pytest.mark.parametrize("compression", ["lzw", "packbits", "jpeg", "jpeg2000", "zlib"])
def test_a_damaged_segment_affects_only_itself(tmp_path: Path, compression: str) -> None:
    path = write(tmp_path / "one.tif", tile=(32, 32), compression=compression)
    with tifffile.TiffFile(path) as file:
        offset, size = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = bytes(size)
    path.write_bytes(content)
    with pytest.raises(SlideError, match=r"one\.tif"):
        read(path, Box(0, 0, 20, 20))
    assert read(path, Box(64, 64, 20, 20)).shape == (20, 20, 3)


@pytest.mark.parametrize(
    ("compression", "mark", "skip"), [("jpeg", b"\xff\xc0", 5), ("jpeg2000", b"\xff\x51", 6)]
)
def test_a_tile_that_states_a_huge_size_is_rejected(
    tmp_path: Path, compression: str, mark: bytes, skip: int
) -> None:
    path = write(tmp_path / "one.tif", tile=(32, 32), compression=compression)
    content = bytearray(path.read_bytes())
    place = content.index(mark) + skip
    content[place : place + 4] = struct.pack(">HH", 65_000, 65_000)
    path.write_bytes(content)
    with pytest.raises(SlideError, match="32 x 32 px"):
        read(path, Box(0, 0, 20, 20))


def test_fax_is_rejected(tmp_path: Path) -> None:
    path = overwrite_tag(write(tmp_path / "one.tif", tile=(32, 32), compression="lzw"), 259, 4)
    with pytest.raises(SlideError, match="CCITT"):
        open_tiff(path)


@pytest.mark.parametrize(("code", "value"), [(257, 2**31), (256, 0), (323, 2**30), (322, 0), (257, 5000)])
def test_impossible_sizes_are_rejected_before_openslide_reads_them(
    tmp_path: Path, code: int, value: int
) -> None:
    path = overwrite_tag(write(tmp_path / "one.tif", tile=(32, 32), compression="zlib"), code, value)
    with pytest.raises(SlideError, match=r"one\.tif"):
        open_slide(path, 1.0).read(Box(0, 0, 110, 5000), 1.0)


def test_pages_in_a_circle_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "one.tif"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(3):
            writer.write(PIXELS[..., :3], photometric="rgb", tile=(32, 32), metadata=None)
    with tifffile.TiffFile(path) as file:
        second, last = file.pages[1].offset, file.pages[2].offset
    content = bytearray(path.read_bytes())
    (count,) = struct.unpack_from("<H", content, last)
    struct.pack_into("<I", content, last + 2 + 12 * count, second)
    path.write_bytes(content)
    for opens in (check_tiff, open_tiff):
        with pytest.raises(SlideError, match="images"):
            opens(path)


def test_a_damaged_slide_gives_one_error_and_no_log(tmp_path: Path) -> None:
    path = write(tmp_path / "one.tif", tile=(32, 32))
    with tifffile.TiffFile(path) as file:
        start = file.pages.first.offset
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, start, 60_000)  # tags
    path.write_bytes(content)
    script = f"import pathlib, histoscout\nhistoscout.open_slide(pathlib.Path({str(path)!r}), 0.5)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("histoscout.errors.SlideError")
    # the libraries print nothing before our error
    assert done.stderr.startswith("Traceback")


@pytest.mark.parametrize(
    ("pixels", "word"),
    [
        ('SizeZ="1" SizeC="3" SizeT="999999999"', "planes"),
        ('SizeZ="1" SizeC="3" SizeT="1"><TiffData PlaneCount="999999999"/></Pixels><Pixels', "planes"),
        (
            'SizeZ="1"><TiffData><UUID FileName="other.ome.tif">urn:2</UUID></TiffData></Pixels><Pixels',
            "several files",
        ),
    ],
)
def test_impossible_ome_xml_is_rejected(pixels: str, word: str) -> None:
    xml = f'<OME UUID="urn:1"><Image><Pixels {pixels}/></Image></OME>'
    with pytest.raises(SlideError, match=word):
        check_planes(Path("one.ome.tif"), xml)


def test_a_renamed_ome_tiff_is_still_one_file(tmp_path: Path) -> None:
    path = tmp_path / "one.ome.tif"
    tifffile.imwrite(path, PIXELS[..., :3], photometric="rgb", tile=(32, 32))
    file = open_ome_tiff(path.rename(tmp_path / "another.ome.tif"))
    assert file is not None
    check_planes(
        Path("b.tif"),
        '<OME UUID="urn:1"><Image><Pixels><TiffData><UUID FileName="a.tif">urn:1</UUID></TiffData></Pixels></Image></OME>',
    )
