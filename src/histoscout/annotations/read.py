"""Reading what somebody drew on a slide, whatever the file is.

To add a format, write a function from a path to `Annotations` and add one line to FORMATS: that enrols it in
the contract tests.

Where a file's coordinates begin: at the corner that QuPath shows, or at that of the scanner's whole image.

They differ only for slides of which a part was scanned and that say so (openslide.bounds-x and -y; MIRAX). QuPath
crops such slides to that part, and so do we; ImageScope, HALO and ASAP show the whole.

What a file of annotations says of the image that its outlines were drawn on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Regions


@dataclass(frozen=True)
class ImageFacts:
    """The image's file name, its size in level-0 px and its um/px; None for what the file does not say."""

    name: str | None = None
    width: int | None = None
    height: int | None = None
    mpp: float | None = None


@dataclass(frozen=True)
class Annotations:
    """The regions of a file, and what its reader had to mend or leave out, in words for the user.

    `image` is what they were drawn on, where the file says so.
    """

    regions: Regions
    notes: tuple[str, ...] = ()
    image: ImageFacts | None = None


# suffix of a file's name, and the function that reads such files
FORMATS: Mapping[str, str] = MappingProxyType(
    {
        ".geojson": "histoscout.annotations.geojson:read_geojson",
        ".geojson.gz": "histoscout.annotations.geojson:read_geojson",
        ".json": "histoscout.annotations.geojson:read_geojson",
        ".json.gz": "histoscout.annotations.geojson:read_geojson",
        ".geojson.zip": "histoscout.annotations.geojson:read_geojson",
        ".zip": "histoscout.annotations.geojson:read_geojson",  # QuPath's export, compressed
        ".xml": "histoscout.annotations.xml_dialect:read_xml",
        ".annotations": "histoscout.annotations.xml_dialect:read_xml",  # HALO
        ".qpdata": "histoscout.annotations.qpdata.reader:read_qpdata",
        ".png": "histoscout.annotations.masks:read_label_image",
        ".tif": "histoscout.annotations.masks:read_label_image",
        ".tiff": "histoscout.annotations.masks:read_label_image",
        ".jpg": "histoscout.annotations.masks:read_label_image",
        ".jpeg": "histoscout.annotations.masks:read_label_image",
    }
)

# Formats that also hold what was not drawn by hand (detections, cells), and the functions that read all of it.
WHOLE: Mapping[str, str] = MappingProxyType(
    {".qpdata": "histoscout.annotations.qpdata.reader:read_whole_qpdata"}
)

# Formats that say what they were drawn on, and the functions that read that alone.
IMAGES: Mapping[str, str] = MappingProxyType(
    {
        ".qpdata": "histoscout.annotations.qpdata.reader:read_qpdata_image",
        ".xml": "histoscout.annotations.xml_dialect:read_xml_image",
    }
)


def format_of(path: Path) -> str | None:
    """The longest suffix of FORMATS that the file's name ends with, case aside; None if there is none."""
    matching = [suffix for suffix in FORMATS if path.name.casefold().endswith(suffix)]
    return max(matching, key=len, default=None)


def read_annotations(path: Path, everything: bool = False) -> Annotations:
    """Read the outlines that belong to a slide from any file format we know.

    Outlines are in level-0 px of the slide. With `everything`, detections and cells are read too where a format
    keeps them apart. AnnotationError for an unknown format, and for a file that is missing or cannot be
    understood, naming the place in it. What was mended or left out is told in `notes`.
    """
    suffix = format_of(path)
    if suffix is None:
        raise AnnotationError(path, "is of a format we do not read", f"Give one of {', '.join(FORMATS)}")
    readers = {**FORMATS, **WHOLE} if everything else FORMATS
    found: Annotations = _function(readers[suffix])(path)
    return found


def read_image_facts(path: Path) -> ImageFacts | None:
    """What a file of annotations says of the slide it was drawn on; None if it does not say, or its format cannot.

    AnnotationError for a file that is missing or cannot be understood.
    """
    reader = IMAGES.get(format_of(path) or "")
    facts: ImageFacts | None = None if reader is None else _function(reader)(path)
    return facts


def _function(name: str) -> Callable[[Path], Any]:
    module, function = name.split(":")
    found: Callable[[Path], Any] = getattr(import_module(module), function)
    return found


COUNTS_FROM_SCAN = frozenset({".xml", ".annotations"})
Corner = tuple[float, float]


def on_slide(found: Annotations, path: Path, corner: Corner) -> Annotations:
    """What was read from a file, in level-0 px of the slide as we show it; `corner` is `Slide.scan_corner`."""
    if corner == (0, 0) or format_of(path) not in COUNTS_FROM_SCAN:
        return found
    moved = found.regions.moved(-corner[0], -corner[1])
    return replace(found, regions=moved, notes=(*found.notes, _said(corner)))


def in_file(regions: Regions, path: Path, corner: Corner) -> tuple[Regions, tuple[str, ...]]:
    """Regions of a slide as a file of this name has to hold them, and what was done for it."""
    if corner == (0, 0) or format_of(path) not in COUNTS_FROM_SCAN:
        return regions, ()
    return regions.moved(*corner), (_said(corner),)


def _said(corner: Corner) -> str:
    return (
        f"this format counts from the corner of the whole scan, {corner[0]:g}, {corner[1]:g} px away "
        "(openslide.bounds): taken into account"
    )
