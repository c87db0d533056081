"""Writing outlines as ASAP reads them."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import quoteattr

import shapely
from shapely.geometry import LinearRing, Polygon

from histoscout.annotations.asap import DEFAULT_COLOUR, EXCLUSION, HOLE, NO_GROUP, REGION, SCORE
from histoscout.annotations.colours import colour_of
from histoscout.errors import OutputError
from histoscout.files import replacing
from histoscout.geometry.regions import Region, Regions, polygonal

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
    colours = {r.label: colour for r in reversed(regions) if (colour := _rgb(r.properties.get("classColor")))}
    groups = [_group(label, colours.get(label) or colour_of(label)) for label in regions.labels if label]
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
    colour = _rgb(region.properties.get("color"))
    attributes = {
        "Name": str(region.properties.get("name", "")),
        "Type": "Polygon",
        "PartOfGroup": EXCLUSION if is_hole else region.label or NO_GROUP,
        "Color": DEFAULT_COLOUR if colour is None else _written(colour),
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


def _group(label: str, colour: tuple[int, ...]) -> str:
    said = f'Name={_quoted(label)} PartOfGroup="{NO_GROUP}" Color="{_written(colour)}"'
    return f"\t\t<Group {said}>\n\t\t\t<Attributes />\n\t\t</Group>"


def _rgb(value: object) -> tuple[int, ...] | None:
    """A colour, if this is one."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        return None
    return tuple(value) if all(type(part) is int and 0 <= part <= 255 for part in value) else None


def _written(colour: tuple[int, ...]) -> str:
    return "#" + bytes(colour).hex()


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
