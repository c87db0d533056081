"""QuPath's own data files, `.qpdata`, of versions 0.1 to 0.7, read without QuPath and without Java."""

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
from histoscout.annotations.qpdata.image import Shown, name_of, read_server
from histoscout.annotations.qpdata.java import JavaObject, JavaStream
from histoscout.annotations.qpdata.objects import Objects, PathObject
from histoscout.annotations.qpdata.rois import Reading, read_roi
from histoscout.annotations.qupath_properties import described, notes_of, outline_of
from histoscout.annotations.read import Annotations, ImageFacts
from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Outline, Region, Regions
from histoscout.io.notes import Findings

NEWEST = 4  # version of the data, not of QuPath: 2 until QuPath 0.2, 3 from 0.3 to 0.7
_HIERARCHY = "qupath.lib.objects.hierarchy.PathObjectHierarchy"
_AGAIN = "Open it in QuPath and use File > Export objects as GeoJSON"
_SPARE_NUMBERS = 1_000_000  # what a small file may stand for beyond its own size


def read_qpdata(path: Path) -> Annotations:
    """Read the annotations of a QuPath data file: outlines with classes, names, measurements, as GeoJSON would.

    Outlines are in level-0 px of the image file, also where QuPath showed it cropped or turned. A region's label
    is the full name of its class; its properties are in the words of QuPath's GeoJSON. Objects nested in others
    follow them. Detections and cells are counted in the notes, not read; so are ROIs without area, by name.
    `image` says what the outlines were drawn on. AnnotationError names the byte where a file is damaged.
    """
    return _read(path, everything=False)


def read_whole_qpdata(path: Path) -> Annotations:
    """Read a QuPath data file with its detections, cells, tiles and TMA cores; else as `read_qpdata` does."""
    return _read(path, everything=True)


def read_qpdata_image(path: Path) -> ImageFacts | None:
    """What a QuPath data file says of its image; None if it says nothing. Reads no outlines."""
    contents = _Contents(path, JavaStream(read_content(path), path))
    for _ in contents.items():
        if contents.shown is not None:
            return contents.shown.image
    return None


@dataclass
class _Contents:
    """The parts of a data file that matter here, gathered as they come."""

    path: Path
    stream: JavaStream
    shown: Shown | None = None
    hierarchy: JavaObject | None = None
    notes: list[str] = field(default_factory=list)

    def items(self) -> Iterator[Any]:
        """Read on, item by item, until QuPath's end mark."""
        items = iter(self.stream)
        _check_version(next(items, None), self.path)
        for item in items:
            if isinstance(item, str) and item == "EOF":
                return
            if isinstance(item, str) and self.shown is None:
                self.shown = _shown(item, self.path)
            if isinstance(item, JavaObject) and item.class_name == _HIERARCHY:
                self.hierarchy = self.hierarchy or item
            yield item
        self.notes.append("the file ends without QuPath's end mark; all its outlines were read")


def _check_version(first: object, path: Path) -> None:
    said = first[2:].decode("latin-1") if isinstance(first, bytes) else ""
    version = re.fullmatch(r"Data file version (\d{1,9})", said)
    if version is None:
        raise AnnotationError(path, "is a Java file, but not one of QuPath's data files", _AGAIN)
    if not 1 <= int(version[1]) <= NEWEST:
        fault = f"is of the unknown version {version[1]} (QuPath 0.1 to 0.7 write 2 and 3)"
        raise AnnotationError(path, fault, _AGAIN)


def _shown(text: str, path: Path) -> Shown | None:
    """The image: JSON since QuPath 0.3, before that a path or URI."""
    if text.startswith("Image path: "):
        image_path = text.removeprefix("Image path: ")
        if re.search(r"\((rotated|Rotate=\d+)\)|(Cropped|AffineTransform)ImageServer", image_path):
            fault = "was drawn on an image that QuPath showed turned or cropped, and does not say how"
            raise AnnotationError(path, fault, "Open the image itself in QuPath 0.3 or later and save again")
        return Shown(ImageFacts(name_of(image_path)), np.eye(3))
    if not text.startswith("{"):
        return None
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(path, "says of its image what is not valid JSON", _AGAIN) from error
    server = said.get("server") if isinstance(said, dict) else None
    return read_server(server, path) if isinstance(server, dict) else None


# ---------------------------------------------------------------- from objects to regions


def _read(path: Path, everything: bool) -> Annotations:
    data = read_content(path)
    contents = _Contents(path, JavaStream(data, path))
    try:
        for _ in contents.items():
            pass
    except AnnotationError as error:
        if contents.hierarchy is None:
            raise
        contents.notes.append(f"the file is damaged after its outlines, which were read ({error.where})")
    if contents.hierarchy is None:
        raise AnnotationError(
            path, "ends before its objects: it is cut short", "Look for its .backup or .bkp"
        )
    findings = Findings()
    objects = Objects(contents.hierarchy, Reading(path, _SPARE_NUMBERS + 8 * len(data)))
    left_out: Counter[str] = Counter()
    regions: list[Region] = []
    for found in objects:
        if not everything and found.kind != geojson.ANNOTATION:
            left_out[found.kind] += 1
        elif (region := _region(found, objects.reading, contents.shown, findings)) is not None:
            regions.append(region)
    for kind in objects.unknown:
        findings.add("objects of an unknown kind, left out", kind)
    notes = (*_told(left_out, contents, bool(regions)), *notes_of(regions, findings))
    return Annotations(Regions.of(regions), notes, contents.shown.image if contents.shown else None)


def _told(left_out: Counter[str], contents: _Contents, any_region: bool) -> list[str]:
    notes = list(contents.notes)
    if left_out:
        notes.append(geojson.left_out(left_out))
    if contents.shown is not None and contents.shown.said and any_region:
        notes.append(
            f"QuPath showed the image {contents.shown.said}; outlines are moved to where they lie in it"
        )
    return notes


def _region(found: PathObject, reading: Reading, shown: Shown | None, findings: Findings) -> Region | None:
    if found.roi is None:
        findings.add("objects without an outline, left out", found.name)
        return None
    drawn = read_roi(found.roi, reading)
    if drawn is None:
        findings.add(
            "outlines in a form that is not known, left out", f"{found.name}: {found.roi.class_name}"
        )
        return None
    outline = outline_of(drawn, found.name, findings)
    if outline is None:
        return None
    place = f"{reading.where(found.offset)}, {found.name}"
    return described(found.said, _moved(outline, shown), found.name, "annotation", findings, place)


def _moved(outline: Outline, shown: Shown | None) -> Outline:
    """The outline in px of the image's file."""
    if shown is None or np.array_equal(shown.matrix, np.eye(3)):
        return outline
    (a, b, x), (d, e, y) = shown.matrix[:2].tolist()
    moved: Outline = affine_transform(outline, [a, b, d, e, x, y])
    return moved
