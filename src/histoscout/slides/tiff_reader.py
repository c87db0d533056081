"""OME-TIFF with its smaller levels, and other TIFF files that OpenSlide does not read.

The OME-XML of an OME-TIFF (OME data model 2016-06: Pixels, TiffData and UUID) states the size of a pixel, how many
planes there are, and in which files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree

import tifffile

from histoscout.errors import SlideError
from histoscout.io.tiff import BY_LIBTIFF, JPEG, JPEG2000, LOSSLESS, MAX_PAGES, compression_name
from histoscout.io.units import parse_number, parse_um
from histoscout.slides.open import OpenedFile, damaged_file
from histoscout.slides.scale import StatedScale, combine_mpp
from histoscout.slides.tiff_checks import (
    check_orientation,
    check_page_size,
    check_segment_ends,
    open_tiff_directories,
)
from histoscout.slides.tiff_images import (
    RGB_FROM_PLANES,
    TiffImage,
    find_slide,
    read_aperio,
    read_page_mpp,
)
from histoscout.slides.tiff_levels import TiffLevel, TiffSource, tiff_level

WEBP = frozenset({34927, 50001})
CODECS = JPEG | JPEG2000 | WEBP | BY_LIBTIFF | LOSSLESS
"""TIFF compressions that slides are read in."""

# Photometric interpretations whose values are the picture's; palettes are refused.
RGB = 2
YCBCR = 6
BLACK_IS_ZERO = 1

PRIVATE_FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "is_bif": "Ventana / Roche (BIF)",
        "is_ndpi": "Hamamatsu (NDPI)",
        "is_scn": "Leica (SCN)",
        "is_philips": "Philips",
        "is_lsm": "Zeiss (LSM)",
        "is_stk": "MetaMorph (STK)",
        "is_fluoview": "Olympus FluoView",
        "is_mdgel": "Molecular Dynamics (GEL)",
        "is_eer": "EER",
        "is_avs": "Argos",
    }
)
"""Attributes of tifffile for formats that only a reader of their own reads, and their names."""

OME_COUNTS = ("PlaneCount", "NumPlanes", "IFD", "FirstZ", "FirstC", "FirstT")
"""Attributes of OME's TiffData that count planes."""

SEVERAL_FILES = "the slide consists of several files"
EXPORT_AS_ONE = "Export it as one OME-TIFF, for example from QuPath"
EXPORT_AS_RGB = "Export it as 8-bit RGB, for example from QuPath (rendered OME-TIFF)"


def open_ome_tiff(path: Path, series: int | None = None) -> OpenedFile | None:
    """Open an OME-TIFF with all its levels and the resolution of its OME-XML.

    Args:
        path: The file.
        series: The number of the image in its OME-XML; None for the largest.

    Returns:
        The opened file; None if it is not an OME-TIFF.

    Raises:
        SlideError: The file is damaged, its pixels are not those of a brightfield slide, or there is no such image.
    """
    with open_tiff_directories(path) as file:
        if file is None or not file.is_ome:
            return None
        xml = file.ome_metadata or ""
        check_planes(path, xml)
        image, image_notes = find_slide(path, file, series)
        facts = _read_ome_facts(xml, image.number, len(file.series))
        notes = _check_pixels(path, image)
    return OpenedFile(
        source=TiffSource(path, facts.scale.mpp, partial(read_tiff_levels, series=image.number)),
        format="OME-TIFF",
        scale=facts.scale,
        power=facts.power,
        series=image.number,
        notes=(*image_notes, *notes),
    )


def open_tiff(path: Path, series: int | None = None) -> OpenedFile | None:
    """Open the largest tiled image of any other TIFF, with its smaller levels.

    Args:
        path: The file.
        series: The number of the image in the file; None for the largest tiled one.

    Returns:
        The opened file; None if it is not a TIFF.

    Raises:
        SlideError: The file is damaged, its pixels are not those of a brightfield slide, there is no such image, or its
            format needs a reader of its own.
    """
    with open_tiff_directories(path) as file:
        if file is None:
            return None
        check_private_format(path, file)
        image, image_notes = find_slide(path, file, series)
        scale = combine_mpp(*read_page_mpp(image.page))
        power = read_aperio(image.page.description or "")[1]
        notes = _check_pixels(path, image)
    return OpenedFile(
        source=TiffSource(path, scale.mpp, partial(read_tiff_levels, series=image.number)),
        format="TIFF",
        scale=scale,
        power=power,
        series=image.number,
        notes=(*image_notes, *notes),
    )


def read_tiff_levels(path: Path, series: int | None = None) -> list[TiffLevel]:
    """The levels of the slide in a TIFF, level 0 first.

    Args:
        path: The file.
        series: The number of the image in the file; None for the largest tiled one.

    Returns:
        The levels.

    Raises:
        SlideError: The file is damaged.
    """
    with open_tiff_directories(path) as file:
        if file is None:
            raise damaged_file(path, "it is no longer a TIFF")
        image, _ = find_slide(path, file, series)
        return [_check_level(path, pages) for pages in image.levels]


def _check_level(path: Path, pages: Sequence[tifffile.TiffPage]) -> TiffLevel:
    for page in pages:
        check_page_size(path, page)
        check_segment_ends(path, page)
    return tiff_level(pages)


def _check_pixels(path: Path, image: TiffImage) -> tuple[str, ...]:
    """Reject what is not an 8-bit image of a stained slide; notes say how unusual channels are read."""
    page, axes, planes = image.page, image.axes, image.planes
    check_orientation(path, page)
    if page.compression not in CODECS:
        fault = f"the compression {compression_name(page.compression)} is not supported"
        raise SlideError(path, fault, EXPORT_AS_RGB)
    if page.dtype is None or page.dtype.name != "uint8" or page.bitspersample != 8:
        fault = f"the pixels are {page.bitspersample}-bit {page.dtype or ''}".rstrip()
        raise SlideError(path, f"{fault}, not unsigned 8-bit", EXPORT_AS_RGB)
    if page.samplesperpixel >= 3 and page.photometric in {RGB, YCBCR, BLACK_IS_ZERO}:
        return (
            ()
            if planes == 1
            else (f"the image has {planes} planes, such as focal planes; the first is read",)
        )
    if page.samplesperpixel == 1 and page.photometric == BLACK_IS_ZERO:
        if planes == 1:
            return ("the image is gray; it is read as red = green = blue",)
        if planes == 3 and axes in RGB_FROM_PLANES:
            return ("three separate channels are read as red, green and blue",)
    channels = f"{planes * page.samplesperpixel} channels (axes {axes})"
    raise SlideError(path, f"its {channels} are not the colors of a brightfield image", EXPORT_AS_RGB)


def check_private_format(path: Path, file: tifffile.TiffFile) -> None:
    """Reject TIFFs of scanners whose tiles are no plain image: they overlap, or are placed by private tags.

    Args:
        path: The file, for the message.
        file: The open file.

    Raises:
        SlideError: The format needs a reader of its own, and OpenSlide did not recognize the file.
    """
    kind = next(
        (name for attribute, name in PRIVATE_FORMATS.items() if getattr(file, attribute, False)), None
    )
    if path.suffix.casefold() == ".vsi":
        kind = "Olympus VSI"
    if kind is not None:
        fault = f"this is a file of {kind}, whose slide cannot be read as a plain TIFF"
        raise SlideError(path, fault, EXPORT_AS_RGB)


# ---------------------------------------------------------------- OME-XML


@dataclass(frozen=True)
class OmeFacts:
    """What OME-XML states about an image.

    Attributes:
        scale: The size of a pixel.
        power: Magnification of the objective; None if it is not stated.
    """

    scale: StatedScale
    power: float | None = None


def _read_ome_facts(xml: str, number: int, count: int) -> OmeFacts:
    """The facts of the image with this number, of as many as tifffile has found."""
    root = ElementTree.fromstring(xml)
    images = [image for image in root.findall("{*}Image") if image.find("{*}Pixels") is not None]
    # if images are missing in the file, numbers in the file and in the XML differ
    if len(images) != count:
        return OmeFacts(StatedScale())
    pixels = images[number].find("{*}Pixels")
    sides = [_read_physical_size(pixels, axis) for axis in "XY"] if pixels is not None else [None, None]
    return OmeFacts(combine_mpp(*sides), _read_power(root, images[number]))


def _read_physical_size(pixels: ElementTree.Element, axis: str) -> float | None:
    # um is the schema's default unit
    return parse_um(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "um"))


def _read_power(root: ElementTree.Element, image: ElementTree.Element) -> float | None:
    """The magnification of the objective that the image names."""
    settings = image.find("{*}ObjectiveSettings")
    name = None if settings is None else settings.get("ID")
    for objective in root.findall("{*}Instrument/{*}Objective"):
        if name is not None and objective.get("ID") == name:
            return parse_number(objective.get("NominalMagnification")) or None
    return None


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
    if root.find("{*}BinaryOnly") is not None:
        raise SlideError(path, SEVERAL_FILES, EXPORT_AS_ONE)
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
            raise SlideError(path, SEVERAL_FILES, EXPORT_AS_ONE)
