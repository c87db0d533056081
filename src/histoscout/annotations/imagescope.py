"""Annotations of Aperio ImageScope, and of HALO, whose files are much alike.

There is no public description of the format; this follows files of ImageScope 11 and 12 and other programs. A
layer (`Annotation`) holds regions. A region is free-form, a rectangle or an ellipse; NegativeROA marks a
hole.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.annotations.polygons import (
    Shape,
    join_polygons,
    shape_outline,
    subtract_holes,
    writable_outline,
)
from histoscout.annotations.qupath_properties import (
    checked_outline,
    class_color,
    file_notes,
    is_rgb,
    stable_id,
)
from histoscout.annotations.read import Annotations, ImageMetadata
from histoscout.annotations.xml import XmlElement, quoted
from histoscout.geometry.regions import Outline, Region, Regions
from histoscout.io.files import atomic_write
from histoscout.io.notes import NoteCounter
from histoscout.io.units import parse_number
from histoscout.slides.scale import GIVEN_MPP

SHAPES: Mapping[str, Shape | None] = MappingProxyType(
    {
        "": "polygon",
        "0": "polygon",
        "1": "rectangle",
        "2": "ellipse",
        # arrow, ruler and pin
        "3": None,
        "4": None,
        "5": None,
        "polygon": "polygon",
        "rectangle": "rectangle",
        "ellipse": "ellipse",
        "ruler": None,
        "pin": None,
    }
)
"""Number (ImageScope) or word (HALO) of a type of region -> its shape; None if it has no area."""
OPEN_GAP = 0.1
"""Share of a polygon's length: a gap between its ends that is longer than this is noted."""
OWN_ID = "histoscout id"
"""Attribute of a region that holds its id, in files that histoscout writes."""
OWN_SCORE = "histoscout score"
"""Attribute of a region that holds its score."""
_CLASS_ATTRIBUTES = ("description", "name", "class", "label", "title")
"""Attributes of a layer that hold its class as their value."""


@dataclass(frozen=True, kw_only=True)
class _LayerRegion:
    """One region of a layer.

    Attributes:
        element: The XML element.
        outline: Its polygon, in level-0 px of the scan.
        is_hole: Whether it is marked NegativeROA.
        name: Its name in notes.
    """

    element: XmlElement
    outline: Outline
    is_hole: bool
    name: str


def imagescope_annotations(root: XmlElement, path: Path) -> Annotations:
    """Convert a file of ImageScope or HALO to regions, layer by layer.

    The label is the layer's name, else its attribute, else the region's own text; LineColor is the color of
    the class; a region's text is its name. Regions marked NegativeROA are subtracted from the regions of
    their layer, or of every layer if their own has none.

    Args:
        root: The root element.
        path: The file, for errors.

    Returns:
        Regions in level-0 px of the scan, notes on what was repaired or left out, and the image's um/px.

    Raises:
        AnnotationError: A coordinate is invalid; it names the line.
    """
    counter = NoteCounter()
    regions: list[Region] = []
    holes_without_layer: list[tuple[Outline, str]] = []
    for number, layer in enumerate(root.find("Annotation"), 1):
        layer_name = f"layer {number}"
        in_layer = list(_layer_regions(layer, layer_name, path=path, counter=counter))
        # holes are subtracted within their layer, or at the end from all layers
        holes = [(region.outline, region.name) for region in in_layer if region.is_hole]
        solid = [_region(region, layer, counter) for region in in_layer if not region.is_hole]
        if in_layer and layer.get("Visible").casefold() in {"0", "false"}:
            counter.add("layers hidden in the viewer, which are read too", layer_name)
        if solid:
            regions += subtract_holes(solid, holes, counter)
        else:
            holes_without_layer += holes
    regions = _join_parts(subtract_holes(regions, holes_without_layer, counter))
    return Annotations(Regions.of(regions), file_notes(regions, counter), read_image(root))


def read_image(root: XmlElement) -> ImageMetadata | None:
    """Read the um/px that a file of ImageScope states.

    Args:
        root: The root element.

    Returns:
        The image with its um/px alone; None if the file does not state it.
    """
    low, high = GIVEN_MPP
    mpp = parse_number(root.get("MicronsPerPixel"))
    return ImageMetadata(mpp=mpp) if mpp is not None and low <= mpp <= high else None


def _layer_regions(
    layer: XmlElement, layer_name: str, *, path: Path, counter: NoteCounter
) -> Iterator[_LayerRegion]:
    """The regions of a layer that have area."""
    for number, element in enumerate(layer.find("Regions", "Region"), 1):
        name = f"{layer_name}, region {element.get('Id') or number}"
        kind = element.get("Type").casefold()
        if kind not in SHAPES:
            counter.add("regions of an unknown type, read as polygons", f"{name}: {kind[:20]}")
        # what has no area is left out
        shape = SHAPES.get(kind, "polygon")
        if shape is None:
            counter.add("points, arrows and rulers left out, as they have no area", name)
            continue
        # a stroke that is not closed is noted, as the missing part may matter
        points = next(element.find("Vertices"), element).points
        if shape == "polygon" and len(points) > 2 and _is_open(points):
            counter.add("open polygons, closed by a straight line", name)
        parsed = shape_outline(shape, points, f"{path}, line {element.line}")
        if (outline := checked_outline(parsed, name, counter)) is not None:
            is_hole = element.get("NegativeROA").casefold() in {"1", "true"}
            yield _LayerRegion(element=element, outline=outline, is_hole=is_hole, name=name)


def _join_parts(regions: list[Region]) -> list[Region]:
    """Regions with the parts of one id, which histoscout wrote one by one, joined again."""
    by_id: dict[str, list[Region]] = {}
    for region in regions:
        by_id.setdefault(region.id, []).append(region)
    joined = []
    for parts in by_id.values():
        polygons = [one for part in parts for one in shapely.get_parts(part.outline).tolist()]
        outline = parts[0].outline if len(parts) == 1 else join_polygons(polygons, is_multi=True)[0]
        joined.append(replace(parts[0], outline=outline or parts[0].outline))
    return joined


def _is_open(points: NDArray[np.float64]) -> bool:
    """Whether the ends of a stroke are far apart, in relation to its length and to its steps."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    gap = float(np.hypot(*(points[0] - points[-1])))
    return gap > OPEN_GAP * float(steps.sum()) and gap > 5 * float(np.median(steps)) and len(points) > 8


def _region(region: _LayerRegion, layer: XmlElement, counter: NoteCounter) -> Region:
    """The region with its class and properties."""
    text = region.element.get("Text")
    label = _layer_class(layer) or text
    if not label:
        counter.add("annotations without a class", region.name)
    # a color is kept where it differs from that of the class
    properties: dict[str, Any] = {"name": text} if text else {}
    color = _parse_color(layer.get("LineColor"))
    if color is not None and label and color != list(class_color(label)):
        properties["classColor"] = color
    attributes = region.element.find("Attributes", "Attribute")
    values = {attribute.get("Name"): attribute.get("Value") for attribute in attributes}
    own_id, score = values.pop(OWN_ID, ""), _parse_score(values.pop(OWN_SCORE, ""))
    if metadata := {key: value for key, value in values.items() if key and value}:
        properties["metadata"] = metadata
    identity = own_id or stable_id(f"{region.name} {region.outline.wkt}")
    return Region(region.outline, label, score, id=identity, properties=properties)


def _parse_score(text: str) -> float | None:
    try:
        score = float(text)
    except ValueError:
        return None
    return score if 0 <= score <= 1 else None


def _layer_class(layer: XmlElement) -> str:
    """A layer's name, or the class that is the value or the name of one of its attributes."""
    if name := layer.get("Name"):
        return name
    for attribute in layer.find("Attributes", "Attribute"):
        name = attribute.get("Name")
        value = attribute.get("Value")
        if value and name.casefold() in _CLASS_ATTRIBUTES:
            return value
        if name and not value and name.casefold() not in _CLASS_ATTRIBUTES:
            return name
    return ""


def _parse_color(text: str) -> list[int] | None:
    """Red, green and blue of a Windows color, which has red in its lowest byte."""
    if not text.isdecimal() or not text.isascii() or len(text) > 10:
        return None
    number = int(text)
    return [number & 255, number >> 8 & 255, number >> 16 & 255] if number < 2**24 else None


# ---------------------------------------------------------------- writing


def write_imagescope(regions: Regions, path: Path) -> tuple[str, ...]:
    """Write regions as XML that Aperio ImageScope opens.

    Classes become layers. A hole is subtracted from all regions of its layer, so that a region with holes has a layer
    of its own.

    Args:
        regions: The regions, in level-0 px of the scan; every digit is kept.
        path: The file to write.

    Returns:
        Notes on what ImageScope has no place for.

    Raises:
        OutputError: A polygon has no area, or the file cannot be written.
    """
    layers: list[tuple[Region, list[str]]] = []
    shared: dict[str, list[str]] = {}
    number = 0
    for region in regions:
        for polygon in shapely.get_parts(writable_outline(region, path)).tolist():
            lines = []
            for index, ring in enumerate((polygon.exterior, *polygon.interiors)):
                number += 1
                lines += _region_lines(region, ring, number, is_hole=index > 0)
            if polygon.interiors or region.label not in shared:
                layers.append((region, lines))
                if not polygon.interiors:
                    shared[region.label] = lines
            else:
                shared[region.label] += lines
    text = ['<?xml version="1.0" encoding="UTF-8"?>', "<Annotations>"]
    for count, (region, lines) in enumerate(layers, 1):
        color = region.properties.get("classColor")
        red, green, blue = color if color is not None and is_rgb(color) else class_color(region.label)
        packed = red + 256 * green + 65536 * blue
        text += [
            f'<Annotation Id="{count}" Name={quoted(region.label)} ReadOnly="0" Type="4" LineColor="{packed}" Visible="1">',
            "<Regions>",
            *lines,
            "</Regions></Annotation>",
        ]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join([*text, "</Annotations>"]) + "\n", encoding="utf-8")
    other = sorted({key for region in regions for key in region.properties} - {"name", "classColor"})
    return (f"left out, as ImageScope has no place for it: {', '.join(other[:10])}",) if other else ()


def _region_lines(region: Region, ring: shapely.LinearRing, number: int, *, is_hole: bool) -> list[str]:
    """The lines of one ring: a free-form region with its points."""
    # the text of a region in a layer without a name would be read as its class
    text = "" if is_hole or not region.label else str(region.properties.get("name", ""))
    attributes = [] if is_hole else [(OWN_ID, region.id)]
    if region.score is not None and not is_hole:
        attributes.append((OWN_SCORE, repr(float(region.score))))
    points = shapely.get_coordinates(ring)[:-1].tolist()
    return [
        f'<Region Id="{number}" Type="0" NegativeROA="{int(is_hole)}" Text={quoted(text)}>',
        "<Attributes>",
        *(f"<Attribute Name={quoted(name)} Value={quoted(value)} />" for name, value in attributes),
        "</Attributes><Vertices>",
        *(f'<Vertex X="{x!r}" Y="{y!r}" Z="0" />' for x, y in points),
        "</Vertices></Region>",
    ]
