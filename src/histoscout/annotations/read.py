"""Reading what somebody drew on a slide, whatever the file is.

To add a format, write a function from a path to `Annotations` and add one line to FORMATS: that enrols it in
the contract tests.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from histoscout.annotations.image_facts import ImageFacts
from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Regions


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
        ".xml": "histoscout.annotations.xml_format:read_xml",
        ".annotations": "histoscout.annotations.xml_format:read_xml",  # HALO
        ".qpdata": "histoscout.annotations.qpdata:read_qpdata",
        ".png": "histoscout.annotations.label_image:read_label_image",
        ".tif": "histoscout.annotations.label_image:read_label_image",
        ".tiff": "histoscout.annotations.label_image:read_label_image",
        ".jpg": "histoscout.annotations.label_image:read_label_image",
        ".jpeg": "histoscout.annotations.label_image:read_label_image",
    }
)

# Formats that also hold what was not drawn by hand (detections, cells), and the functions that read all of it.
WHOLE: Mapping[str, str] = MappingProxyType({".qpdata": "histoscout.annotations.qpdata:read_whole_qpdata"})

# Formats that say what they were drawn on, and the functions that read that alone.
IMAGES: Mapping[str, str] = MappingProxyType(
    {
        ".qpdata": "histoscout.annotations.qpdata:read_qpdata_image",
        ".xml": "histoscout.annotations.xml_format:read_xml_image",
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
