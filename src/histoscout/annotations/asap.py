"""Annotations of ASAP (Automated Slide Analysis Platform), read and written as its XML.

ASAP has groups of annotations, which are classes here, but no holes. A hole is an annotation in a group for
that: "Exclusion", or "_2" in the CAMELYON16 data. Splines are read as the polygon of their points, as ASAP
itself does when it makes a mask.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import shapely
from shapely.geometry import LinearRing, Polygon

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
from histoscout.annotations.read import Annotations
from histoscout.annotations.xml import NOT_IN_XML, XmlElement, quoted
from histoscout.geometry.regions import Outline, Region, Regions
from histoscout.io.files import atomic_write
from histoscout.io.notes import NoteCounter
from histoscout.io.units import parse_number

SHAPES: Mapping[str, Shape | None] = MappingProxyType(
    {
        "polygon": "polygon",
        "spline": "polygon",
        "rectangle": "rectangle",
        "dot": None,
        "pointset": None,
        "measurement": None,
        "none": None,
    }
)
"""Type of an annotation -> its shape; None if it has no area."""
NO_GROUP = "None"
EXCLUSION = "Exclusion"
"""The group of holes in files that histoscout writes."""
CAMELYON16 = frozenset({"_0", "_1", "_2"})
"""The groups of the CAMELYON16 data."""
DEFAULT_COLOR = "#F4FA58"
"""Color of an annotation in ASAP that has no color of its own."""

# attributes of histoscout, which ASAP ignores: the id of the region that a ring belongs to, whether it is a
# hole, and the score
REGION = "Region"
HOLE = "Hole"
SCORE = "Score"

_WRITTEN_PROPERTIES = frozenset({"name", "color", "classColor"})


# ---------------------------------------------------------------- reading


@dataclass(frozen=True, kw_only=True)
class _GroupedAnnotation:
    """One annotation of the file.

    Attributes:
        element: The XML element.
        outline: Its polygon, in level-0 px of the scan.
        group: The group that it is part of; "" for none.
        name: Its name in notes.
    """

    element: XmlElement
    outline: Outline
    group: str
    name: str


def asap_annotations(root: XmlElement, path: Path) -> Annotations:
    """Convert a file of ASAP to regions.

    The label is the annotation's group ("" for none), after the groups that this is part of ("Tumor:
    invasive"). Annotations in a group for holes are subtracted from the others.

    Args:
        root: The root element.
        path: The file, for errors.

    Returns:
        Regions in level-0 px of the scan, and notes on what was repaired or left out.

    Raises:
        AnnotationError: A coordinate is invalid; it names the line.
    """
    counter = NoteCounter()
    groups = {group.attributes.get("Name", ""): group for group in root.find("AnnotationGroups", "Group")}
    annotations = list(_annotations(root, path, counter))

    # annotations that histoscout wrote state which region they belong to
    own = [annotation for annotation in annotations if annotation.element.get(REGION)]
    foreign = [annotation for annotation in annotations if not annotation.element.get(REGION)]
    regions = list(_rejoin(own, groups))

    # in other files the group alone tells holes from annotations
    hole_groups = _hole_groups({annotation.group for annotation in foreign})
    holes = [(hole.outline, hole.name) for hole in foreign if hole.group in hole_groups]
    if holes and hole_groups <= CAMELYON16:
        counter.add("annotations of the group _2, which are holes in CAMELYON16, subtracted", str(len(holes)))
    solid = [annotation for annotation in foreign if annotation.group not in hole_groups]
    solid_regions = [_region(annotation, annotation.outline, groups) for annotation in solid]
    regions += subtract_holes(solid_regions, holes, counter)

    for region in regions:
        if not region.label:
            counter.add("annotations without a class", str(region.properties.get("name", region.id)))
    return Annotations(Regions.of(regions), file_notes(regions, counter))


def _annotations(root: XmlElement, path: Path, counter: NoteCounter) -> Iterator[_GroupedAnnotation]:
    """The annotations of a file that have area."""
    for number, element in enumerate(root.find("Annotations", "Annotation"), 1):
        name = element.get("Name") or f"annotation {number}"
        # an unknown type is most likely drawn as a polygon
        kind = element.get("Type").casefold()
        if kind not in SHAPES:
            counter.add("annotations of an unknown type, read as polygons", f"{name}: {kind[:20]}")
        shape = SHAPES.get(kind, "polygon")
        if shape is None:
            counter.add("points and lines left out, as they have no area", f"{name}: {element.get('Type')}")
            continue
        points = next(element.find("Coordinates"), element).points
        parsed = shape_outline(shape, points, f"{path}, line {element.line}")
        if (outline := checked_outline(parsed, name, counter)) is not None:
            group = element.attributes.get("PartOfGroup", "")
            group = "" if group == NO_GROUP else group
            yield _GroupedAnnotation(element=element, outline=outline, group=group, name=name)


def _hole_groups(groups: set[str]) -> set[str]:
    """The groups that hold holes."""
    if groups and groups <= CAMELYON16:
        return groups & {"_2"}
    return {group for group in groups if group.strip().casefold() in {"exclusion", "exclusions"}}


def _rejoin(annotations: list[_GroupedAnnotation], groups: Mapping[str, XmlElement]) -> Iterator[Region]:
    """Join the rings of regions that histoscout wrote; each hole follows the ring that it is in."""
    by_region: dict[str, list[_GroupedAnnotation]] = {}
    for annotation in annotations:
        by_region.setdefault(annotation.element.attributes[REGION], []).append(annotation)
    for identity, rings in by_region.items():
        # a part is its edge and its holes; holes follow their edge in the file
        parts: list[tuple[Any, list[Any]]] = []
        for ring in rings:
            for polygon in [ring.outline] if isinstance(ring.outline, Polygon) else ring.outline.geoms:
                if ring.element.get(HOLE) and parts:
                    parts[-1][1].append(polygon.exterior)
                else:
                    parts.append((polygon.exterior, []))
        polygons = [Polygon(edge, holes) for edge, holes in parts]
        outline, _ = join_polygons(polygons, is_multi=len(parts) > 1)
        if outline is not None:
            region = _region(rings[0], outline, groups)
            score = _parse_score(rings[0].element.get(SCORE))
            yield Region(outline, region.label, score=score, id=identity, properties=region.properties)


def _parse_score(text: str) -> float | None:
    score = parse_number(text)
    return score if score is not None and 0 <= score <= 1 else None


def _region(annotation: _GroupedAnnotation, outline: Outline, groups: Mapping[str, XmlElement]) -> Region:
    """The region with its class, name and colors."""
    label = _full_name(annotation.group, groups)
    properties: dict[str, Any] = {}
    if name := annotation.element.attributes.get("Name"):
        properties["name"] = name
    # colors are kept where they differ from those that are written without them
    group = groups.get(annotation.group)
    group_color = None if group is None else _parse_color(group.get("Color"))
    if label and group_color is not None and group_color != list(class_color(label)):
        properties["classColor"] = group_color
    own_color = _parse_color(annotation.element.get("Color"))
    if own_color is not None and own_color not in (group_color, _parse_color(DEFAULT_COLOR)):
        properties["color"] = own_color
    return Region(outline, label, id=stable_id(f"{annotation.name} {outline.wkt}"), properties=properties)


def _full_name(group: str, groups: Mapping[str, XmlElement]) -> str:
    """A group's name after its parent groups, as QuPath names derived classes."""
    # groups may be part of each other in a circle
    names = [group]
    while (element := groups.get(names[0])) is not None:
        parent = element.attributes.get("PartOfGroup", NO_GROUP)
        if parent in {NO_GROUP, ""} or parent in names:
            break
        names.insert(0, parent)
    return ": ".join(names)


def _parse_color(text: str) -> list[int] | None:
    """Red, green and blue of "#rrggbb"."""
    digits = text.removeprefix("#")
    if len(digits) != 6 or not set(digits.casefold()) <= set("0123456789abcdef"):
        return None
    return list(bytes.fromhex(digits))


# ---------------------------------------------------------------- writing


def write_asap(regions: Regions, path: Path) -> tuple[str, ...]:
    """Write regions as XML that ASAP opens.

    Each ring becomes a polygon, classes become groups. ASAP has no holes and no polygons of several parts:
    holes are polygons of the group "Exclusion", parts are polygons of their own. Attributes that ASAP ignores
    state which rings belong together, and the score, for `read_annotations`.

    Args:
        regions: The regions, in level-0 px of the scan; every digit is kept.
        path: The file to write.

    Returns:
        Notes on what ASAP has no place for.

    Raises:
        OutputError: A polygon has no area, or the file cannot be written.
    """
    annotations = [line for region in regions for line in _annotation_lines(region, path)]
    has_holes = any(shapely.get_num_interior_rings(shapely.get_parts(r.outline)).any() for r in regions)
    # the first region of a class decides its color
    colors = {r.label: color for r in reversed(regions) if (color := _rgb(r.properties.get("classColor")))}
    groups = [
        _group_lines(label, colors.get(label) or class_color(label)) for label in regions.labels if label
    ]
    if has_holes and EXCLUSION not in regions.labels:
        groups.append(_group_lines(EXCLUSION, (0, 0, 0)))
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<ASAP_Annotations>",
        "\t<Annotations>",
        *annotations,
        "\t</Annotations>",
        "\t<AnnotationGroups>",
        *groups,
        "\t</AnnotationGroups>",
        "</ASAP_Annotations>",
    ]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tuple(_notes(regions, has_holes))


def _annotation_lines(region: Region, path: Path) -> Iterator[str]:
    """The lines of all rings of a region."""
    outline = writable_outline(region, path)
    for part in [outline] if isinstance(outline, Polygon) else outline.geoms:
        yield from _ring_lines(region, part.exterior, is_hole=False)
        for hole in part.interiors:
            yield from _ring_lines(region, hole, is_hole=True)


def _ring_lines(region: Region, ring: LinearRing, *, is_hole: bool) -> Iterator[str]:
    """The lines of one ring: an annotation with its attributes and points."""
    color = _rgb(region.properties.get("color"))
    attributes = {
        "Name": str(region.properties.get("name", "")),
        "Type": "Polygon",
        "PartOfGroup": EXCLUSION if is_hole else region.label or NO_GROUP,
        "Color": DEFAULT_COLOR if color is None else _hex_color(color),
        REGION: region.id,
        **({SCORE: repr(float(region.score))} if region.score is not None else {}),
        **({HOLE: "1"} if is_hole else {}),
    }
    yield f"\t\t<Annotation {' '.join(f'{name}={quoted(value)}' for name, value in attributes.items())}>"
    yield "\t\t\t<Coordinates>"
    # ASAP closes rings itself; repr keeps every digit
    points = shapely.get_coordinates(ring)[:-1].tolist()
    yield from (f'\t\t\t\t<Coordinate Order="{i}" X="{x!r}" Y="{y!r}" />' for i, (x, y) in enumerate(points))
    yield "\t\t\t</Coordinates>"
    yield "\t\t</Annotation>"


def _group_lines(label: str, color: tuple[int, ...]) -> str:
    attributes = f'Name={quoted(label)} PartOfGroup="{NO_GROUP}" Color="{_hex_color(color)}"'
    return f"\t\t<Group {attributes}>\n\t\t\t<Attributes />\n\t\t</Group>"


def _rgb(value: Any) -> tuple[int, ...] | None:
    return tuple(value) if is_rgb(value) else None


def _hex_color(color: tuple[int, ...]) -> str:
    return "#" + bytes(color).hex()


def _notes(regions: Regions, has_holes: bool) -> Iterator[str]:
    """What the user has to know of the written file."""
    if has_holes:
        yield f'holes are polygons of the group "{EXCLUSION}": in ASAP give it the last place and the value 0'
    other = sorted({name for region in regions for name in region.properties} - _WRITTEN_PROPERTIES)
    if other:
        yield f"left out, as ASAP has no place for it: {', '.join(other[:10])}"
    if any(region.label.strip() == NO_GROUP for region in regions):
        yield f'a class is named "{NO_GROUP}", which means no class in ASAP'
    if any(NOT_IN_XML.search(f"{r.id}{r.label}{r.properties.get('name', '')}") for r in regions):
        yield "characters in names that XML cannot hold were replaced"
