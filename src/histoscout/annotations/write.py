"""Writing outlines in the format that a file's name asks for.

To add a format, write a function from regions, a path and perhaps a canvas to notes, and add one line to WRITERS:
that enrols it in the contract tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from histoscout.errors import OutputError
from histoscout.geometry.regions import Regions


@dataclass(frozen=True)
class Canvas:
    """What a label image is drawn on: a slide's width and height in level-0 px, and how fine it is drawn.

    `scale` is level-0 px per pixel of the image, `mpp` its um per pixel where that is known. `values` (1 to 255) by
    label; without them labels get 1, 2, ... in the order of their names, and "ignore" and unsure ones 255.
    """

    width: float
    height: float
    scale: float = 1.0
    mpp: float | None = None
    values: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Writer:
    """Where a format's writer is ("module:function"), and whether it draws on a canvas."""

    made_by: str
    on_canvas: bool = False


_GEOJSON = Writer("histoscout.annotations.geojson:write_geojson")
_LABEL_TIFF = Writer("histoscout.annotations.write_mask:write_label_tiff", on_canvas=True)

# suffix of a file's name, and what writes such files
WRITERS: Mapping[str, Writer] = MappingProxyType(
    {
        ".geojson": _GEOJSON,
        ".geojson.gz": _GEOJSON,
        ".json": _GEOJSON,
        ".json.gz": _GEOJSON,
        ".xml": Writer("histoscout.annotations.asap:write_asap"),
        ".png": Writer("histoscout.annotations.write_mask:write_label_png", on_canvas=True),
        ".tif": _LABEL_TIFF,
        ".tiff": _LABEL_TIFF,
    }
)


def writer_of(path: Path) -> Writer:
    """The writer of the longest suffix that the file's name ends with; OutputError if there is none."""
    matching = [suffix for suffix in WRITERS if path.name.casefold().endswith(suffix)]
    if not matching:
        raise OutputError(
            path, "is of a format we do not write", f"Give a name with one of {', '.join(WRITERS)}"
        )
    return WRITERS[max(matching, key=len)]


def write_annotations(regions: Regions, path: Path, canvas: Canvas | None = None) -> tuple[str, ...]:
    """Write outlines as QuPath (.geojson) or ASAP (.xml) reads them, or as an image of classes (.png, .tif).

    Outlines are in level-0 px. Gives what the format has no place for, in words for the user. OutputError for a name
    of another format, for an image without a canvas, and for what cannot be written.
    """
    writer = writer_of(path)
    module, function = writer.made_by.split(":")
    write = getattr(import_module(module), function)
    if writer.on_canvas and canvas is None:
        fault = "is an image of classes, which needs the slide's size"
        raise OutputError(
            path, fault, "Give the slide (--slide), or its size and um/px (--size, --slide-mpp)"
        )
    notes: tuple[str, ...] | None = write(regions, path, canvas) if writer.on_canvas else write(regions, path)
    return notes or ()
