"""Read annotations from any file format that histoscout knows.

To add a format, write a function from a path to `Annotations` and add one line to FORMATS: that enrolls it in
the contract tests.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from shapely.affinity import affine_transform

from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Regions
from histoscout.io.files import StrPath


@dataclass(frozen=True, kw_only=True)
class ImageMetadata:
    """The image that annotations were drawn on, as an annotation file describes it.

    Attributes:
        name: File name of the image; None if the file does not state it.
        width: Width in level-0 px; None if unknown.
        height: Height in level-0 px; None if unknown.
        mpp: um per level-0 px; None if unknown.
        series: The number of the image in its file; None if the annotation file does not state it.
    """

    name: str | None = None
    width: int | None = None
    height: int | None = None
    mpp: float | None = None
    series: int | None = None


@dataclass(frozen=True)
class Annotations:
    """The regions of an annotation file.

    Attributes:
        regions: The regions, in level-0 px.
        notes: What the reader repaired or left out, in sentences for the user.
        image: The image that the regions were drawn on, where the file describes it.
    """

    regions: Regions
    notes: tuple[str, ...] = ()
    image: ImageMetadata | None = None


FORMATS: Mapping[str, str] = MappingProxyType(
    {
        ".geojson": "histoscout.annotations.json_file:read_json_annotations",
        ".geojson.gz": "histoscout.annotations.json_file:read_json_annotations",
        ".json": "histoscout.annotations.json_file:read_json_annotations",
        ".json.gz": "histoscout.annotations.json_file:read_json_annotations",
        ".geojson.zip": "histoscout.annotations.json_file:read_json_annotations",
        # QuPath's compressed export
        ".zip": "histoscout.annotations.json_file:read_json_annotations",
        # HistomicsUI (Digital Slide Archive)
        ".anot": "histoscout.annotations.json_file:read_json_annotations",
        ".xml": "histoscout.annotations.xml:read_xml",
        # HALO
        ".annotations": "histoscout.annotations.xml:read_xml",
        # NDP.view (Hamamatsu)
        ".ndpa": "histoscout.annotations.xml:read_xml",
        # Slideflow
        ".csv": "histoscout.annotations.slideflow:read_slideflow_rois",
        ".qpdata": "histoscout.annotations.qpdata.reader:read_qpdata",
        ".png": "histoscout.annotations.masks:read_mask",
        ".tif": "histoscout.annotations.masks:read_mask",
        ".tiff": "histoscout.annotations.masks:read_mask",
        ".jpg": "histoscout.annotations.masks:read_mask",
        ".jpeg": "histoscout.annotations.masks:read_mask",
    }
)
"""Suffix of a file's name -> the function that reads such files ("module:function")."""

COMPLETE_READERS: Mapping[str, str] = MappingProxyType(
    {".qpdata": "histoscout.annotations.qpdata.reader:read_whole_qpdata"}
)
"""Formats that also hold detections and cells -> the functions that read these as well."""

IMAGE_READERS: Mapping[str, str] = MappingProxyType(
    {
        ".qpdata": "histoscout.annotations.qpdata.reader:read_qpdata_image",
        ".xml": "histoscout.annotations.xml:read_xml_image",
    }
)
"""Formats that describe their image -> the functions that read this description alone."""

SCAN_FRAME_FORMATS = frozenset({".xml", ".annotations"})
"""Formats that count coordinates from the corner of the whole scan.

The frames differ only for slides of which a part was scanned (openslide.bounds-x and -y; MIRAX). QuPath and
histoscout crop such slides to that part; ImageScope, HALO and ASAP show the whole scan.
"""

CENTER_FRAME_FORMATS = frozenset({".ndpa"})
"""Formats that count in nm from the center of the glass slide; `from_slide_center` converts them."""

_CLASS_PROPERTY = "histoscout.annotations.class_property"

Corner = tuple[float, float]
"""x and y in level-0 px."""


def read_annotations(path: StrPath, everything: bool = False, class_property: str = "") -> Annotations:
    """Read the annotations of a slide from any file format in FORMATS.

    Args:
        path: The annotation file; its name decides the format.
        everything: Whether to read detections and cells too, where a format keeps them apart (`.qpdata`).
        class_property: Property that holds the classes, such as "type_str" or "label.value", where the file does
            not have them where its format says.

    Returns:
        Regions in level-0 px of the slide, and notes on what was repaired or left out.

    Raises:
        AnnotationError: The format is unknown, or the file is missing or invalid; it names the place in the
            file.

    Example:
        >>> from pathlib import Path
        >>> import shapely
        >>> from histoscout import Region, Regions, read_annotations, write_annotations
        >>> regions = Regions.of([Region(shapely.box(100, 200, 500, 400), "UDH")])
        >>> write_annotations(regions, Path("slide.geojson"))
        ()
        >>> annotations = read_annotations(Path("slide.geojson"))
        >>> annotations.regions.labels
        ['UDH']
        >>> annotations.regions[0].outline.area
        80000.0
    """
    path = Path(path)
    suffix = format_of(path)
    if suffix is None:
        fault = "annotations in this format cannot be read"
        raise AnnotationError(path, fault, f"Give a file with one of these suffixes: {', '.join(FORMATS)}")
    readers = {**FORMATS, **COMPLETE_READERS} if everything else FORMATS
    annotations: Annotations = load_function(readers[suffix])(path)
    if class_property:
        chosen: Annotations = load_function(f"{_CLASS_PROPERTY}:with_class_property")(
            annotations, class_property
        )
        return chosen
    suggestions = load_function(f"{_CLASS_PROPERTY}:suggest_class_property")(annotations)
    return replace(annotations, notes=(*annotations.notes, *suggestions))


def read_image_metadata(path: Path) -> ImageMetadata | None:
    """Read which image an annotation file was drawn on, without its regions.

    Args:
        path: The annotation file.

    Returns:
        The image; None if the file does not describe it, or its format cannot.

    Raises:
        AnnotationError: The file is missing or invalid.
    """
    reader = IMAGE_READERS.get(format_of(path) or "")
    image: ImageMetadata | None = None if reader is None else load_function(reader)(path)
    return image


def is_annotation_file(path: Path) -> bool:
    """Whether a file is an annotation file by its name, and a table one by its columns, too.

    Args:
        path: The file.

    Returns:
        Whether a reader of FORMATS reads such files.
    """
    suffix = format_of(path)
    if suffix == ".csv":
        has_roi_columns: bool = load_function("histoscout.annotations.slideflow:is_roi_table")(path)
        return has_roi_columns
    return suffix is not None


def format_of(path: Path) -> str | None:
    """Find the longest suffix of FORMATS that a file's name ends with, ignoring case.

    Args:
        path: The file; it need not exist.

    Returns:
        The suffix in lower case, such as ".geojson.gz"; None if there is none.
    """
    matching = [suffix for suffix in FORMATS if path.name.casefold().endswith(suffix)]
    return max(matching, key=len, default=None)


def load_function(name: str) -> Callable[..., Any]:
    """Import the function that "module:function" names.

    Args:
        name: "module:function".

    Returns:
        The function.
    """
    module, function_name = name.split(":")
    function: Callable[..., Any] = getattr(import_module(module), function_name)
    return function


def to_slide_frame(annotations: Annotations, path: Path, corner: Corner) -> Annotations:
    """Move annotations from the frame of their file format to level-0 px of the slide.

    Args:
        annotations: What was read from the file.
        path: The file; its name decides the format.
        corner: `Slide.scan_corner`, in level-0 px.

    Returns:
        The annotations in the slide's frame, with a note if they were moved.
    """
    if corner == (0, 0) or format_of(path) not in SCAN_FRAME_FORMATS:
        return annotations
    moved = annotations.regions.translate(-corner[0], -corner[1])
    return replace(annotations, regions=moved, notes=(*annotations.notes, _moved_note(corner)))


def from_slide_center(
    annotations: Annotations, size: Corner, mpp: float, offset_um: Corner | None
) -> Annotations:
    """Convert annotations in nm from the center of the glass slide to level-0 px of the whole scan.

    Args:
        annotations: Annotations of a format of CENTER_FRAME_FORMATS.
        size: Width and height of the whole scan in level-0 px.
        mpp: um per level-0 px, as the slide's file states it.
        offset_um: Place of the scan's center from the center of the glass slide, in um; None if the slide
            does not state it.

    Returns:
        The annotations in level-0 px, with a note if the offset is unknown.
    """
    x, y = (0.0, 0.0) if offset_um is None else offset_um
    scale = 1 / (mpp * 1000)
    matrix = [scale, 0, 0, scale, size[0] / 2 - x / mpp, size[1] / 2 - y / mpp]
    moved = Regions.of(
        replace(region, outline=affine_transform(region.outline, matrix)) for region in annotations.regions
    )
    notes = annotations.notes
    if offset_um is None and len(moved):
        note = (
            "this format counts from the center of the glass slide, which this slide does not state: the center "
            "of the image is taken"
        )
        notes = (*notes, note)
    return replace(annotations, regions=moved, notes=notes)


def to_file_frame(regions: Regions, path: Path, corner: Corner) -> tuple[Regions, tuple[str, ...]]:
    """Move regions from level-0 px of the slide to the frame of a file format.

    Args:
        regions: The regions, in the slide's frame.
        path: The file to write; its name decides the format.
        corner: `Slide.scan_corner`, in level-0 px.

    Returns:
        The regions in the file's frame, and a note if they were moved.
    """
    if corner == (0, 0) or format_of(path) not in SCAN_FRAME_FORMATS:
        return regions, ()
    return regions.translate(*corner), (_moved_note(corner),)


def _moved_note(corner: Corner) -> str:
    return (
        f"this format counts from the corner of the whole scan, {corner[0]:g}, {corner[1]:g} px away "
        "(openslide.bounds); coordinates are corrected for it"
    )
