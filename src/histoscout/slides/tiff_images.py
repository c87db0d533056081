"""Which image of a TIFF is the slide, and what the TIFF states about its scale.

A TIFF may hold a label, a macro image and a thumbnail beside the slide, several scanned areas, or focal planes. The slide
is the largest tiled image that is none of the former. Areas of equal size are never merged: one is read, by its number,
and the others are noted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tifffile

from histoscout.errors import SlideError
from histoscout.io.notes import list_some, pluralize
from histoscout.io.units import parse_number, um_per
from histoscout.slides.scale import plausible_mpp

ASSOCIATED = re.compile(
    r"(?:^|[\s_\-:.(])(?:label|macro|thumbnail|overview|barcode|probe|slide[ _]preview)"
    r"(?:[ _\-]?(?:image|\d+(?:x\d+)?))?\)?\s*$|^\s*(?:label|macro|thumbnail)\b.{0,60}$",
    re.IGNORECASE,
)
"""The name of an image that shows the glass, its label or a preview instead of the scan."""

APERIO_ASSOCIATED = re.compile(r"^Aperio[^\n]*[\r\n]+(?:label|macro)\b", re.IGNORECASE)
"""The description of such an image in a file of Aperio."""

TAG_UNIT = {2: "inch", 3: "cm", 4: "mm", 5: "um"}
"""TIFF's ResolutionUnit; tifffile also knows mm and um."""

RGB_FROM_PLANES = frozenset({"CYX", "SYX", "QYX", "IYX"})
"""Axes of three gray planes that are the three colors."""


@dataclass(frozen=True, kw_only=True)
class TiffImage:
    """One image of a TIFF, with its smaller levels.

    Attributes:
        number: Its number in the file, from 0.
        name: Its name or description, as far as it says what the image is.
        axes: Axes of the image as tifffile calls them.
        planes: How many planes are stored; more than one if they are focal planes, times or channels.
        levels: The pages of each level, level 0 first: one, or three with a color each.
    """

    number: int
    name: str
    axes: str
    planes: int
    levels: tuple[tuple[tifffile.TiffPage, ...], ...]

    @property
    def page(self) -> tifffile.TiffPage:
        """The first page of level 0."""
        return self.levels[0][0]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of level 0 in px."""
        return self.page.imagewidth, self.page.imagelength

    @property
    def is_associated(self) -> bool:
        """Whether it is a label, macro image, thumbnail or overview."""
        return bool(ASSOCIATED.search(self.name) or APERIO_ASSOCIATED.match(self.name))


def list_images(file: tifffile.TiffFile) -> list[TiffImage]:
    """The images of a TIFF.

    Args:
        file: The open file.

    Returns:
        The images in the order of the file; in OME-TIFF by the number of the image in its OME-XML.
    """
    images: list[TiffImage] = []
    for series in file.series:
        page, planes = series.keyframe, len(series.levels[0].pages)
        name = str(series.name or "")
        # planes of all colors are images of their own, except where OME says that they are one image
        if planes > 1 and page.samplesperpixel >= 3 and not file.is_ome:
            groups = [[[level.pages[plane]] for level in _whole(series.levels)] for plane in range(planes)]
            parts = 1
        else:
            count = 3 if page.samplesperpixel == 1 and planes == 3 and series.axes in RGB_FROM_PLANES else 1
            groups, parts = [[level.pages[:count] for level in series.levels]], planes
        for group in groups:
            levels = tuple(tuple(page.aspage() for page in pages if page is not None) for pages in group)
            image = TiffImage(
                number=len(images),
                name=name if file.is_ome or file.is_svs or file.is_bif else _description(levels[0][0]),
                axes=series.axes if parts > 1 else series.axes.replace("I", ""),
                planes=parts,
                levels=levels,
            )
            images.append(image)
    return images


def _whole(levels: Sequence[tifffile.TiffPageSeries]) -> list[tifffile.TiffPageSeries]:
    """The levels that every plane has."""
    return [level for level in levels if len(level.pages) == len(levels[0].pages)]


def _description(page: tifffile.TiffPage) -> str:
    return (page.description or "")[:400].strip()


def find_slide(path: Path, file: tifffile.TiffFile, number: int | None) -> tuple[TiffImage, tuple[str, ...]]:
    """Find the slide among the images of a TIFF.

    Args:
        path: The file, for messages.
        file: The open file.
        number: The number of the image that the user wants; None for the largest tiled one.

    Returns:
        The image, and notes on what else there is.

    Raises:
        SlideError: There is no such image, or it is a label, macro image or thumbnail.
    """
    images = list_images(file)
    scans = [image for image in images if not image.is_associated]
    if not scans:
        fault = "the file has no scan, only a label, macro image or thumbnail"
        raise SlideError(path, fault, "Export the slide itself, for example from QuPath (export as OME-TIFF)")
    if number is None:
        tiled = [image for image in scans if image.page.is_tiled]
        slide = max(tiled or scans, key=lambda image: image.size[0] * image.size[1])
    else:
        numbered = {image.number: image for image in images}
        if number not in numbered:
            raise no_such_series(path, number, len(images))
        slide = numbered[number]
        if slide.is_associated:
            fault = f"series {number} is a label, macro image or thumbnail"
            raise SlideError(path, fault, f"Give series {scans[0].number}")
    return slide, tuple(_notes_on_others(slide, images, chosen=number is not None))


def no_such_series(path: Path, number: int, count: int) -> SlideError:
    """The error for a series that a file does not have.

    Args:
        path: The file.
        number: The series that was wanted.
        count: How many there are.

    Returns:
        The error to raise.
    """
    known = "only series 0" if count == 1 else f"series 0 to {count - 1}"
    return SlideError(path, f"there is no series {number}; the file has {known}", "Correct the series")


def _notes_on_others(slide: TiffImage, images: Sequence[TiffImage], *, chosen: bool) -> list[str]:
    notes = []
    others = [image for image in images if image is not slide and not image.is_associated]
    equal = [image for image in others if image.size == slide.size]
    if equal:
        numbers = list_some([str(image.number) for image in equal])
        note = (
            f"series {slide.number} is read; the file has {pluralize(len(equal), 'more image')} of its size"
        )
        choice = "" if chosen else ", chosen by --series or the column series"
        notes.append(f"{note} (series {numbers}{choice})")
    if left := [image for image in images if image is not slide and image not in equal]:
        sizes = list_some([f"{image.size[0]} x {image.size[1]} px" for image in left])
        notes.append(f"other images of the file are left out: {sizes}")
    return notes


# ---------------------------------------------------------------- scale


def read_page_mpp(page: tifffile.TiffPage) -> tuple[float | None, float | None]:
    """um/px of a page, from its description or else from its resolution tags.

    Args:
        page: The page.

    Returns:
        um/px horizontally and vertically; None where none is stated that can be true.
    """
    description = page.description or ""
    if (mpp := read_aperio(description)[0]) is not None:
        return mpp, mpp
    per_unit_x, per_unit_y = page.resolution
    # ImageJ counts in a unit of its own, which is in the description
    unit = um_per(_imagej_unit(description) or TAG_UNIT.get(int(page.resolutionunit)))
    if unit is None or not per_unit_x or not per_unit_y:
        return None, None
    return plausible_mpp(unit / per_unit_x, unit / per_unit_y)


def read_aperio(description: str) -> tuple[float | None, float | None]:
    """um/px and magnification that Aperio writes into the description of a TIFF.

    Args:
        description: "Aperio Image Library ...|AppMag = 20|MPP = 0.4970".

    Returns:
        um/px and magnification; None where it is not stated.
    """
    if not description.startswith("Aperio"):
        return None, None
    values = dict(re.findall(r"\|\s*(\w+)\s*=\s*([^|]*)", description))
    mpp, power = (parse_number(values.get(name)) for name in ("MPP", "AppMag"))
    return mpp or None, power or None


def _imagej_unit(description: str) -> str | None:
    if not description.startswith("ImageJ="):
        return None
    match = re.search(r"^unit=(.*)$", description, re.MULTILINE)
    return match[1].strip() if match else None
