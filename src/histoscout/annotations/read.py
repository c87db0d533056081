"""Reading what somebody drew on a slide, whatever the file is.

To add a format, write a function from a path to `Annotations` and add one line to FORMATS: that enrols it in
the contract tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Regions


@dataclass(frozen=True)
class Annotations:
    """The regions of a file, and what its reader had to mend or leave out, in words for the user."""

    regions: Regions
    notes: tuple[str, ...] = ()


# suffix of a file's name, and the function that reads such files
FORMATS: Mapping[str, str] = MappingProxyType(
    {
        ".geojson": "histoscout.annotations.geojson:read_geojson",
        ".geojson.gz": "histoscout.annotations.geojson:read_geojson",
        ".json": "histoscout.annotations.geojson:read_geojson",
        ".json.gz": "histoscout.annotations.geojson:read_geojson",
        ".png": "histoscout.annotations.label_image:read_label_image",
        ".tif": "histoscout.annotations.label_image:read_label_image",
        ".tiff": "histoscout.annotations.label_image:read_label_image",
        ".jpg": "histoscout.annotations.label_image:read_label_image",
        ".jpeg": "histoscout.annotations.label_image:read_label_image",
    }
)


def format_of(path: Path) -> str | None:
    """The longest suffix of FORMATS that the file's name ends with, case aside; None if there is none."""
    matching = [suffix for suffix in FORMATS if path.name.casefold().endswith(suffix)]
    return max(matching, key=len, default=None)


def read_annotations(path: Path) -> Annotations:
    """Read the outlines that belong to a slide from any file format we know.

    Outlines are in level-0 px of the slide. AnnotationError for an unknown format, and for a file that is
    missing or cannot be understood, naming the place in it. What was mended or left out is told in `notes`.
    """
    suffix = format_of(path)
    if suffix is None:
        raise AnnotationError(path, "is of a format we do not read", f"Give one of {', '.join(FORMATS)}")
    module, function = FORMATS[suffix].split(":")
    read = getattr(import_module(module), function)
    found: Annotations = read(path)
    return found
