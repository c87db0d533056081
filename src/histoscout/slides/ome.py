"""What the OME-XML of an OME-TIFF says of its images: the size of a pixel, how many planes, in which files.

OME data model 2016-06, Pixels, TiffData and UUID.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from xml.etree import ElementTree

from histoscout.errors import SlideError
from histoscout.slides.opened import spoilt
from histoscout.tiff import MOST_PAGES

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
