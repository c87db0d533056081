"""Outlines as ASAP saves them (Automated Slide Analysis Platform, its XmlRepository).

ASAP has groups of annotations, which are classes here, but no holes. What is to be left out is drawn as an
annotation of its own in a group for that: "Exclusion", or "_2" in the CAMELYON16 data. Splines are taken as the
polygon of their points, as ASAP itself does when it makes a mask.

Writing outlines as ASAP reads them.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

import shapely
from shapely.geometry import LinearRing, Polygon

from histoscout.annotations.polygons import Shape, drawn_shape, joined, without_holes
from histoscout.annotations.qupath_properties import color_of, notes_of, outline_of, stable_id
from histoscout.annotations.read import Annotations
from histoscout.annotations.xml import Tag
from histoscout.errors import OutputError
from histoscout.geometry.regions import Outline, Region, Regions, polygonal
from histoscout.io.files import replacing
from histoscout.io.notes import Findings

KINDS: Mapping[str, Shape | None] = MappingProxyType(
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
NO_GROUP = "None"
EXCLUSION = "Exclusion"  # what we call the group of holes when writing
CAMELYON16 = frozenset({"_0", "_1", "_2"})
DEFAULT_COLOR = "#F4FA58"  # of an annotation in ASAP that nobody gave a colour
# attributes of our own, which ASAP passes over: the region that a ring belongs to, whether it is a hole, the score
REGION, HOLE, SCORE = "Region", "Hole", "Score"


class _Drawn(NamedTuple):
    """One annotation of the file: its outline, its group, and what it is called."""

    tag: Tag
    outline: Outline
    group: str
    name: str


def asap_regions(root: Tag, path: Path) -> Annotations:
    """The regions of a file of ASAP.

    The label is the annotation's group ("" for none), with the groups that this is part of before it ("Tumour:
    invasive"); the annotation's name is kept. Outlines in a group for holes are taken out of those they lie in. The
    notes name what was mended or left out.
    """
    findings = Findings()
    groups = {tag.attributes.get("Name", ""): tag for tag in root.named("AnnotationGroups", "Group")}
    drawn = list(_drawn(root, path, findings))
    ours = [one for one in drawn if one.tag.get(REGION)]
    others = [one for one in drawn if not one.tag.get(REGION)]
    exclusions = _exclusions({one.group for one in others})
    holes = [(one.outline, one.name) for one in others if one.group in exclusions]
    if holes and exclusions <= CAMELYON16:
        findings.add("outlines of the group _2, which are holes in CAMELYON16, taken out", str(len(holes)))
    solid = [one for one in others if one.group not in exclusions]
    regions = list(_rejoined(ours, groups))
    regions += without_holes([_region(one, one.outline, groups) for one in solid], holes, findings)
    for region in regions:
        if not region.label:
            findings.add("unclassified outlines", str(region.properties.get("name", region.id)))
    return Annotations(Regions.of(regions), notes_of(regions, findings))


def _drawn(root: Tag, path: Path, findings: Findings) -> Iterator[_Drawn]:
    """The annotations of a file that have area."""
    for number, tag in enumerate(root.named("Annotations", "Annotation"), 1):
        name = tag.get("Name") or f"annotation {number}"
        kind = tag.get("Type").casefold()
        if kind not in KINDS:
            findings.add("annotations of an unknown kind, read as polygons", f"{name}: {kind[:20]}")
        shape = KINDS.get(kind, "polygon")
        if shape is None:
            findings.add("points and lines left out, as they have no area", f"{name}: {tag.get('Type')}")
            continue
        holder = next(tag.named("Coordinates"), tag)
        drawn = drawn_shape(shape, holder.points, f"{path}, line {tag.line}")
        if (outline := outline_of(drawn, name, findings)) is not None:
            group = tag.attributes.get("PartOfGroup", "")
            yield _Drawn(tag, outline, "" if group == NO_GROUP else group, name)


def _exclusions(groups: set[str]) -> set[str]:
    """The groups whose outlines are holes."""
    if groups and groups <= CAMELYON16:
        return groups & {"_2"}
    return {group for group in groups if group.strip().casefold() in {"exclusion", "exclusions"}}


def _rejoined(drawn: list[_Drawn], groups: Mapping[str, Tag]) -> Iterator[Region]:
    """Regions that we wrote: the rings that name the same region, each hole after the ring that it lies in."""
    rings: dict[str, list[_Drawn]] = {}
    for one in drawn:
        rings.setdefault(one.tag.attributes[REGION], []).append(one)
    for identity, of_region in rings.items():
        parts: list[tuple[Any, list[Any]]] = []
        for one in of_region:
            for polygon in [one.outline] if isinstance(one.outline, Polygon) else one.outline.geoms:
                if one.tag.get(HOLE) and parts:
                    parts[-1][1].append(polygon.exterior)
                else:
                    parts.append((polygon.exterior, []))
        outline, _ = joined([Polygon(ring, holes) for ring, holes in parts], several=len(parts) > 1)
        if outline is not None:
            region = _region(of_region[0], outline, groups)
            score = _score(of_region[0].tag.get(SCORE))
            yield Region(outline, region.label, score, identity, region.properties)


def _score(said: str) -> float | None:
    try:
        score = float(said)
    except ValueError:
        return None
    return score if 0 <= score <= 1 else None


def _region(drawn: _Drawn, outline: Outline, groups: Mapping[str, Tag]) -> Region:
    label = _full_name(drawn.group, groups)
    properties: dict[str, Any] = {}
    if name := drawn.tag.attributes.get("Name"):
        properties["name"] = name
    group = groups.get(drawn.group)
    of_group = None if group is None else _color(group.get("Color"))
    if label and of_group is not None and of_group != list(color_of(label)):
        properties["classColor"] = of_group
    own = _color(drawn.tag.get("Color"))
    if own is not None and own not in (of_group, _color(DEFAULT_COLOR)):
        properties["color"] = own
    return Region(outline, label, id=stable_id(f"{drawn.name} {outline.wkt}"), properties=properties)


def _full_name(group: str, groups: Mapping[str, Tag]) -> str:
    """A group's name after those of the groups that it is part of, as QuPath names derived classes."""
    names = [group]
    while (tag := groups.get(names[0])) is not None:
        parent = tag.attributes.get("PartOfGroup", NO_GROUP)
        if parent in {NO_GROUP, ""} or parent in names:
            break
        names.insert(0, parent)
    return ": ".join(names)


def _color(said: str) -> list[int] | None:
    """Red, green and blue of "#rrggbb"."""
    digits = said.removeprefix("#")
    if len(digits) != 6 or not set(digits.casefold()) <= set("0123456789abcdef"):
        return None
    return list(bytes.fromhex(digits))


_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_HELD = frozenset({"name", "color", "classColor"})


def write_asap(regions: Regions, path: Path) -> tuple[str, ...]:
    """Write regions as ASAP opens them, and say what ASAP has no word for.

    Each ring becomes a polygon, classes become groups. ASAP knows no holes and no outlines of several parts: holes
    are polygons of the group "Exclusion", parts are polygons of their own; attributes that ASAP passes over tell
    `read_annotations` what belongs together, and the score. Coordinates keep every digit. OutputError for an outline
    without area.
    """
    annotations = [line for region in regions for line in _annotations(region, path)]
    has_holes = any(shapely.get_num_interior_rings(shapely.get_parts(r.outline)).any() for r in regions)
    colors = {r.label: color for r in reversed(regions) if (color := _rgb(r.properties.get("classColor")))}
    groups = [_group(label, colors.get(label) or color_of(label)) for label in regions.labels if label]
    if has_holes and EXCLUSION not in regions.labels:
        groups.append(_group(EXCLUSION, (0, 0, 0)))
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
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tuple(_notes(regions, has_holes))


def _annotations(region: Region, path: Path) -> Iterator[str]:
    outline = region.outline if region.outline.is_valid else polygonal(region.outline)
    if outline is None or not 0 < outline.area < float("inf"):
        raise OutputError(
            path, f"region {region.id} has no area", "Leave out regions without area before writing"
        )
    for part in [outline] if isinstance(outline, Polygon) else outline.geoms:
        yield from _ring(region, part.exterior, is_hole=False)
        for hole in part.interiors:
            yield from _ring(region, hole, is_hole=True)


def _ring(region: Region, ring: LinearRing, *, is_hole: bool) -> Iterator[str]:
    color = _rgb(region.properties.get("color"))
    attributes = {
        "Name": str(region.properties.get("name", "")),
        "Type": "Polygon",
        "PartOfGroup": EXCLUSION if is_hole else region.label or NO_GROUP,
        "Color": DEFAULT_COLOR if color is None else _written(color),
        REGION: region.id,
        **({SCORE: repr(float(region.score))} if region.score is not None else {}),
        **({HOLE: "1"} if is_hole else {}),
    }
    said = " ".join(f"{name}={_quoted(value)}" for name, value in attributes.items())
    yield f"\t\t<Annotation {said}>"
    yield "\t\t\t<Coordinates>"
    points = shapely.get_coordinates(ring)[:-1].tolist()
    yield from (f'\t\t\t\t<Coordinate Order="{i}" X="{x!r}" Y="{y!r}" />' for i, (x, y) in enumerate(points))
    yield "\t\t\t</Coordinates>"
    yield "\t\t</Annotation>"


def _group(label: str, color: tuple[int, ...]) -> str:
    said = f'Name={_quoted(label)} PartOfGroup="{NO_GROUP}" Color="{_written(color)}"'
    return f"\t\t<Group {said}>\n\t\t\t<Attributes />\n\t\t</Group>"


def _rgb(value: object) -> tuple[int, ...] | None:
    """A colour, if this is one."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        return None
    return tuple(value) if all(type(part) is int and 0 <= part <= 255 for part in value) else None


def _written(color: tuple[int, ...]) -> str:
    return "#" + bytes(color).hex()


def _quoted(text: str) -> str:
    return quoteattr(_NOT_IN_XML.sub("\ufffd", text))


def _notes(regions: Regions, has_holes: bool) -> Iterator[str]:
    if has_holes:
        yield f'holes are outlines of the group "{EXCLUSION}": in ASAP give it the last place and the value 0'
    other = sorted({name for region in regions for name in region.properties} - _HELD)
    if other:
        yield f"left out, as ASAP has no place for it: {', '.join(other[:10])}"
    if any(region.label.strip() == NO_GROUP for region in regions):
        yield f'a class is named "{NO_GROUP}", which in ASAP means no class'
    if any(_NOT_IN_XML.search(f"{r.id}{r.label}{r.properties.get('name', '')}") for r in regions):
        yield "characters in names that XML cannot hold were replaced"
