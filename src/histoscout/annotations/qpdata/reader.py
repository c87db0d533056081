"""Read QuPath's own data files, `.qpdata`, of versions 0.1 to 0.7."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from shapely.affinity import affine_transform

from histoscout.annotations import geojson
from histoscout.annotations.files import read_content
from histoscout.annotations.qpdata.image import DisplayedImage, read_server, uri_file_name
from histoscout.annotations.qpdata.java import JavaObject, JavaStream
from histoscout.annotations.qpdata.objects import ObjectTree, PathObject
from histoscout.annotations.qpdata.rois import ReadContext, read_roi
from histoscout.annotations.qupath_properties import checked_outline, feature_to_region, file_notes
from histoscout.annotations.read import Annotations, ImageMetadata
from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Outline, Region, Regions
from histoscout.io.notes import NoteCounter

NEWEST = 4
"""Newest version of the data that is read. It is not QuPath's version: 2 until QuPath 0.2, 3 from 0.3 to
0.7."""
_HIERARCHY = "qupath.lib.objects.hierarchy.PathObjectHierarchy"
_REMEDY = "Open it in QuPath and use File > Export objects as GeoJSON"
_FREE_VALUES = 1_000_000
"""Values that a small file may stand for beyond its own size."""


def read_qpdata(path: Path) -> Annotations:
    """Read the annotations of a QuPath data file, as QuPath's GeoJSON export has them.

    A region's label is the full name of its class; its properties are those of QuPath's GeoJSON. Objects
    nested in others follow them. Detections, cells and ROIs without area are left out.

    Args:
        path: The data file.

    Returns:
        Regions in level-0 px of the image file, also where QuPath showed it cropped or rotated; notes on what
        was repaired or left out; the image.

    Raises:
        AnnotationError: The file is damaged or not of QuPath; it names the byte.
    """
    return _read(path, everything=False)


def read_whole_qpdata(path: Path) -> Annotations:
    """Read a QuPath data file with its detections, cells, tiles and TMA cores.

    Args:
        path: The data file.

    Returns:
        As `read_qpdata`, with all objects that have area.

    Raises:
        AnnotationError: The file is damaged or not of QuPath; it names the byte.
    """
    return _read(path, everything=True)


def read_qpdata_image(path: Path) -> ImageMetadata | None:
    """Read the image of a QuPath data file, without its objects.

    Args:
        path: The data file.

    Returns:
        The image; None if the file does not describe it.

    Raises:
        AnnotationError: The file is damaged or not of QuPath; it names the byte.
    """
    contents = _Contents(path=path, stream=JavaStream(read_content(path), path))
    for _ in contents.items():
        if contents.displayed is not None:
            return contents.displayed.image
    return None


# ---------------------------------------------------------------- from objects to regions


def _read(path: Path, everything: bool) -> Annotations:
    """The annotations of a file, or all of its objects."""
    # what follows the objects may be damaged, since it is not needed
    data = read_content(path)
    contents = _Contents(path=path, stream=JavaStream(data, path))
    try:
        for _ in contents.items():
            pass
    except AnnotationError as error:
        if contents.hierarchy is None:
            raise
        note = f"the file is damaged after its annotations, which were all read ({error.where})"
        contents.notes.append(note)
    if contents.hierarchy is None:
        fault = "the file is cut short: it ends before its objects"
        raise AnnotationError(path, fault, "Look for its .backup or .bkp")

    # objects become regions
    counter = NoteCounter()
    context = ReadContext(path, _FREE_VALUES + 8 * len(data))
    tree = ObjectTree(contents.hierarchy, context)
    left_out: Counter[str] = Counter()
    regions: list[Region] = []
    for path_object in tree:
        if not everything and path_object.kind != geojson.ANNOTATION:
            left_out[path_object.kind] += 1
            continue
        region = _region(path_object, contents.displayed, context=context, counter=counter)
        if region is not None:
            regions.append(region)
    for kind in tree.unknown:
        counter.add("objects of an unknown type, left out", kind)

    # notes on the file come before those on objects
    notes = list(contents.notes)
    if left_out:
        notes.append(geojson.left_out_note(left_out))
    displayed = contents.displayed
    if displayed is not None and displayed.changes and regions:
        notes.append(
            f"QuPath showed the image {displayed.changes}; annotations are moved to their place in it"
        )
    image = displayed.image if displayed else None
    return Annotations(Regions.of(regions), (*notes, *file_notes(regions, counter)), image)


def _region(
    path_object: PathObject, displayed: DisplayedImage | None, *, context: ReadContext, counter: NoteCounter
) -> Region | None:
    """The region of an object; None, and a note, if it has no polygon."""
    name = path_object.name
    if path_object.roi is None:
        counter.add("objects without a polygon, left out", name)
        return None
    parsed = read_roi(path_object.roi, context)
    if parsed is None:
        counter.add("ROIs of an unknown type, left out", f"{name}: {path_object.roi.class_name}")
        return None
    outline = checked_outline(parsed, name, counter)
    if outline is None:
        return None
    # coordinates are those of the image that QuPath showed
    return feature_to_region(
        path_object.feature,
        _to_file_px(outline, displayed),
        name=name,
        usual_type=geojson.ANNOTATION,
        counter=counter,
        place=f"{context.where(path_object.offset)}, {name}",
    )


def _to_file_px(outline: Outline, displayed: DisplayedImage | None) -> Outline:
    """The outline in px of the image file."""
    if displayed is None or np.array_equal(displayed.matrix, np.eye(3)):
        return outline
    (a, b, x), (d, e, y) = displayed.matrix[:2].tolist()
    moved: Outline = affine_transform(outline, [a, b, d, e, x, y])
    return moved


# ---------------------------------------------------------------- the items of a file


@dataclass(kw_only=True)
class _Contents:
    """The parts of a data file that matter here, collected as they are read.

    Attributes:
        path: The file, for errors.
        stream: Its Java objects.
        displayed: The image, once it was read.
        hierarchy: QuPath's PathObjectHierarchy, once it was read.
        notes: What the user has to know of the file.
    """

    path: Path
    stream: JavaStream
    displayed: DisplayedImage | None = None
    hierarchy: JavaObject | None = None
    notes: list[str] = field(default_factory=list)

    def items(self) -> Iterator[Any]:
        """Read item by item, until QuPath's end mark."""
        items = iter(self.stream)
        _check_version(next(items, None), self.path)
        for item in items:
            if isinstance(item, str) and item == "EOF":
                return
            if isinstance(item, str) and self.displayed is None:
                self.displayed = _read_image(item, self.path)
            if isinstance(item, JavaObject) and item.class_name == _HIERARCHY:
                self.hierarchy = self.hierarchy or item
            yield item
        self.notes.append("the file ends without QuPath's end mark; all its annotations were read")


def _check_version(first: object, path: Path) -> None:
    """Refuse files of other programs, and versions of the data that are unknown."""
    text = first[2:].decode("latin-1") if isinstance(first, bytes) else ""
    version = re.fullmatch(r"Data file version (\d{1,9})", text)
    if version is None:
        fault = "the file holds Java objects, but is not a data file of QuPath"
        raise AnnotationError(path, fault, _REMEDY)
    if not 1 <= int(version[1]) <= NEWEST:
        fault = f"the data version {version[1]} is unknown (QuPath 0.1 to 0.7 write 2 and 3)"
        raise AnnotationError(path, fault, _REMEDY)


def _read_image(text: str, path: Path) -> DisplayedImage | None:
    """The image: JSON since QuPath 0.3, before that a path or URI."""
    if text.startswith("Image path: "):
        image_path = text.removeprefix("Image path: ")
        if re.search(r"\((rotated|Rotate=\d+)\)|(Cropped|AffineTransform)ImageServer", image_path):
            fault = "the image was rotated or cropped in QuPath, and the file does not state how"
            raise AnnotationError(path, fault, "Open the image itself in QuPath 0.3 or later and save again")
        return DisplayedImage(ImageMetadata(name=uri_file_name(image_path)), np.eye(3))
    if not text.startswith("{"):
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        fault = "the description of the image is not valid JSON"
        raise AnnotationError(path, fault, _REMEDY) from error
    server = content.get("server") if isinstance(content, dict) else None
    return read_server(server, path) if isinstance(server, dict) else None
