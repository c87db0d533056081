"""TIFF that OpenSlide does not read as it should: OME-TIFF with its smaller levels, and what it refuses.

What the OME-XML of an OME-TIFF says of its images: the size of a pixel, how many planes, in which files.

OME data model 2016-06, Pixels, TiffData and UUID.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from xml.etree import ElementTree

import tifffile

from histoscout.errors import SlideError
from histoscout.io.tiff import BY_LIBTIFF, JPEG, JPEG2000, LOSSLESS, MOST_PAGES, name_of
from histoscout.slides.open import Opened, one_mpp, plausible, spoilt
from histoscout.slides.tiff_levels import (
    TiffLevel,
    TiffLevels,
    check_ends,
    check_sizes,
    directories,
    level_of,
)

UM = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "nm": 1e-3, "in": 25_400.0}
COUNTS = ("PlaneCount", "NumPlanes", "IFD", "FirstZ", "FirstC", "FirstT")


def check_planes(path: Path, xml: str) -> None:
    """Refuse what counts more planes than a file may list, or names other files. SlideError.

    The numbers are believed by the library that reads the file: too large, they fill the memory. Pixels are read from
    this file only.
    """
    root = ElementTree.fromstring(xml)
    for pixels in root.findall("{*}Image/{*}Pixels"):
        planes = prod(int(pixels.get(f"Size{axis}", "1")) for axis in "ZCT")
        numbers = [int(data.get(name, "0")) for data in pixels.findall("{*}TiffData") for name in COUNTS]
        if not 1 <= planes <= MOST_PAGES or any(not 0 <= number <= MOST_PAGES for number in numbers):
            raise spoilt(path, f"its OME-XML counts planes that are not there: {planes} in all")
        if any(name != path.name.lower() for name in _elsewhere(root, pixels)):
            fault = "its planes lie in several files"
            raise SlideError(path, fault, "Export it as one OME-TIFF, for example from QuPath")


def _elsewhere(root: ElementTree.Element, pixels: ElementTree.Element) -> Iterator[str]:
    """Names of the files, in small letters, of planes that do not bear the mark of this one."""
    for mark in pixels.findall("{*}TiffData/{*}UUID"):
        if mark.text != root.get("UUID"):
            yield mark.get("FileName", "").lower()


def ome_sizes(xml: str, image: int) -> tuple[float | None, float | None]:
    """PhysicalSizeX and PhysicalSizeY of the image of this number, in um (the schema's default unit)."""
    pixels = ElementTree.fromstring(xml).findall("{*}Image/{*}Pixels")
    if image >= len(pixels):
        return None, None
    return _size(pixels[image], "X"), _size(pixels[image], "Y")


def _size(pixels: ElementTree.Element, axis: str) -> float | None:
    unit = UM.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    size = pixels.get(f"PhysicalSize{axis}")
    return float(size) * unit if size and unit else None


# Ways of packing that slides are read in, WebP among them.
WEBP = frozenset({34927, 50001})
CODECS = JPEG | JPEG2000 | WEBP | BY_LIBTIFF | LOSSLESS
AS_RGB = "Export it as 8-bit RGB, for example from QuPath (rendered OME-TIFF)"

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
    with directories(path) as file:
        if file is None or not file.is_ome:
            return None
        check_planes(path, file.ome_metadata or "")
        series = _slide_of(file)
        sizes = ome_sizes(file.ome_metadata or "", file.series.index(series))
        notes = _check_pixels(path, series)
    return _opened(path, sizes, "OME-TIFF", notes)


def open_tiff(path: Path) -> Opened | None:
    """The first image of any other TIFF, with its smaller levels; None if the file is no TIFF."""
    with directories(path) as file:
        if file is None:
            return None
        series = _slide_of(file)
        sizes = _tag_sizes(series.keyframe)
        notes = _check_pixels(path, series)
    return _opened(path, sizes, "TIFF", notes)


def find_levels(path: Path) -> list[TiffLevel]:
    """The levels of the slide in a TIFF, level 0 first."""
    with directories(path) as file:
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
        raise SlideError(path, fault.rstrip(), AS_RGB)
    if page.compression not in CODECS:
        raise SlideError(
            path, f"is packed in a way ({name_of(page.compression)}) that slides are not", AS_RGB
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
    raise SlideError(path, fault, AS_RGB)


def _level(path: Path, level: tifffile.TiffPageSeries) -> TiffLevel:
    count = 3 if level.keyframe.samplesperpixel == 1 and len(level.pages) == 3 else 1
    pages = [page.aspage() for page in level.pages[:count] if page is not None]
    for page in pages:
        check_sizes(path, page)
        check_ends(path, page)
    return level_of(pages)


def _tag_sizes(page: tifffile.TiffPage) -> tuple[float | None, float | None]:
    """um/px from the resolution tags, where they can be meant."""
    unit = PER_UNIT.get(int(page.resolutionunit))
    per_unit_x, per_unit_y = page.resolution
    if unit is None or not per_unit_x or not per_unit_y:
        return None, None
    return plausible(unit / per_unit_x), plausible(unit / per_unit_y)
