"""TIFF in every way of packing that is read equals what tifffile reads; what a TIFF cannot hold is refused."""

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
from histoscout.slides.open import one_mpp, open_slide
from histoscout.slides.slide import About, Slide
from histoscout.slides.tiff_levels import check_claims
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


def written(path: Path, pixels: NDArray[np.uint8] = PIXELS[..., :3], **how: Any) -> Path:
    tifffile.imwrite(path, pixels, metadata=None, **{"photometric": "rgb", **how})
    return path


def read(path: Path, box: Box | None = None) -> NDArray[np.uint8]:
    """By tifffile's road, whatever OpenSlide would say."""
    found = open_tiff(path)
    assert found is not None
    slide = Slide(found.source, About("tiff", 1.0))
    return slide.read(box or slide.box, 1.0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("packing", "predictor", "order"),
    [*itertools.product(LOSSLESS, (False, True), "<>"), *itertools.product(LOSSY, (False,), "<>")],
)
def test_pixels_are_those_of_tifffile(
    tmp_path: Path, form: str, packing: str | None, predictor: bool, order: str
) -> None:
    how = {**FORMS[form], "compression": packing, "predictor": predictor and packing is not None}
    path = written(tmp_path / "one.tif", **how, byteorder=order)
    whole = tifffile.imread(path)
    assert np.array_equal(read(path), whole)
    assert np.array_equal(read(path, Box(17, 25, 60, 41)), whole[25:66, 17:77])


@pytest.mark.parametrize("packing", ["lzw", "packbits", "zlib"])
@pytest.mark.parametrize("predictor", [False, True])
def test_colors_apart_gray_and_four_samples(tmp_path: Path, packing: str, predictor: bool) -> None:
    how: dict[str, Any] = {"compression": packing, "predictor": predictor, "tile": (32, 32)}
    apart = written(
        tmp_path / "apart.tif", np.moveaxis(PIXELS[..., :3], 2, 0), planarconfig="separate", **how
    )
    assert np.array_equal(read(apart), PIXELS[..., :3])
    four = written(tmp_path / "four.tif", PIXELS, extrasamples=["unspecified"], **how)
    assert np.array_equal(read(four), PIXELS[..., :3])
    gray = written(tmp_path / "grey.tif", PIXELS[..., 0], **{**how, "photometric": "minisblack"})
    assert np.array_equal(read(gray), np.repeat(PIXELS[..., :1], 3, 2))


def changed(path: Path, code: int, value: int, page: int = 0) -> Path:
    """A tag's value, or the place of it, written over."""
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[page].aspage().tags[code].overwrite(value)
    return path


@pytest.mark.parametrize("packing", ["lzw", "packbits", "jpeg", "jpeg2000", "zlib"])
def test_damaged_pieces_are_refused_and_spoil_no_other(tmp_path: Path, packing: str) -> None:
    path = written(tmp_path / "one.tif", tile=(32, 32), compression=packing)
    with tifffile.TiffFile(path) as file:
        offset, size = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = bytes(size)
    path.write_bytes(content)
    with pytest.raises(SlideError, match=r"one\.tif"):
        read(path, Box(0, 0, 20, 20))
    assert read(path, Box(64, 64, 20, 20)).shape == (20, 20, 3)


@pytest.mark.parametrize(
    ("packing", "mark", "skip"), [("jpeg", b"\xff\xc0", 5), ("jpeg2000", b"\xff\x51", 6)]
)
def test_a_tile_that_claims_to_be_huge_is_refused_at_once(
    tmp_path: Path, packing: str, mark: bytes, skip: int
) -> None:
    path = written(tmp_path / "one.tif", tile=(32, 32), compression=packing)
    content = bytearray(path.read_bytes())
    place = content.index(mark) + skip
    content[place : place + 4] = struct.pack(">HH", 65_000, 65_000)
    path.write_bytes(content)
    with pytest.raises(SlideError, match="holds a picture of"):
        read(path, Box(0, 0, 20, 20))


def test_fax_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = changed(written(tmp_path / "one.tif", tile=(32, 32), compression="lzw"), 259, 4)
    with pytest.raises(SlideError, match=r"CCITTFAX4|CCITT_T6.*QuPath"):
        open_tiff(path)


@pytest.mark.parametrize(("code", "value"), [(257, 2**31), (256, 0), (323, 2**30), (322, 0), (257, 5000)])
def test_sizes_that_cannot_be_are_refused_before_openslide_sees_them(
    tmp_path: Path, code: int, value: int
) -> None:
    path = changed(written(tmp_path / "one.tif", tile=(32, 32), compression="zlib"), code, value)
    with pytest.raises(SlideError, match=r"one\.tif"):
        open_slide(path, 1.0).read(Box(0, 0, 110, 5000), 1.0)


def test_pages_in_a_circle_are_refused(tmp_path: Path) -> None:
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
    for opens in (check_claims, open_tiff):
        with pytest.raises(SlideError, match="more images"):
            opens(path)


def test_a_damaged_slide_is_told_of_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "one.tif", tile=(32, 32))
    with tifffile.TiffFile(path) as file:
        start = file.pages.first.offset
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, start, 60_000)  # tags
    path.write_bytes(content)
    script = f"import pathlib, histoscout\nhistoscout.open_slide(pathlib.Path({str(path)!r}), 0.5)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("histoscout.errors.SlideError")
    assert done.stderr.startswith("Traceback")  # nothing told before by the libraries


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ('SizeZ="1" SizeC="3" SizeT="999999999"', "planes that are not there"),
        ('SizeZ="1" SizeC="3" SizeT="1"><TiffData PlaneCount="999999999"/></Pixels><Pixels', "planes"),
        (
            'SizeZ="1"><TiffData><UUID FileName="other.ome.tif">urn:2</UUID></TiffData></Pixels><Pixels',
            "several files",
        ),
    ],
)
def test_ome_xml_that_counts_too_much_or_names_other_files_is_refused(pixels: str, message: str) -> None:
    xml = f'<OME UUID="urn:1"><Image><Pixels {pixels}/></Image></OME>'
    with pytest.raises(SlideError, match=message):
        check_planes(Path("one.ome.tif"), xml)


def test_a_renamed_ome_tiff_is_still_one_file(tmp_path: Path) -> None:
    path = tmp_path / "one.ome.tif"
    tifffile.imwrite(path, PIXELS[..., :3], photometric="rgb", tile=(32, 32))
    found = open_ome_tiff(path.rename(tmp_path / "another.ome.tif"))
    assert found is not None
    check_planes(
        Path("b.tif"),
        '<OME UUID="urn:1"><Image><Pixels><TiffData><UUID FileName="a.tif">urn:1</UUID></TiffData></Pixels></Image></OME>',
    )


def test_a_pixel_size_that_cannot_be_is_not_believed() -> None:
    assert one_mpp(0.5, 0.5) == (0.5, ())
    for mpp in (1e-9, 1e6):
        stated, notes = one_mpp(mpp, mpp)
        assert stated is None
        assert "not believed" in notes[0]
