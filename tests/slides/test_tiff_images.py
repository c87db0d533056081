"""Which image of a file is read: never a label, never two areas as one, and no second reader after a refusal."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from histoscout.errors import SlideError
from histoscout.slides.open import info, open_slide
from histoscout.slides.pyramid import write_pyramid

RANDOM = np.random.default_rng(0)


def pixels(value: int, height: int = 192, width: int = 256) -> NDArray[np.uint8]:
    """A picture of about one gray value."""
    return np.clip(RANDOM.normal(value, 5, (height, width, 3)), 0, 255).astype(np.uint8)


def mean(path: Path, series: int | None = None) -> float:
    with open_slide(path, 0.5, series=series) as slide:
        return float(slide.read(slide.box, 1.0).mean())


def write(path: Path, *images: tuple[NDArray[np.uint8], dict[str, Any]]) -> Path:
    with tifffile.TiffWriter(path) as file:
        for image, options in images:
            file.write(image, photometric="rgb", metadata=None, **options)
    return path


TILED: dict[str, Any] = {"tile": (64, 64), "compression": "zlib"}
LABEL, SLIDE = 40, 200


@pytest.mark.parametrize(
    "label", [{}, TILED, {"description": "Label Image"}, {**TILED, "description": "macro 99x99"}]
)
@pytest.mark.parametrize("label_first", [True, False])
def test_the_label_is_never_the_slide(tmp_path: Path, label: dict[str, Any], label_first: bool) -> None:
    named = "description" in label
    size = (400, 300) if named else (100, 80)
    images = [
        (pixels(LABEL, *size), label),
        (pixels(SLIDE), TILED),
        (pixels(SLIDE, 96, 128), {**TILED, "subfiletype": 1}),
    ]
    path = write(tmp_path / "a.tif", *(images if label_first else [*images[1:], images[0]]))
    assert mean(path) == pytest.approx(SLIDE, abs=3)
    facts = info(path)
    assert facts.size == (256, 192)
    assert len(facts.levels) == 2


def test_the_largest_untiled_image_is_left_out_if_there_is_a_tiled_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", (pixels(LABEL, 300, 400), {}), (pixels(SLIDE), TILED))
    assert mean(path) == pytest.approx(SLIDE, abs=3)
    assert any("400 x 300" in note for note in info(path).notes)


def test_a_file_with_a_label_only_is_refused(tmp_path: Path) -> None:
    for options in ({}, TILED):
        path = write(tmp_path / "a.tif", (pixels(LABEL), {"description": "Label Image", **options}))
        with pytest.raises(SlideError, match="no scan"):
            open_slide(path, 0.5)


def test_areas_of_equal_size_in_a_plain_tiff_are_chosen_by_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", (pixels(80), TILED), (pixels(160), TILED))
    assert [mean(path, series) for series in (None, 0, 1)] == pytest.approx([80, 80, 160], abs=3)
    assert any("series 1" in note for note in info(path).notes)
    with pytest.raises(SlideError, match="series 2"):
        open_slide(path, 0.5, series=2)


def ome(path: Path, **names: int) -> Path:
    with tifffile.TiffWriter(path, ome=True) as file:
        for name, value in names.items():
            options: dict[str, Any] = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}
            metadata = {
                "axes": "YXS",
                "Name": name.replace("_", " "),
                "PhysicalSizeX": 0.5,
                "PhysicalSizeY": 0.5,
            }
            image = pixels(value, 384, 512) if "macro" in name else pixels(value)
            file.write(image, subifds=1, metadata=metadata, **options)
            file.write(image[::2, ::2], subfiletype=1, **options)
    return path


def test_areas_of_an_ome_tiff_are_chosen_by_number(tmp_path: Path) -> None:
    path = ome(tmp_path / "a.ome.tif", macro_image=20, area_1=80, area_2=160)
    assert [mean(path, series) for series in (None, 1, 2)] == pytest.approx([80, 80, 160], abs=3)
    with open_slide(path, series=2) as slide:
        assert (slide.series, slide.mpp, len(slide.level_sizes)) == (2, 0.5, 2)
        assert len(slide.notes) == 2
    with pytest.raises(SlideError, match="macro"):
        open_slide(path, series=0)


def test_other_formats_have_one_image(tmp_path: Path) -> None:
    Image.fromarray(pixels(100)).save(tmp_path / "a.png")
    write_pyramid(tmp_path / "a.tif", pixels(100), 0.5)
    for path in (tmp_path / "a.png", tmp_path / "a.tif"):
        assert mean(path, 0) == pytest.approx(100, abs=3)
        with pytest.raises(SlideError, match="series 1"):
            open_slide(path, 0.5, series=1)


VENTANA = (
    '<iScan Magnification="40" ScanRes="0.25"/>',
    '<EncodeInfo Ver="2"><SlideStitchInfo><ImageInfo AOIScanned="1" AOIIndex="0" NumRows="1" NumCols="2" Width="64" '
    'Height="64" Pos-X="0" Pos-Y="0"><TileJointInfo FlagJoined="1" Confidence="99" Direction="LEFT" Tile1="1" Tile2="2" '
    'OverlapX="10" OverlapY="0"/></ImageInfo></SlideStitchInfo><AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin>'
    "</EncodeInfo>",
)


@pytest.mark.parametrize("name", ["left.bif", "left.tif"])
def test_the_refusal_of_the_reader_of_a_format_is_final(tmp_path: Path, name: str) -> None:
    """OpenSlide refuses a joint direction of this BIF; as a plain TIFF, overlapping tiles would be shown side by side."""
    jpeg: dict[str, Any] = {"compression": "jpeg", "tile": (64, 64)}
    xmp = [(700, 1, None, text.encode(), True) for text in VENTANA]
    path = write(
        tmp_path / name,
        (pixels(LABEL, 80, 60), {"description": "Label Image", "extratags": xmp[:1]}),
        (pixels(SLIDE, 64, 128), {**jpeg, "description": "level=0 mag=40 quality=90", "extratags": xmp[1:]}),
    )
    with pytest.raises(SlideError):
        open_slide(path, 0.25)


@pytest.mark.parametrize("compression", [50002, 34887, 22610, 34934])
@pytest.mark.parametrize(
    "description", ["", "Aperio Image Library v12\r\n256x192 JPEG|AppMag = 20|MPP = 0.5"]
)
def test_an_unknown_compression_is_named_and_not_called_damage(
    tmp_path: Path, compression: int, description: str
) -> None:
    path = write(
        tmp_path / "a.svs",
        (pixels(SLIDE), {"tile": (64, 64), "compression": "lzw", "description": description}),
    )
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags[259].overwrite(compression)
    with pytest.raises(SlideError, match="compression") as caught:
        open_slide(path, 0.5)
    assert "damaged" not in str(caught.value)
    assert "QuPath" in caught.value.remedy


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("tiled", [True, False])
def test_turned_tiffs_are_refused(tmp_path: Path, orientation: int, tiled: bool) -> None:
    options = {**(TILED if tiled else {}), "extratags": [(274, 3, 1, orientation, True)]}
    path = write(tmp_path / "a.tif", (pixels(SLIDE), options))
    with pytest.raises(SlideError, match=f"orientation {orientation}"):
        open_slide(path, 0.5)


def test_turned_photographs_are_refused_and_upright_ones_read(tmp_path: Path) -> None:
    for orientation in (1, 6):
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(pixels(SLIDE)).save(tmp_path / f"{orientation}.jpg", exif=exif)
    assert mean(tmp_path / "1.jpg") == pytest.approx(SLIDE, abs=3)
    with pytest.raises(SlideError, match="orientation 6"):
        open_slide(tmp_path / "6.jpg", 0.5)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.lif", b"\x70\x00\x00\x00" + bytes(90), "LIF"),
        ("a.tif", b"\xff\x0a" + bytes(90), "JPEG XL"),
        ("a.isyntax", b"<DataObject>", "iSyntax"),
        ("a.svs", b"version https://git-lfs.github.com/spec/v1", "LFS"),
        ("a.svs", b"<!DOCTYPE html><html>", "web page"),
        ("a.svs", b"PK\x03\x04" + bytes(90), "ZIP"),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SlideError, match=word):
        open_slide(tmp_path / name, 0.5)


def test_a_vsi_is_not_read_as_the_tiff_that_it_looks_like(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="VSI"):
        open_slide(write(tmp_path / "a.vsi", (pixels(LABEL), {})), 0.5)


APERIO = "Aperio Image Library v8.2\r\n81713x37331 [0,0 256x192] (0x0) RAW|AppMag = 20|MPP = {}"
IMAGEJ = "ImageJ=1.53t\nunit={}\nslices=1\n"


@pytest.mark.parametrize("options", [{}, TILED])
@pytest.mark.parametrize(
    ("description", "per_unit", "mpp"),
    [
        (APERIO.format("0.4970"), 1, 0.497),
        (APERIO.format("0,4970"), 1, 0.497),
        (IMAGEJ.format("micron"), 2, 0.5),
        (IMAGEJ.format("\\u00B5m"), 2, 0.5),
        (IMAGEJ.format("mm"), 2000, 0.5),
        (IMAGEJ.format("inch"), 50_800, 0.5),
        (IMAGEJ.format("pixel"), 2, None),
    ],
)
def test_scales_in_descriptions_are_read(
    tmp_path: Path, options: dict[str, Any], description: str, per_unit: float, mpp: float | None
) -> None:
    where = {"resolution": (per_unit, per_unit), "resolutionunit": 1, "description": description}
    facts = info(write(tmp_path / "a.tif", (pixels(SLIDE), {**options, **where})))
    assert facts.mpp == (None if mpp is None else pytest.approx(mpp))
    assert facts.power == (20 if "Aperio" in description else None)


def test_a_contradicting_objective_in_ome_xml_is_refused(tmp_path: Path) -> None:
    path = ome(tmp_path / "a.ome.tif", area=80)
    with tifffile.TiffFile(path) as file:
        xml = file.ome_metadata or ""
    lens = '<Instrument ID="I:0"><Objective ID="O:0" NominalMagnification="{}"/></Instrument><Image '
    xml = xml.replace("<Image ", lens, 1).replace("<Pixels ", '<ObjectiveSettings ID="O:0"/><Pixels ', 1)
    for power, fine in (("20", True), ("4", False)):
        tifffile.tiffcomment(path, xml.format(power) if "{}" in xml else xml)
        if fine:
            assert info(path).power == 20
        else:
            with pytest.raises(SlideError, match="4x"):
                open_slide(path)
