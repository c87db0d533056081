"""Annotations of the Digital Slide Archive and HistomicsUI (JSON; `.anot` when HistomicsUI saves it), read and written.

A document has a name and elements: closed polylines, rectangles, ellipses and circles are read, everything else has no
area of its own. A file holds one document or a list of them, as the server returns them.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import rotate
from shapely.geometry import Polygon

from histoscout.annotations.polygons import (
    ELLIPSE_POINTS,
    ParsedGeometry,
    check_points,
    ellipse_points,
    join_polygons,
    polygon_of_rings,
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
from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Region, Regions
from histoscout.io.files import atomic_write
from histoscout.io.notes import NoteCounter

DEFAULT_GROUP = "default"
"""The group of elements that nobody gave a class to."""
OWN = "histoscout"
"""Key under an element's `user` for what the format has no place for: id, score, number of the part."""
_CORRECT = "Correct this element, or export the file again"


def find_documents(content: object) -> list[dict[str, Any]] | None:
    """Find the annotation documents in JSON content.

    Args:
        content: A document, a list of documents, each with or without what the server adds around it.

    Returns:
        The documents; None if this is not JSON of the Digital Slide Archive.
    """
    items = content if isinstance(content, list) else [content]
    # the server's record holds the document under "annotation"
    inner = [
        item["annotation"] if isinstance(item, dict) and isinstance(item.get("annotation"), dict) else item
        for item in items
    ]
    documents = [one for one in inner if isinstance(one, dict) and isinstance(one.get("elements"), list)]
    return documents if documents and len(documents) == len(items) else None


# ---------------------------------------------------------------- reading


def dsa_annotations(documents: Sequence[dict[str, Any]], path: Path) -> Annotations:
    """Convert documents of the Digital Slide Archive to regions.

    The label is the group of an element ("default" is none), else its label. The name of the document is kept as the
    property `document`.

    Args:
        documents: The documents.
        path: The file, for errors.

    Returns:
        Regions in level-0 px, and notes on what was repaired or left out.

    Raises:
        AnnotationError: An element is invalid; it is named by its number.
    """
    counter = NoteCounter()
    regions: list[Region] = []
    parts: dict[str, int] = {}
    for count, document in enumerate(documents, 1):
        for number, element in enumerate(document["elements"], 1):
            name = f"element {number}" if len(documents) == 1 else f"document {count}, element {number}"
            region = _region(element, document.get("name"), f"{path}, {name}", name=name, counter=counter)
            if region is None:
                continue
            # the parts of a region that histoscout wrote are elements of one id
            if _own(element).get("parts") and region.id in parts:
                regions[parts[region.id]] = _joined(regions[parts[region.id]], region)
                continue
            parts[region.id] = len(regions)
            regions.append(region)
    for region in regions:
        if not region.label:
            counter.add("annotations without a class", region.id)
    return Annotations(Regions.of(regions), file_notes(regions, counter))


def _region(
    element: object, document: object, where: str, *, name: str, counter: NoteCounter
) -> Region | None:
    """The region of an element; None, and a note, if it has no area."""
    if not isinstance(element, dict):
        raise AnnotationError(where, "this is not a JSON object", "Export the file again")
    parsed = _parse(element, where)
    if parsed is None:
        counter.add("elements without an outline left out", f"{name}: {str(element.get('type'))[:20]}")
        return None
    outline = checked_outline(parsed, name, counter)
    if outline is None:
        return None
    group, text = element.get("group"), element.get("label")
    value = text.get("value") if isinstance(text, dict) else text
    known = group if isinstance(group, str) and group != DEFAULT_GROUP else ""
    written = value if isinstance(value, str) else ""
    properties: dict[str, Any] = {"name": written} if known and written else {}
    if isinstance(document, str) and document:
        properties["document"] = document
    label = known or written
    color = _color(element.get("lineColor"))
    if color is not None and label and color != list(class_color(label)):
        properties["classColor"] = color
    own = _own(element)
    score, identity = own.get("score"), own.get("id", element.get("id"))
    is_score = isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 1
    return Region(
        outline,
        label,
        float(score) if is_score and score is not None else None,
        id=identity if isinstance(identity, str) and identity else stable_id(f"{name} {outline.wkt}"),
        properties=properties,
    )


def _own(element: dict[str, Any]) -> dict[str, Any]:
    """What histoscout wrote into an element for itself."""
    user = element.get("user")
    own = user.get(OWN) if isinstance(user, dict) else None
    return own if isinstance(own, dict) else {}


def _joined(first: Region, part: Region) -> Region:
    """A region of several parts with one more of them."""
    shapes = [*shapely.get_parts(first.outline), *shapely.get_parts(part.outline)]
    outline, _ = join_polygons([shape for shape in shapes if isinstance(shape, Polygon)], is_multi=True)
    return Region(
        outline or first.outline, first.label, first.score, id=first.id, properties=first.properties
    )


def _parse(element: dict[str, Any], where: str) -> ParsedGeometry | None:
    """The polygon of an element; None if its type has none."""
    kind = element.get("type")
    if kind == "polyline":
        if not element.get("closed"):
            return None
        holes = element.get("holes") or []
        if not isinstance(holes, list):
            raise AnnotationError(where, "the holes are not a list", _CORRECT)
        rings = [_ring(points, where) for points in (element.get("points"), *holes)]
        outline, repaired = join_polygons([polygon_of_rings(rings)], is_multi=False)
        return ParsedGeometry(outline, repaired, ())
    if kind not in {"rectangle", "ellipse", "circle"}:
        return None
    (center,) = _ring([element.get("center")], where)
    if kind == "circle":
        width = height = 2 * _number(element.get("radius"), where)
    else:
        width, height = (_number(element.get(key), where) for key in ("width", "height"))
    half = np.abs([width, height]) / 2
    check_points(half[None], where)
    shape: Polygon
    if kind == "rectangle":
        shape = shapely.box(*(center - half), *(center + half))
    else:
        shape = Polygon(ellipse_points(center, half, ELLIPSE_POINTS))
    angle = _number(element.get("rotation") or 0, where)
    if angle:
        # radians from x towards y, which points down
        shape = rotate(
            shape, math.remainder(angle, 2 * math.pi), origin=(center[0], center[1]), use_radians=True
        )
    outline, repaired = join_polygons([shape], is_multi=False)
    return ParsedGeometry(outline, repaired, ())


def _ring(points: object, where: str) -> NDArray[np.float64]:
    """(N, 2) float64 from points of x, y and z."""
    if not isinstance(points, list):
        raise AnnotationError(where, "an outline is not a list of points", _CORRECT)
    pairs = []
    for point in points:
        if not isinstance(point, list) or len(point) < 2:
            raise AnnotationError(where, f"a point is not [x, y, z] but {ascii(point)[:40]}", _CORRECT)
        pairs.append([_number(value, where) for value in point[:2]])
    ring = np.array(pairs, np.float64).reshape(-1, 2)
    check_points(ring, where)
    return ring


def _number(value: object, where: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e12:
        return float(value)
    raise AnnotationError(where, f"a coordinate is {ascii(value)[:40]}, which is not a number", _CORRECT)


def _color(text: object) -> list[int] | None:
    """Red, green and blue of "rgb(1, 2, 3)" or "#010203"."""
    if not isinstance(text, str):
        return None
    if match := re.match(r"rgba?\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})", text):
        color = [int(part) for part in match.groups()]
        return color if is_rgb(color) else None
    match = re.fullmatch(r"#([0-9a-fA-F]{6})", text)
    return list(bytes.fromhex(match[1])) if match else None


# ---------------------------------------------------------------- writing


def write_dsa(regions: Regions, path: Path) -> tuple[str, ...]:
    """Write regions as a document that HistomicsUI and the Digital Slide Archive import.

    Each part of a region becomes a closed polyline with its holes; the class is its group.

    Args:
        regions: The regions, in level-0 px; every digit is kept.
        path: The file to write.

    Returns:
        Notes on what the format has no place for.

    Raises:
        OutputError: A polygon has no area, or the file cannot be written.
    """
    elements = [json.dumps(element) for region in regions for element in _elements(region, path)]
    name = json.dumps(path.name.partition(".")[0] or "annotations")
    text = f'{{"name": {name}, "description": "", "elements": [\n' + ",\n".join(elements) + "\n]}\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="ascii")
    other = sorted(
        {key for region in regions for key in region.properties} - {"name", "classColor", "document"}
    )
    return (
        (f"left out, as the Digital Slide Archive has no place for it: {', '.join(other[:10])}",)
        if other
        else ()
    )


def _elements(region: Region, path: Path) -> Iterator[dict[str, Any]]:
    """The elements of all parts of a region."""
    outline = writable_outline(region, path)
    polygons = shapely.get_parts(outline).tolist()
    color = region.properties.get("classColor")
    chosen = class_color(region.label) if color is None or not is_rgb(color) else color
    red, green, blue = chosen
    own: dict[str, Any] = {"id": region.id}
    if region.score is not None:
        own["score"] = float(region.score)
    if len(polygons) > 1:
        own["parts"] = len(polygons)
    for polygon in polygons:
        label = region.properties.get("name") or region.label
        yield {
            "type": "polyline",
            "closed": True,
            "points": _points(polygon.exterior),
            **({"holes": [_points(hole) for hole in polygon.interiors]} if polygon.interiors else {}),
            "group": region.label or DEFAULT_GROUP,
            **({"label": {"value": str(label)}} if label else {}),
            "lineColor": f"rgb({red}, {green}, {blue})",
            "fillColor": f"rgba({red}, {green}, {blue}, 0.2)",
            "lineWidth": 2,
            "user": {OWN: own},
        }


def _points(ring: shapely.LinearRing) -> list[list[float]]:
    """Points with z; the archive closes rings itself."""
    return [[x, y, 0] for x, y in shapely.get_coordinates(ring)[:-1].tolist()]
