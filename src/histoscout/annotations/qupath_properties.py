"""What QuPath says of an outline beside its geometry: class, name, colour, measurements.

After QuPath's own reader and writer (QuPathTypeAdapters, versions 0.2 to 0.6). What QuPath would stumble
over, or has no word for, is written under `histoscout`, which QuPath passes over, so that every region comes
back as it was.

A region from what QuPath says of an object, the same for every file that QuPath writes.

One colour for each class, the same in every file and picture.
"""

import colorsys
import hashlib
import math
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from histoscout.annotations.polygons import Drawn
from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Outline, Region
from histoscout.io.notes import Findings


def color_of(label: str) -> tuple[int, int, int]:
    """Red, green and blue (0-255) for a label, by its name alone: grey for no class, else strong."""
    if not label.strip():
        return 128, 128, 128
    hue = int.from_bytes(hashlib.sha256(label.encode("utf-8", "surrogatepass")).digest()[:2]) / 65536
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.9, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


OBJECT_TYPES = frozenset({"annotation", "detection", "tile", "cell", "tmaCore"})
SCORE = "histoscout score"  # the measurement that holds a region's score
PRIVATE = "histoscout"
_NAMESPACE = uuid.UUID("5c1a3f60-7e0b-4f5b-9d7c-6a1d5f8f2b11")
LEGACY_TYPES = {  # before 0.4 the type stood where the id is now
    "PathAnnotationObject": "annotation",
    "PathDetectionObject": "detection",
    "PathTileObject": "tile",
    "PathCellObject": "cell",
    "TMACoreObject": "tmaCore",
    "PathRootObject": "annotation",
}
_ELSEWHERE = frozenset(
    {"classification", "object_type", "childObjects", "children", "nucleusGeometry", PRIVATE}
)


def stable_id(text: str) -> str:
    """A UUID that depends on a text alone."""
    return str(uuid.uuid5(_NAMESPACE, text))


def is_uuid(text: str) -> bool:
    """Whether QuPath takes this as an id."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


# ---------------------------------------------------------------- reading


def read_label(classification: object, where: str) -> tuple[str, list[int] | None]:
    """The full name of a class ("Tumor: Positive") and its colour, however the QuPath version wrote it."""
    if classification is None:
        return "", None
    if isinstance(classification, str):
        return classification, None
    names: list[str] = []
    inner: object = classification
    while isinstance(inner, dict):  # 0.2 nests a derived class's parents
        own = inner.get("names", inner.get("name"))
        listed = own if isinstance(own, list) else [own] if own is not None else []
        if not all(isinstance(name, str) for name in listed):
            break
        names, inner = [*listed, *names], inner.get("parentClass")
    if inner is not None or not isinstance(classification, dict):
        raise AnnotationError(
            where, "its classification cannot be understood", "Set the class again in QuPath"
        )
    return ": ".join(names), _rgb(classification.get("color", classification.get("colorRGB")))


def _rgb(color: object) -> list[int] | None:
    """Red, green, blue from a list or from Java's packed integer; None if it is neither."""
    if isinstance(color, int) and not isinstance(color, bool):
        return [color >> shift & 255 for shift in (16, 8, 0)]
    return [int(part) for part in color] if isinstance(color, list) and _is_rgb(color) else None


def _is_rgb(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 3:
        return False
    return all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 255 for v in value)


def read_measurements(values: object) -> tuple[dict[str, float], int]:
    """Measurements by name, and how many entries were no numbers; missing ones ("NaN") are left out."""
    if isinstance(values, list):  # before 0.4
        values = {str(v.get("name")): v.get("value") for v in values if isinstance(v, dict)}
    if not isinstance(values, dict):
        return {}, int(values is not None)
    numbers = {name: value for name, value in values.items() if _is_number(value)}
    missing = sum(value is None or value in {"NaN", "Infinity", "-Infinity"} for value in _scalars(values))
    not_finite = sum(isinstance(value, float) and not math.isfinite(value) for value in values.values())
    return numbers, len(values) - len(numbers) - missing - not_finite


def _scalars(values: Mapping[str, Any]) -> list[Any]:
    return [value for value in values.values() if value is None or isinstance(value, str)]


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max  # JSON's whole numbers may be larger; nan is not


def read_type(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    """What QuPath calls the object: annotation, detection, tile, cell or tmaCore."""
    legacy = LEGACY_TYPES.get(str(feature.get("id")), "annotation")
    said = properties.get("objectType", properties.get("object_type", legacy))
    return LEGACY_TYPES.get(str(said), str(said))


def read_id(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> str | None:
    """The id of an object; None if it has none of its own."""
    own = private(properties).get("id", feature.get("id"))
    if own is None or own == "" or str(own) in LEGACY_TYPES:
        return None
    return str(own) if isinstance(own, str | int | float) else None


def private(properties: Mapping[str, Any]) -> dict[str, Any]:
    """What we wrote for ourselves; empty if it was not us."""
    said = properties.get(PRIVATE)
    wanted = {"id": str, "label": str, "properties": dict}
    if not isinstance(said, dict) or not all(isinstance(v, wanted.get(k, ())) for k, v in said.items()):
        return {}
    return said


def read_properties(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What else the file says of an object, without what has a place of its own in a region."""
    ours = private(raw)
    other = {key: value for key, value in raw.items() if key not in _ELSEWHERE and key not in _NATIVE}
    if PRIVATE in raw and not ours and raw[PRIVATE] != {}:
        other[PRIVATE] = raw[PRIVATE]
    if (name := raw.get("name")) is not None:
        other["name"] = str(name)
    if (color := _rgb(raw.get("color"))) is not None:
        other["color"] = color
    if raw.get("isLocked") is True:
        other["isLocked"] = True
    metadata = raw.get("metadata")
    if isinstance(metadata, dict) and metadata:
        other["metadata"] = {
            key: value if isinstance(value, str) else str(value) for key, value in metadata.items()
        }
    return {**other, **ours.get("properties", {})}


# ---------------------------------------------------------------- writing


def _is_measured(value: object) -> bool:
    if not isinstance(value, Mapping) or not value or SCORE in value:
        return False
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in value.values())


def _is_metadata(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(v, str) for v in value.values())


def is_plane(value: object) -> bool:
    """Whether this is a place in a stack of images, other than the first, as QuPath writes it."""
    if not isinstance(value, dict) or set(value) != {"c", "z", "t"}:
        return False
    return all(type(v) is int for v in value.values()) and bool(value["z"] or value["t"])


# properties that QuPath reads itself, and what it can read there; else it refuses the whole file
_NATIVE: Mapping[str, Callable[[Any], bool]] = {
    "name": lambda value: isinstance(value, str),
    "color": _is_rgb,
    "isLocked": lambda value: value is True,
    "objectType": lambda value: isinstance(value, str) and value in OBJECT_TYPES,
    "measurements": _is_measured,
    "metadata": _is_metadata,
    "classColor": _is_rgb,
    "plane": is_plane,
}


def properties_of(region: Region, usual_type: str) -> dict[str, Any]:
    """The GeoJSON properties of a region as QuPath reads them; `usual_type` is what most of the file is."""
    native = {k: v for k, v in region.properties.items() if k in _NATIVE and _NATIVE[k](v)}
    if native.get("objectType") == usual_type:
        del native["objectType"]  # goes without saying, so it must be said apart
    if not region.label.strip() or native.get("classColor") == list(color_of(region.label)):
        native.pop("classColor", None)
    other = {k: v for k, v in region.properties.items() if k not in native}
    public = {k: v for k, v in other.items() if k not in _NATIVE and k not in _ELSEWHERE}
    written = {"objectType": usual_type, **public, **native, **_classification(region, native)}
    if measurements := _measurements(region, native):
        written["measurements"] = measurements
    for handled in ("classColor", "plane"):
        written.pop(handled, None)
    if ours := _private_of(region, {k: v for k, v in other.items() if k not in public}):
        written[PRIVATE] = ours
    return written


def _classification(region: Region, native: Mapping[str, Any]) -> dict[str, Any]:
    name = " ".join(region.label.split()) if _is_awkward(region.label) else region.label
    color = list(native.get("classColor", color_of(region.label)))
    return {"classification": {"name": name, "color": color}} if name else {}


def _is_awkward(label: str) -> bool:
    """Whether QuPath would refuse or change this class name."""
    return not label.strip() or len(label.splitlines()) > 1 or label != label.strip()


def _measurements(region: Region, native: Mapping[str, Any]) -> dict[str, float]:
    score = {} if region.score is None else {SCORE: float(region.score)}
    measured = {**native.get("measurements", {}), **score}
    return {name: value for name, value in measured.items() if math.isfinite(value)}


def _private_of(region: Region, properties: Mapping[str, Any]) -> dict[str, Any]:
    ours: dict[str, Any] = {}
    if not is_uuid(region.id):
        ours["id"] = region.id
    if region.label and _is_awkward(region.label):
        ours["label"] = region.label
    if properties:
        ours["properties"] = dict(properties)
    return ours


def outline_of(drawn: Drawn, name: str, findings: Findings) -> Outline | None:
    """The outline of an object; what is mended or left out is added to the findings."""
    if drawn.without_area:
        findings.add(
            "points and lines left out, as they have no area", f"{name}: {', '.join(drawn.without_area)}"
        )
    elif drawn.outline is None and drawn.mended:
        findings.add("objects left out, as their outline crosses itself too often to have an inside", name)
    elif drawn.outline is None:
        findings.add("objects left out, as their outline encloses no area", name)
    if drawn.mended and drawn.outline is not None:
        findings.add("outlines that crossed themselves, mended", name)
    return drawn.outline


def described(
    said: Mapping[str, Any], outline: Outline, name: str, usual_type: str, findings: Findings, place: str
) -> Region:
    """The region of an object as QuPath describes it in GeoJSON: `said` has `id`, `geometry`, `properties`.

    `name` is what the findings call it, `place` what an error does; the type of object is kept where it is
    not the usual one. Without an id it gets one that depends on its name and outline alone.
    """
    properties = said["properties"]
    label, class_color = read_label(properties.get("classification"), place)
    label = private(properties).get("label", label)
    if not label:
        findings.add("unclassified outlines", name)
    if "nucleusGeometry" in said:
        findings.add("nuclei of cells left out", name)
    measurements, odd = read_measurements(properties.get("measurements"))
    if odd:
        findings.add("outlines with measurements that are no numbers, left out", name)
    score = measurements.pop(SCORE, None)
    if score is not None and not 0 <= score <= 1:
        findings.add("outlines with a score outside 0 to 1, left out", name)
        score = None
    other = _plane(said["geometry"], name, findings)
    if (kind := read_type(said, properties)) != usual_type:
        other["objectType"] = kind
    if class_color is not None and label and class_color != list(color_of(label)):
        other["classColor"] = class_color
    if measurements:
        other["measurements"] = measurements
    identity = read_id(said, properties) or stable_id(f"{name} {outline.wkt}")
    return Region(outline, label, score, identity, {**other, **read_properties(properties)})


def _plane(geometry: Mapping[str, Any], name: str, findings: Findings) -> dict[str, Any]:
    """Where in a stack of images the outline lies, if that is not the first."""
    plane = geometry.get("plane")
    if not isinstance(plane, dict) or not (plane.get("z") or plane.get("t")):
        return {}
    findings.add("outlines drawn on another plane of a stack than the first", name)
    return {"plane": plane}


def notes_of(regions: Sequence[Region], findings: Findings) -> tuple[str, ...]:
    """What the user should know of the regions of a file, with ids that occur more than once."""
    repeated = [name for name, times in Counter(region.id for region in regions).items() if times > 1]
    for name in repeated:
        findings.add("ids that occur more than once", name)
    return tuple(findings.notes() if regions or findings.by_kind else ["no outlines in this file"])
