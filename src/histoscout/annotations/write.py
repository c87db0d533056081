"""Write annotations in the file format that a file's name asks for.

To add a format, write a function from regions, a path and (for images) a canvas to notes, and add one line to
WRITERS: that enrolls it in the contract tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from histoscout.annotations.read import load_function
from histoscout.errors import OutputError
from histoscout.geometry.regions import Regions
from histoscout.io.files import StrPath


@dataclass(frozen=True, kw_only=True)
class MaskCanvas:
    """The canvas of a mask: the size of the slide, and the resolution of the mask.

    Attributes:
        width: Width of the slide in level-0 px.
        height: Height of the slide in level-0 px.
        scale: Level-0 px per pixel of the mask.
        mpp: um per pixel of the mask, where known.
        values: Pixel value (1 to 255) of each label. Without values, labels get 1, 2, ... in the order of
            their names; "ignore" and unsure labels get 255.

    Example:
        >>> from histoscout import MaskCanvas
        >>> canvas = MaskCanvas(width=4000, height=3000, scale=4.0, values={"UDH": 1})
        >>> canvas.width / canvas.scale
        1000.0
    """

    width: float
    height: float
    scale: float = 1.0
    mpp: float | None = None
    values: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Writer:
    """The writer of a file format.

    Attributes:
        function: Where the function is ("module:function").
        needs_canvas: Whether the format is an image, so that the function also takes a `MaskCanvas`.
    """

    function: str
    needs_canvas: bool = False


_GEOJSON = Writer("histoscout.annotations.geojson:write_geojson")
_TIFF_MASK = Writer("histoscout.annotations.write_mask:write_mask_tiff", needs_canvas=True)

WRITERS: Mapping[str, Writer] = MappingProxyType(
    {
        ".geojson": _GEOJSON,
        ".geojson.gz": _GEOJSON,
        ".json": _GEOJSON,
        ".json.gz": _GEOJSON,
        ".xml": Writer("histoscout.annotations.asap:write_asap"),
        ".png": Writer("histoscout.annotations.write_mask:write_mask_png", needs_canvas=True),
        ".tif": _TIFF_MASK,
        ".tiff": _TIFF_MASK,
    }
)
"""Suffix of a file's name -> what writes such files."""


@dataclass(frozen=True)
class Program:
    """A program that annotations are written for, where the suffix alone does not say it.

    Attributes:
        suffix: Suffix of its files.
        writer: The writer of its format.
    """

    suffix: str
    writer: Writer


PROGRAMS: Mapping[str, Program] = MappingProxyType(
    {
        "qupath": Program(".geojson", _GEOJSON),
        "asap": Program(".xml", WRITERS[".xml"]),
        "imagescope": Program(".xml", Writer("histoscout.annotations.imagescope:write_imagescope")),
        "histomicsui": Program(".json", Writer("histoscout.annotations.dsa:write_dsa")),
    }
)
"""Name of a program -> its file format."""


def write_annotations(
    regions: Regions, path: StrPath, canvas: MaskCanvas | None = None, program: str = ""
) -> tuple[str, ...]:
    """Write annotations: GeoJSON for QuPath, XML for ASAP or ImageScope, JSON, or a mask.

    Args:
        regions: The regions, in level-0 px.
        path: The file to write; its name decides the format.
        canvas: Size and resolution of a mask; other formats ignore it.
        program: A name of PROGRAMS, such as "imagescope"; without it, the suffix decides (.xml is ASAP).

    Returns:
        Notes on what the format has no place for, in sentences for the user.

    Raises:
        OutputError: The format is unknown, a mask has no canvas, or the file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> import shapely
        >>> from histoscout import MaskCanvas, Region, Regions, write_annotations
        >>> regions = Regions.of([Region(shapely.box(0, 0, 40, 20), "UDH")])
        >>> write_annotations(regions, Path("slide.xml"))
        ()
        >>> write_annotations(regions, Path("mask.png"), MaskCanvas(width=100, height=50))
        ('values: 0 = background, 1 = UDH',)
    """
    path = Path(path)
    writer = writer_of(path, program)
    write = load_function(writer.function)
    if writer.needs_canvas and canvas is None:
        fault = "this format is a mask, which needs the slide's size"
        remedy = "Give the slide (--slide), or its size and um/px (--size, --slide-mpp)"
        raise OutputError(path, fault, remedy)
    notes: tuple[str, ...] | None = (
        write(regions, path, canvas) if writer.needs_canvas else write(regions, path)
    )
    return notes or ()


def writer_of(path: Path, program: str = "") -> Writer:
    """Find the writer of a program, or of the longest suffix that a file's name ends with, ignoring case.

    Args:
        path: The file to write.
        program: A name of PROGRAMS; "" to go by the suffix.

    Returns:
        The writer of its format.

    Raises:
        OutputError: histoscout does not write this format, or the suffix is not that of the program.
    """
    if program:
        if program not in PROGRAMS:
            fault = f"annotations cannot be written for {program[:40]!r}"
            raise OutputError(path, fault, f"Give one of these programs: {', '.join(PROGRAMS)}")
        if not path.name.casefold().endswith(PROGRAMS[program].suffix):
            fault = f"files of {program} end in {PROGRAMS[program].suffix}"
            raise OutputError(path, fault, "Give a name with this suffix")
        return PROGRAMS[program].writer
    matching = [suffix for suffix in WRITERS if path.name.casefold().endswith(suffix)]
    if not matching:
        fault = "annotations in this format cannot be written"
        raise OutputError(path, fault, f"Give a name with one of these suffixes: {', '.join(WRITERS)}")
    return WRITERS[max(matching, key=len)]
