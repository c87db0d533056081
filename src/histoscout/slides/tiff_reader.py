"""OME-TIFF with its smaller levels, and other TIFF files that OpenSlide does not read.

The OME-XML of an OME-TIFF (OME data model 2016-06: Pixels, TiffData and UUID) states the size of a pixel, how many
planes there are, and in which files.
"""

from math import prod
from pathlib import Path
from xml.etree import ElementTree

import tifffile

from histoscout.errors import SlideError
from histoscout.io.tiff import BY_LIBTIFF, JPEG, JPEG2000, LOSSLESS, MAX_PAGES, compression_name
from histoscout.slides.open import OpenedFile, combine_mpp, damaged_file, plausible_mpp
from histoscout.slides.tiff_checks import check_page_size, check_segment_ends, open_tiff_directories
from histoscout.slides.tiff_levels import TiffLevel, TiffSource, tiff_level

WEBP = frozenset({34927, 50001})
CODECS = JPEG | JPEG2000 | WEBP | BY_LIBTIFF | LOSSLESS
"""TIFF compressions that slides are read in."""

# Photometric interpretations whose values are the picture's; palettes are refused.
RGB = 2
YCBCR = 6
BLACK_IS_ZERO = 1

TAG_UNIT_UM = {2: 25_400.0, 3: 1e4, 4: 1e3, 5: 1.0}
"""TIFF's ResolutionUnit in um: inch, centimeter; tifffile also knows mm and um."""

OME_UNIT_UM = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "nm": 1e-3, "in": 25_400.0}
"""Units of OME's PhysicalSize in um."""

OME_COUNTS = ("PlaneCount", "NumPlanes", "IFD", "FirstZ", "FirstC", "FirstT")
"""Attributes of OME's TiffData that count planes."""

EXPORT_AS_RGB = "Export it as 8-bit RGB, for example from QuPath (rendered OME-TIFF)"


def open_ome_tiff(path: Path) -> OpenedFile | None:
    """Open an OME-TIFF with all its levels and the resolution of its OME-XML.

    Args:
        path: The file.

    Returns:
        The opened file; None if it is not an OME-TIFF.

    Raises:
        SlideError: The file is damaged, or its pixels are not those of a brightfield slide.
    """
    with open_tiff_directories(path) as file:
        if file is None or not file.is_ome:
            return None
        xml = file.ome_metadata or ""
        check_planes(path, xml)
        series = _find_slide(file)
        mpp_x, mpp_y = _read_ome_mpp(xml, file.series.index(series))
        notes = _check_pixels(path, series)
    mpp, mpp_notes = combine_mpp(mpp_x, mpp_y)
    source = TiffSource(path, mpp, read_tiff_levels)
    return OpenedFile(source=source, format="OME-TIFF", notes=(*mpp_notes, *notes))


def open_tiff(path: Path) -> OpenedFile | None:
    """Open the first image of any other TIFF, with its smaller levels.

    Args:
        path: The file.

    Returns:
        The opened file; None if it is not a TIFF.

    Raises:
        SlideError: The file is damaged, or its pixels are not those of a brightfield slide.
    """
    with open_tiff_directories(path) as file:
        if file is None:
            return None
        series = _find_slide(file)
        mpp_x, mpp_y = _read_tag_mpp(series.keyframe)
        notes = _check_pixels(path, series)
    mpp, mpp_notes = combine_mpp(mpp_x, mpp_y)
    source = TiffSource(path, mpp, read_tiff_levels)
    return OpenedFile(source=source, format="TIFF", notes=(*mpp_notes, *notes))


def read_tiff_levels(path: Path) -> list[TiffLevel]:
    """The levels of the slide in a TIFF, level 0 first.

    Args:
        path: The file.

    Returns:
        The levels.

    Raises:
        SlideError: The file is damaged.
    """
    with open_tiff_directories(path) as file:
        if file is None:
            raise damaged_file(path, "it is no longer a TIFF")
        return [_check_level(path, level) for level in _find_slide(file).levels]


def _check_level(path: Path, level: tifffile.TiffPageSeries) -> TiffLevel:
    count = 3 if level.keyframe.samplesperpixel == 1 and len(level.pages) == 3 else 1
    pages = [page.aspage() for page in level.pages[:count] if page is not None]
    for page in pages:
        check_page_size(path, page)
        check_segment_ends(path, page)
    return tiff_level(pages)


def _find_slide(file: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """The slide among the images of a file: the largest in OME-TIFF, else the first."""
    if not file.is_ome:
        return file.series[0]
    return max(file.series, key=lambda series: series.keyframe.imagewidth * series.keyframe.imagelength)


def _check_pixels(path: Path, series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """Reject what is not an 8-bit image of a stained slide; notes say how unusual channels are read."""
    page, axes, planes = series.keyframe, series.axes, len(series.levels[0].pages)
    if page.dtype is None or page.dtype.name != "uint8" or page.bitspersample != 8:
        fault = f"the pixels are {page.bitspersample}-bit {page.dtype or ''}".rstrip()
        raise SlideError(path, f"{fault}, not 8-bit", EXPORT_AS_RGB)
    if page.compression not in CODECS:
        fault = f"the compression {compression_name(page.compression)} is not supported"
        raise SlideError(path, fault, EXPORT_AS_RGB)
    if page.samplesperpixel >= 3 and page.photometric in {RGB, YCBCR, BLACK_IS_ZERO}:
        return () if planes == 1 else (f"the file contains {planes} planes; only the first is read",)
    if page.samplesperpixel == 1 and page.photometric == BLACK_IS_ZERO:
        if planes == 1:
            return ("the image is gray; it is read as red = green = blue",)
        if planes == 3 and axes in {"CYX", "SYX", "QYX", "IYX"}:
            return ("three separate channels are read as red, green and blue",)
    channels = f"{planes * page.samplesperpixel} channels (axes {axes})"
    raise SlideError(path, f"its {channels} are not the colors of a brightfield image", EXPORT_AS_RGB)


# ---------------------------------------------------------------- resolution and OME-XML


def _read_tag_mpp(page: tifffile.TiffPage) -> tuple[float | None, float | None]:
    """um/px from the resolution tags, where they are plausible."""
    unit = TAG_UNIT_UM.get(int(page.resolutionunit))
    per_unit_x, per_unit_y = page.resolution
    if unit is None or not per_unit_x or not per_unit_y:
        return None, None
    return plausible_mpp(unit / per_unit_x), plausible_mpp(unit / per_unit_y)


def _read_ome_mpp(xml: str, image: int) -> tuple[float | None, float | None]:
    """PhysicalSizeX and PhysicalSizeY of the image with this number, in um."""
    images = ElementTree.fromstring(xml).findall("{*}Image/{*}Pixels")
    if image >= len(images):
        return None, None
    return _read_physical_size(images[image], "X"), _read_physical_size(images[image], "Y")


def _read_physical_size(pixels: ElementTree.Element, axis: str) -> float | None:
    # um is the schema's default unit
    unit = OME_UNIT_UM.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    size = pixels.get(f"PhysicalSize{axis}")
    return float(size) * unit if size and unit else None


def check_planes(path: Path, xml: str) -> None:
    """Reject OME-XML that counts impossible planes, or planes in other files.

    tifffile trusts the counts: too large ones fill the memory. Pixels are read from this file only.

    Args:
        path: The file.
        xml: Its OME-XML.

    Raises:
        SlideError: The counts are impossible, or the slide consists of several files.
    """
    root = ElementTree.fromstring(xml)
    for pixels in root.findall("{*}Image/{*}Pixels"):
        planes = prod(int(pixels.get(f"Size{axis}", "1")) for axis in "ZCT")
        counts = [int(data.get(name, "0")) for data in pixels.findall("{*}TiffData") for name in OME_COUNTS]
        if not 1 <= planes <= MAX_PAGES or any(not 0 <= count <= MAX_PAGES for count in counts):
            raise damaged_file(path, f"its OME-XML counts {planes} planes, which do not exist")
        # planes without the UUID of this file are elsewhere, unless the file was only renamed
        elsewhere = (
            uuid.get("FileName", "").lower()
            for uuid in pixels.findall("{*}TiffData/{*}UUID")
            if uuid.text != root.get("UUID")
        )
        if any(name != path.name.lower() for name in elsewhere):
            fault = "the slide consists of several files"
            raise SlideError(path, fault, "Export it as one OME-TIFF, for example from QuPath")
