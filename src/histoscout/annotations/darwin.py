"""Annotations of V7 Darwin, whose JSON has a version, an item and its annotations.

Polygons are lists of paths that enclose what an odd number of them do. Boxes and ellipses are read as polygons; tags,
lines, keypoints and raster layers are left out.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.affinity import rotate
from shapely.geometry import MultiPolygon, Polygon

from histoscout.annotations.polygons import (
    ELLIPSE_POINTS,
    ParsedGeometry,
    check_points,
    ellipse_points,
    join_polygons,
    shape_outline,
)
from histoscout.annotations.qupath_properties import checked_outline, file_notes, stable_id
from histoscout.annotations.read import Annotations, ImageMetadata
from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Region, Regions, fill_even_odd, has_too_many_crossings
from histoscout.io.notes import NoteCounter

_OTHER_KINDS = (
    "tag",
    "line",
    "keypoint",
    "skeleton",
    "directional_vector",
    "raster_layer",
    "mask",
    "string",
    "table",
)
_CORRECT = "Correct this annotation, or export the file again"


def is_darwin(content: object) -> bool:
    """Whether JSON content is of Darwin: annotations beside the item, or the image, that they belong to.

    Args:
        content: The content of a JSON file.
    """
    return (
        isinstance(content, dict)
        and isinstance(content.get("annotations"), list)
        and (isinstance(content.get("item"), dict) or isinstance(content.get("image"), dict))
    )


def darwin_annotations(content: dict[str, Any], path: Path) -> Annotations:
    """Convert the content of a Darwin file (versions 1 and 2) to regions.

    The label is the name of an annotation; its id is kept.

    Args:
        content: The content of the JSON file.
        path: The file, for errors.

    Returns:
        Regions in level-0 px, notes on what was repaired or left out, and the image.

    Raises:
        AnnotationError: An annotation is invalid; it is named by its number.
    """
    counter = NoteCounter()
    regions: list[Region] = []
    for number, item in enumerate(content["annotations"], 1):
        name = f"annotation {number}"
        where = f"{path}, {name}"
        if not isinstance(item, dict):
            raise AnnotationError(where, "this is not a JSON object", "Export the file again")
        parsed = _parse(item, where)
        if parsed is None:
            kinds = ", ".join(key for key in item if key in _OTHER_KINDS) or "unknown"
            counter.add("annotations that are no polygons left out", f"{name}: {kinds}")
            continue
        outline = checked_outline(parsed, name, counter)
        if outline is None:
            continue
        label = str(item.get("name") or "")
        if not label:
            counter.add("annotations without a class", name)
        identity = item.get("id")
        own = identity if isinstance(identity, str) and identity else stable_id(f"{name} {outline.wkt}")
        regions.append(Region(outline, label, id=own))
    return Annotations(Regions.of(regions), file_notes(regions, counter), _image(content))


def _parse(item: dict[str, Any], where: str) -> ParsedGeometry | None:
    """The polygon of an annotation; None if it has another kind."""
    for key in ("polygon", "complex_polygon"):
        if isinstance(item.get(key), dict):
            return _parse_polygon(item[key], where)
    if isinstance(ellipse := item.get("ellipse"), dict):
        center, radius = (_point(ellipse.get(key), where) for key in ("center", "radius"))
        polygon = Polygon(ellipse_points(center, np.abs(radius), ELLIPSE_POINTS))
        angle = _number(ellipse.get("angle", 0), where)
        turned = rotate(polygon, angle, origin=(center[0], center[1]), use_radians=True)
        outline, repaired = join_polygons([turned], is_multi=False)
        return ParsedGeometry(outline, repaired, ())
    box = item.get("bounding_box")
    # raster layers and masks have a bounding box, too, which is not what was drawn
    if isinstance(box, dict) and not any(key in item for key in _OTHER_KINDS):
        x, y, width, height = (_number(box.get(key), where) for key in ("x", "y", "w", "h"))
        return shape_outline("rectangle", np.array([[x, y], [x + width, y + height]]), where)
    return None


def _parse_polygon(polygon: dict[str, Any], where: str) -> ParsedGeometry:
    """A polygon of one path (version 1) or of several, of which holes are some."""
    paths = polygon.get("paths", polygon.get("path"))
    if not isinstance(paths, list):
        raise AnnotationError(where, "the polygon has no list of paths", _CORRECT)
    if paths and isinstance(paths[0], dict):
        paths = [paths]
    additional = polygon.get("additional_paths")
    paths = [*paths, *(additional if isinstance(additional, list) else [])]
    rings = [_ring(ring, where) for ring in paths]
    rings = [ring for ring in rings if len(ring) >= 3]
    if len(rings) <= 1:
        return shape_outline("polygon", rings[0] if rings else np.empty((0, 2)), where)
    # the first ring with the others as holes is kept as it is where that is valid
    whole = Polygon(rings[0], rings[1:])
    if whole.is_valid and whole.area > 0:
        return ParsedGeometry(whole, repaired=False, without_area=())
    if has_too_many_crossings(MultiPolygon([Polygon(ring) for ring in rings])):
        return ParsedGeometry(None, repaired=True, without_area=())
    return ParsedGeometry(fill_even_odd(rings), repaired=False, without_area=())


def _ring(points: object, where: str) -> NDArray[np.float64]:
    if not isinstance(points, list):
        raise AnnotationError(where, "a path is not a list of points", _CORRECT)
    ring = np.array([_point(point, where) for point in points]).reshape(-1, 2)
    check_points(ring, where)
    return ring


def _point(point: object, where: str) -> NDArray[np.float64]:
    """X and y of a point such as {"x": 1, "y": 2}."""
    if not isinstance(point, dict):
        raise AnnotationError(where, f"a point is not x and y but {ascii(point)[:40]}", _CORRECT)
    values = np.array([_number(point.get(axis), where) for axis in ("x", "y")])
    check_points(values[None], where)
    return values


def _number(value: object, where: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e12:
        return float(value)
    raise AnnotationError(where, f"a coordinate is {ascii(value)[:40]}, which is not a number", _CORRECT)


def _image(content: dict[str, Any]) -> ImageMetadata | None:
    """The image that the annotations belong to, as the item or (version 1) the image describes it."""
    item = content.get("item")
    if not isinstance(item, dict):
        image = content["image"] if isinstance(content.get("image"), dict) else {}
        size = image.get("width"), image.get("height")
        name = image.get("original_filename") or image.get("filename")
    else:
        slots = item.get("slots")
        slot = slots[0] if isinstance(slots, list) and slots and isinstance(slots[0], dict) else {}
        size = slot.get("width"), slot.get("height")
        name = item.get("name")
    width, height = (value if type(value) is int and 0 < value < 2**31 else None for value in size)
    return ImageMetadata(name=name if isinstance(name, str) and name else None, width=width, height=height)
