"""TIFF that OpenSlide does not read as it should: OME-TIFF with its smaller levels, and what it refuses."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import tifffile

from histoscout.errors import SlideError
from histoscout.slides.opened import Opened, one_mpp, plausible, spoilt
from histoscout.slides.tiff_level import CODEC_ERRORS, TiffLevel, TiffLevels, level_of

# What tifffile raises for files whose structure is damaged in one way or another.
STRUCTURE_ERRORS = (*CODEC_ERRORS, struct.error, AttributeError, ElementTree.ParseError)

UM = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "nm": 1e-3, "in": 25_400.0}
PER_UNIT = {
    2: 25_400.0,
    3: 1e4,
    4: 1e3,
    5: 1.0,
}  # TIFF resolution units: inch, cm; tifffile also knows mm, um

# Photometric interpretations whose values are a picture's: black is zero, RGB, palette (refused), YCbCr.
RGB, YCBCR, BLACK_IS_ZERO = 2, 6, 1


def open_ome_tiff(path: Path) -> Opened | None:
    """An OME-TIFF with its levels and the scale of its OME-XML; None if the file is no OME-TIFF."""
    with _tiff(path) as file:
        if file is None or not file.is_ome:
            return None
        series = _slide_of(file)
        sizes = _ome_sizes(file.ome_metadata or "", file.series.index(series))
        notes = _check_pixels(path, series)
    return _opened(path, sizes, "OME-TIFF", notes)


def open_tiff(path: Path) -> Opened | None:
    """The first image of any other TIFF, with its smaller levels; None if the file is no TIFF."""
    with _tiff(path) as file:
        if file is None:
            return None
        series = _slide_of(file)
        sizes = _tag_sizes(series.keyframe)
        notes = _check_pixels(path, series)
    return _opened(path, sizes, "TIFF", notes)


def find_levels(path: Path) -> list[TiffLevel]:
    """The levels of the slide in a TIFF, level 0 first."""
    with _tiff(path) as file:
        if file is None:
            raise spoilt(path, "it is no TIFF any more")
        return [_level(path, level) for level in _slide_of(file).levels]


def _slide_of(file: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """The slide among the images of a file; the others (label, overview) are not looked at.

    In an OME-TIFF it is the largest, in other TIFF the first.
    """
    if not file.is_ome:
        return file.series[0]
    return max(file.series, key=lambda one: one.keyframe.imagewidth * one.keyframe.imagelength)


def _opened(
    path: Path, sizes: tuple[float | None, float | None], kind: str, notes: tuple[str, ...]
) -> Opened:
    mpp, scale_notes = one_mpp(*sizes)
    return Opened(TiffLevels(path, mpp, find_levels), kind, notes=(*scale_notes, *notes))


def _check_pixels(path: Path, series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """Refuse what is no 8-bit picture of a stained slide; say what had to be decided about the rest."""
    page, axes, planes = series.keyframe, series.axes, len(series.levels[0].pages)
    if page.dtype is None or page.dtype.name != "uint8" or page.bitspersample != 8:
        fault = f"its pixels are {page.bitspersample}-bit {page.dtype or ''}, not 8-bit"
        raise SlideError(
            path, fault.rstrip(), "Export it as 8-bit RGB, for example from QuPath (rendered OME-TIFF)"
        )
    if page.samplesperpixel >= 3 and page.photometric in {RGB, YCBCR, BLACK_IS_ZERO}:
        return () if planes == 1 else (f"the file holds {planes} planes; only the first is read",)
    if page.samplesperpixel == 1 and page.photometric == BLACK_IS_ZERO:
        if planes == 1:
            return ("a grey image; it is read as red = green = blue",)
        if planes == 3 and axes in {"CYX", "SYX", "QYX", "IYX"}:
            return ("three separate channels are read as red, green and blue",)
    fault = (
        f"its {planes * page.samplesperpixel} channels (axes {axes}) are no colours of a brightfield image"
    )
    raise SlideError(path, fault, "Export it as 8-bit RGB, for example from QuPath (rendered OME-TIFF)")


def _level(path: Path, level: tifffile.TiffPageSeries) -> TiffLevel:
    count = 3 if level.keyframe.samplesperpixel == 1 and len(level.pages) == 3 else 1
    pages = [page.aspage() for page in level.pages[:count] if page is not None]
    end = path.stat().st_size
    for page in pages:
        pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        missing = sum(offset + length > end for offset, length in pieces)
        if missing:
            raise spoilt(path, f"{missing} of its {len(pieces)} pieces lie beyond the end of the file")
    return level_of(pages)


@contextmanager
def _tiff(path: Path) -> Iterator[tifffile.TiffFile | None]:
    """The TIFF's directories, or None if the file is no TIFF; closed at the end, pixels are read by path."""
    try:
        file = tifffile.TiffFile(path)
    except tifffile.TiffFileError:
        yield None
        return
    except STRUCTURE_ERRORS as error:
        raise spoilt(path, error) from error
    with file:
        try:
            yield file
        except STRUCTURE_ERRORS as error:
            raise spoilt(path, error) from error


def _ome_sizes(xml: str, image: int) -> tuple[float | None, float | None]:
    """PhysicalSizeX and PhysicalSizeY of the image of this number, in um (the schema's default unit)."""
    pixels = ElementTree.fromstring(xml).findall("{*}Image/{*}Pixels")
    if image >= len(pixels):
        return None, None
    return _ome_size(pixels[image], "X"), _ome_size(pixels[image], "Y")


def _ome_size(pixels: ElementTree.Element, axis: str) -> float | None:
    unit = UM.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    size = pixels.get(f"PhysicalSize{axis}")
    return float(size) * unit if size and unit else None


def _tag_sizes(page: tifffile.TiffPage) -> tuple[float | None, float | None]:
    """um/px from the resolution tags, where they can be meant."""
    unit = PER_UNIT.get(int(page.resolutionunit))
    per_unit_x, per_unit_y = page.resolution
    if unit is None or not per_unit_x or not per_unit_y:
        return None, None
    return plausible(unit / per_unit_x), plausible(unit / per_unit_y)
