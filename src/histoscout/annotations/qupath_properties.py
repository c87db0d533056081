"""QuPath's properties of an annotation: class, color, measurements and id.

After QuPath's own reader and writer (QuPathTypeAdapters, versions 0.2 to 0.6). What QuPath cannot read, or
has no property for, is written under `histoscout`, which QuPath ignores, so that every region comes back as
it was.
"""

import colorsys
import hashlib
import math
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from histoscout.annotations.polygons import ParsedGeometry
from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Outline, Region
from histoscout.io.notes import NoteCounter

OBJECT_TYPES = frozenset({"annotation", "detection", "tile", "cell", "tmaCore"})
SCORE = "histoscout score"
"""The measurement that holds a region's score."""
PRIVATE = "histoscout"
"""The property that holds what QuPath has no property for."""
LEGACY_TYPES = {
    "PathAnnotationObject": "annotation",
    "PathDetectionObject": "detection",
    "PathTileObject": "tile",
    "PathCellObject": "cell",
    "TMACoreObject": "tmaCore",
    "PathRootObject": "annotation",
}
"""Java class -> object type; before QuPath 0.4 the class was in the place of the id."""
_NAMESPACE = uuid.UUID("5c1a3f60-7e0b-4f5b-9d7c-6a1d5f8f2b11")
# properties that have a field of their own in a region
REGION_FIELDS = frozenset(
    {"classification", "object_type", "childObjects", "children", "nucleusGeometry", PRIVATE}
)


def class_color(label: str) -> tuple[int, int, int]:
    """Choose the color of a class by its name alone, the same in every file and picture.

    Args:
        label: Name of the class.

    Returns:
        Red, green and blue (0-255): gray for no class, else a strong color.
    """
    if not label.strip():
        return 128, 128, 128
    hue = int.from_bytes(hashlib.sha256(label.encode("utf-8", "surrogatepass")).digest()[:2]) / 65536
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.9, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def stable_id(text: str) -> str:
    """A UUID that depends on a text alone.

    Args:
        text: Any text.

    Returns:
        A UUID, the same for the same text.
    """
    return str(uuid.uuid5(_NAMESPACE, text))


def is_uuid(text: str) -> bool:
    """Whether QuPath accepts this as an id.

    Args:
        text: An id.

    Returns:
        Whether it is a UUID.
    """
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def is_rgb(value: object) -> bool:
    """Whether this is red, green and blue, each a whole number from 0 to 255.

    Args:
        value: A JSON value.

    Returns:
        Whether it is such a list.
    """
    if not isinstance(value, list | tuple) or len(value) != 3:
        return False
    return all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 255 for v in value)


def is_plane(value: object) -> bool:
    """Whether this is a plane of an image stack, other than the first, as QuPath writes it.

    Args:
        value: A JSON value.

    Returns:
        Whether it is such a plane.
    """
    if not isinstance(value, dict) or set(value) != {"c", "z", "t"}:
        return False
    return all(type(v) is int for v in value.values()) and bool(value["z"] or value["t"])


# ---------------------------------------------------------------- reading


def read_classification(classification: object, where: str) -> tuple[str, list[int] | None]:
    """Read a QuPath class, as any QuPath version writes it.

    Args:
        classification: The JSON value: an object, a string or None.
        where: The place in the file, for errors.

    Returns:
        The full name ("Tumor: Positive", or "" for no class), and its color if the file has one.

    Raises:
        AnnotationError: This is not a classification.
    """
    if classification is None:
        return "", None
    if isinstance(classification, str):
        return classification, None
    names: list[str] = []
    inner: object = classification
    # QuPath 0.2 nests the parents of a derived class
    while isinstance(inner, dict):
        own = inner.get("names", inner.get("name"))
        own_names = own if isinstance(own, list) else [own] if own is not None else []
        if not all(isinstance(name, str) for name in own_names):
            break
        names = [*own_names, *names]
        inner = inner.get("parentClass")
    if inner is not None or not isinstance(classification, dict):
        fault = "the classification cannot be read"
        raise AnnotationError(where, fault, "Set the class again in QuPath")
    return ": ".join(names), _read_color(classification.get("color", classification.get("colorRGB")))


def _read_color(color: object) -> list[int] | None:
    """Red, green, blue from a list or from Java's packed integer; None if it is neither."""
    if isinstance(color, int) and not isinstance(color, bool):
        return [color >> shift & 255 for shift in (16, 8, 0)]
    return [int(part) for part in color] if isinstance(color, list) and is_rgb(color) else None


def read_measurements(values: object) -> tuple[dict[str, float], int]:
    """Read measurements.

    Args:
        values: The JSON value: an object, or the list of objects that QuPath wrote before 0.4.

    Returns:
        The measurements by name, without missing ones ("NaN"), and the number of entries that are not
        numbers.
    """
    if isinstance(values, list):
        values = {str(v.get("name")): v.get("value") for v in values if isinstance(v, dict)}
    if not isinstance(values, dict):
        return {}, int(values is not None)
    numbers = {name: value for name, value in values.items() if _is_number(value)}
    # missing values are written as null, text or a bare NaN, depending on the version
    scalars = [value for value in values.values() if value is None or isinstance(value, str)]
    missing = sum(value is None or value in {"NaN", "Infinity", "-Infinity"} for value in scalars)
    not_finite = sum(isinstance(value, float) and not math.isfinite(value) for value in values.values())
    return numbers, len(values) - len(numbers) - missing - not_finite


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # whole numbers in JSON may be larger than a float; NaN fails the comparison
    return abs(value) <= sys.float_info.max


def read_object_type(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    """Read QuPath's type of an object: annotation, detection, tile, cell or tmaCore.

    Args:
        feature: A GeoJSON feature.
        properties: Its properties.

    Returns:
        The type; annotation where the file states none.
    """
    legacy = LEGACY_TYPES.get(str(feature.get("id")), "annotation")
    kind = properties.get("objectType", properties.get("object_type", legacy))
    return LEGACY_TYPES.get(str(kind), str(kind))


def read_id(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> str | None:
    """Read the id of an object; None if the file does not give it one.

    Args:
        feature: A GeoJSON feature.
        properties: Its properties.

    Returns:
        The id, or None.
    """
    own = private_properties(properties).get("id", feature.get("id"))
    if own is None or own == "" or str(own) in LEGACY_TYPES:
        return None
    return str(own) if isinstance(own, str | int | float) else None


def private_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Read the id, label and properties that histoscout wrote for itself; else empty.

    Args:
        properties: Properties of a GeoJSON feature.

    Returns:
        Values by name, or an empty dictionary.
    """
    private = properties.get(PRIVATE)
    types = {"id": str, "label": str, "properties": dict}
    if not isinstance(private, dict) or not all(isinstance(v, types.get(k, ())) for k, v in private.items()):
        return {}
    return private


def _are_measurements(value: object) -> bool:
    if not isinstance(value, Mapping) or not value or SCORE in value:
        return False
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in value.values())


def _is_metadata(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(v, str) for v in value.values())


NATIVE_PROPERTIES: Mapping[str, Callable[[Any], bool]] = {
    "name": lambda value: isinstance(value, str),
    "color": is_rgb,
    "isLocked": lambda value: value is True,
    "objectType": lambda value: isinstance(value, str) and value in OBJECT_TYPES,
    "measurements": _are_measurements,
    "metadata": _is_metadata,
    "classColor": is_rgb,
    "plane": is_plane,
}
"""Properties that QuPath reads itself, and a test of what it can read; else it refuses the whole file."""


def read_properties(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Read the properties of an object that are not fields of a region.

    Args:
        raw: The properties of a GeoJSON Feature.

    Returns:
        Name, color, lock and metadata as far as they are valid, and all properties that QuPath does not
        define.
    """
    private = private_properties(raw)
    other = {
        key: value for key, value in raw.items() if key not in REGION_FIELDS and key not in NATIVE_PROPERTIES
    }
    if PRIVATE in raw and not private and raw[PRIVATE] != {}:
        other[PRIVATE] = raw[PRIVATE]
    # what QuPath defines is kept if it is valid
    if (name := raw.get("name")) is not None:
        other["name"] = str(name)
    if (color := _read_color(raw.get("color"))) is not None:
        other["color"] = color
    if raw.get("isLocked") is True:
        other["isLocked"] = True
    metadata = raw.get("metadata")
    if isinstance(metadata, dict) and metadata:
        other["metadata"] = {
            key: value if isinstance(value, str) else str(value) for key, value in metadata.items()
        }
    return {**other, **private.get("properties", {})}


def checked_outline(parsed: ParsedGeometry, name: str, counter: NoteCounter) -> Outline | None:
    """Take the outline of a parsed geometry, and note what was repaired or left out.

    Args:
        parsed: The geometry of an object.
        name: Name of the object in notes.
        counter: Counts the notes.

    Returns:
        The outline; None if the object has to be left out.
    """
    if parsed.without_area:
        kinds = ", ".join(parsed.without_area)
        counter.add("points and lines left out, as they have no area", f"{name}: {kinds}")
    elif parsed.outline is None and parsed.repaired:
        counter.add("objects left out, as their polygon crosses itself too often to be repaired", name)
    elif parsed.outline is None:
        counter.add("objects left out, as their polygon encloses no area", name)
    if parsed.repaired and parsed.outline is not None:
        counter.add("polygons that crossed themselves, repaired", name)
    return parsed.outline


def feature_to_region(
    feature: Mapping[str, Any],
    outline: Outline,
    *,
    name: str,
    usual_type: str,
    counter: NoteCounter,
    place: str,
) -> Region:
    """Convert a QuPath object to a region.

    Args:
        feature: The object as a GeoJSON Feature, with `id`, `geometry` and `properties`.
        outline: Its polygon, in level-0 px.
        name: Name of the object in notes. Without an id, the region's id depends on name and outline alone.
        usual_type: The object type that is not kept among the properties, since most of the file has it.
        counter: Counts the notes.
        place: The place in the file, for errors.

    Returns:
        The region.

    Raises:
        AnnotationError: The classification cannot be read.
    """
    properties = feature["properties"]
    label, file_color = read_classification(properties.get("classification"), place)
    label = private_properties(properties).get("label", label)
    if not label:
        counter.add("annotations without a class", name)
    if "nucleusGeometry" in feature:
        counter.add("nuclei of cells left out", name)
    measurements, invalid = read_measurements(properties.get("measurements"))
    if invalid:
        counter.add("annotations with measurements that are not numbers, which are left out", name)
    # the score is a measurement in the file, and a field of a region
    score = measurements.pop(SCORE, None)
    if score is not None and not 0 <= score <= 1:
        counter.add("annotations with a score outside 0 to 1, which is left out", name)
        score = None
    # what differs from the default is kept, so that it can be written again
    other: dict[str, Any] = {}
    plane = feature["geometry"].get("plane")
    if isinstance(plane, dict) and (plane.get("z") or plane.get("t")):
        counter.add("annotations on another plane of an image stack than the first", name)
        other["plane"] = plane
    if (kind := read_object_type(feature, properties)) != usual_type:
        other["objectType"] = kind
    if file_color is not None and label and file_color != list(class_color(label)):
        other["classColor"] = file_color
    if measurements:
        other["measurements"] = measurements
    return Region(
        outline,
        label,
        score=score,
        id=read_id(feature, properties) or stable_id(f"{name} {outline.wkt}"),
        properties={**other, **read_properties(properties)},
    )


def file_notes(regions: Sequence[Region], counter: NoteCounter) -> tuple[str, ...]:
    """Complete the notes on a file with ids that occur more than once, or that it is empty.

    Args:
        regions: The regions of the file.
        counter: The notes so far; repeated ids are added.

    Returns:
        One sentence per kind of note.
    """
    repeated = [name for name, times in Counter(region.id for region in regions).items() if times > 1]
    for name in repeated:
        counter.add("ids that occur more than once", name)
    return tuple(counter.notes() if regions or counter.names_by_note else ["this file has no annotations"])
