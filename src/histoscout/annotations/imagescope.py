"""Outlines as Aperio ImageScope saves them (and HALO, whose files are much alike).

There is no public description; this follows files of ImageScope 11 and 12 and what other readers of them do. A
layer (`Annotation`) holds regions; a region is free-form, a rectangle or an ellipse, and with NegativeROA it is
what analysis leaves out.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from histoscout.annotations.polygons import Shape, drawn_shape, without_holes
from histoscout.annotations.qupath_properties import color_of, notes_of, outline_of, stable_id
from histoscout.annotations.read import Annotations, ImageFacts
from histoscout.annotations.xml import Tag
from histoscout.geometry.regions import Outline, Region, Regions
from histoscout.io.notes import Findings

# the number (ImageScope) or word (HALO) of a kind of region; those without a shape have no area
KINDS: Mapping[str, Shape | None] = MappingProxyType(
    {
        "": "polygon",
        "0": "polygon",
        "1": "rectangle",
        "2": "ellipse",
        "3": None,  # arrow
        "4": None,  # ruler
        "5": None,  # pin
        "polygon": "polygon",
        "rectangle": "rectangle",
        "ellipse": "ellipse",
        "ruler": None,
        "pin": None,
    }
)
LARGEST_MPP = 100.0
OPEN_GAP = 0.1  # of an outline's length: a gap longer than this between its ends is told
_NAMING = ("description", "name", "class", "label", "title")  # attributes whose value is a layer's class


class _Drawn(NamedTuple):
    """One region of the file: its outline, whether it is a hole, and what it is called."""

    tag: Tag
    outline: Outline
    is_hole: bool
    name: str


def imagescope_regions(root: Tag, path: Path) -> Annotations:
    """The regions of a file of ImageScope, layer by layer.

    The label is the layer's name, else its attribute, else the region's own text; LineColor is the class's colour;
    a region's text is its name. Regions marked NegativeROA are taken out of the regions of their layer, or of any
    layer if their own has none there. The notes name what was mended or left out.
    """
    findings = Findings()
    regions: list[Region] = []
    strays: list[tuple[Outline, str]] = []
    for number, layer in enumerate(root.named("Annotation"), 1):
        drawn = list(_drawn(layer, f"layer {number}", path, findings))
        holes = [(one.outline, one.name) for one in drawn if one.is_hole]
        solid = [_region(one, layer, findings) for one in drawn if not one.is_hole]
        if drawn and layer.get("Visible").casefold() in {"0", "false"}:
            findings.add("layers hidden in the viewer, read all the same", f"layer {number}")
        if solid:
            regions += without_holes(solid, holes, findings)
        else:
            strays += holes
    regions = without_holes(regions, strays, findings)
    return Annotations(Regions.of(regions), notes_of(regions, findings), image_of(root))


def image_of(root: Tag) -> ImageFacts | None:
    """The um/px that a file of ImageScope states; None if it does not."""
    try:
        mpp = float(root.get("MicronsPerPixel").replace(",", "."))
    except ValueError:
        return None
    return ImageFacts(mpp=mpp) if 0 < mpp <= LARGEST_MPP else None


def _drawn(layer: Tag, layer_name: str, path: Path, findings: Findings) -> Iterator[_Drawn]:
    """The regions of a layer that have area."""
    for number, tag in enumerate(layer.named("Regions", "Region"), 1):
        name = f"{layer_name}, region {tag.get('Id') or number}"
        kind = tag.get("Type").casefold()
        if kind not in KINDS:
            findings.add("regions of an unknown kind, read as polygons", f"{name}: {kind[:20]}")
        shape = KINDS.get(kind, "polygon")
        if shape is None:
            findings.add("points, arrows and rulers left out, as they have no area", name)
            continue
        holder = next(tag.named("Vertices"), tag)
        points = holder.points
        if shape == "polygon" and len(points) > 2 and _is_open(points):
            findings.add("outlines left open, closed by a straight line", name)
        drawn = drawn_shape(shape, points, f"{path}, line {tag.line}")
        if (outline := outline_of(drawn, name, findings)) is not None:
            yield _Drawn(tag, outline, tag.get("NegativeROA").casefold() in {"1", "true"}, name)


def _is_open(points: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    steps = np.hypot(*np.diff(points, axis=0).T)
    gap = float(np.hypot(*(points[0] - points[-1])))
    return gap > OPEN_GAP * float(steps.sum()) and gap > 5 * float(np.median(steps)) and len(points) > 8


def _region(drawn: _Drawn, layer: Tag, findings: Findings) -> Region:
    text = drawn.tag.get("Text")
    label = _class_of(layer) or text
    if not label:
        findings.add("unclassified outlines", drawn.name)
    properties: dict[str, Any] = {"name": text} if text else {}
    color = _color(layer.get("LineColor"))
    if color is not None and label and color != list(color_of(label)):
        properties["classColor"] = color
    if said := {tag.get("Name"): tag.get("Value") for tag in drawn.tag.named("Attributes", "Attribute")}:
        properties["metadata"] = {key: value for key, value in said.items() if key and value}
    properties = {key: value for key, value in properties.items() if value}
    return Region(
        drawn.outline, label, id=stable_id(f"{drawn.name} {drawn.outline.wkt}"), properties=properties
    )


def _class_of(layer: Tag) -> str:
    """A layer's name, or what its attributes say it is: some have the class as a value, some as a name."""
    if name := layer.get("Name"):
        return name
    for attribute in layer.named("Attributes", "Attribute"):
        name, value = attribute.get("Name"), attribute.get("Value")
        if value and name.casefold() in _NAMING:
            return value
        if name and not value and name.casefold() not in _NAMING:
            return name
    return ""


def _color(said: str) -> list[int] | None:
    """Red, green and blue of a Windows colour, whose lowest byte is red."""
    if not said.isdecimal() or not said.isascii() or len(said) > 10:
        return None
    number = int(said)
    return [number & 255, number >> 8 & 255, number >> 16 & 255] if number < 2**24 else None
