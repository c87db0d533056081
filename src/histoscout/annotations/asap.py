"""Outlines as ASAP saves them (Automated Slide Analysis Platform, its XmlRepository).

ASAP has groups of annotations, which are classes here, but no holes. What is to be left out is drawn as an
annotation of its own in a group for that: "Exclusion", or "_2" in the CAMELYON16 data. Splines are taken as the
polygon of their points, as ASAP itself does when it makes a mask.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from shapely.geometry import Polygon

from histoscout.annotations.colours import colour_of
from histoscout.annotations.described import notes_of, outline_of
from histoscout.annotations.findings import Findings
from histoscout.annotations.holes import without_holes
from histoscout.annotations.json_geometry import joined
from histoscout.annotations.qupath import stable_id
from histoscout.annotations.read import Annotations
from histoscout.annotations.shapes import Shape, drawn_shape
from histoscout.annotations.xml_tags import Tag
from histoscout.geometry.regions import Outline, Region, Regions

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
DEFAULT_COLOUR = "#F4FA58"  # of an annotation in ASAP that nobody gave a colour
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
    of_group = None if group is None else _colour(group.get("Color"))
    if label and of_group is not None and of_group != list(colour_of(label)):
        properties["classColor"] = of_group
    own = _colour(drawn.tag.get("Color"))
    if own is not None and own not in (of_group, _colour(DEFAULT_COLOUR)):
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


def _colour(said: str) -> list[int] | None:
    """Red, green and blue of "#rrggbb"."""
    digits = said.removeprefix("#")
    if len(digits) != 6 or not set(digits.casefold()) <= set("0123456789abcdef"):
        return None
    return list(bytes.fromhex(digits))
