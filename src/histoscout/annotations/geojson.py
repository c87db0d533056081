"""GeoJSON as QuPath writes and reads it (RFC 7946 with QuPath's own properties)."""

import gzip
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from histoscout.annotations.files import read_json_text
from histoscout.annotations.polygons import is_geometry, outline_to_geojson, parse_geometry, writable_outline
from histoscout.annotations.qupath_properties import (
    NATIVE_PROPERTIES,
    PRIVATE,
    REGION_FIELDS,
    SCORE,
    checked_outline,
    class_color,
    feature_to_region,
    file_notes,
    is_plane,
    is_uuid,
    read_id,
    stable_id,
)
from histoscout.annotations.read import Annotations
from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Region, Regions
from histoscout.io.files import StrPath, atomic_write
from histoscout.io.notes import NoteCounter

DETECTIONS_FROM = 2000
"""From this number of regions on, they are written as detections: QuPath shows these fast but cannot edit
them."""
ANNOTATION = "annotation"
DETECTION = "detection"
_PLURALS = {DETECTION: "detections", "tile": "tiles", "cell": "cells", "tmaCore": "TMA cores"}


# ---------------------------------------------------------------- reading


def read_geojson(path: StrPath) -> Annotations:
    """Read annotations from GeoJSON, plain, gzipped or zipped.

    The file holds a FeatureCollection, a list, a Feature or a geometry. A region's label is the full name of
    its QuPath class, "" without one. Polygons that cross themselves are repaired; points, lines and polygons
    without area are left out. Objects nested in others follow them.

    Args:
        path: The GeoJSON file.

    Returns:
        Regions in level-0 px, and notes that name what was repaired or left out.

    Raises:
        AnnotationError: The file is not GeoJSON, or a coordinate is not a number.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import read_geojson
        >>> square = '{"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]]}'
        >>> _ = Path("slide.geojson").write_text(square)
        >>> annotations = read_geojson(Path("slide.geojson"))
        >>> annotations.regions[0].outline.area
        81.0
        >>> annotations.notes
        ('annotations without a class: 1 (feature 1)',)
    """
    path = Path(path)
    content, text_notes = read_json_text(path)
    annotations = geojson_annotations(content, path)
    return replace(annotations, notes=(*annotations.notes, *text_notes))


def geojson_annotations(content: object, path: Path) -> Annotations:
    """Convert the content of a GeoJSON file to regions, see `read_geojson`.

    Args:
        content: The content of the JSON file.
        path: The file, for errors.

    Returns:
        Regions in level-0 px, and notes that name what was repaired or left out.

    Raises:
        AnnotationError: The content is not GeoJSON, or a coordinate is not a number.
    """
    # files of histoscout state whether most of their objects are annotations or detections
    file_properties = content.get(PRIVATE) if isinstance(content, dict) else None
    usual_type = DETECTION if file_properties == {"objectType": DETECTION} else ANNOTATION
    counter = NoteCounter()
    regions: list[Region] = []
    for feature, feature_name in _features(content, path):
        # messages name an object by its number and id
        place = f"{path}, {feature_name}"
        identity = read_id(feature, feature["properties"])
        name = feature_name if identity is None else f"{feature_name}, id {identity}"
        outline = checked_outline(parse_geometry(feature.get("geometry"), place), name, counter)
        if outline is not None:
            regions.append(
                feature_to_region(
                    feature, outline, name=name, usual_type=usual_type, counter=counter, place=place
                )
            )
    return Annotations(Regions.of(regions), file_notes(regions, counter))


def _features(content: object, path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """All objects of a file and their names in messages, parents before children."""
    top_level = _top_level(content, path)
    # a stack instead of recursion, since objects may be nested without limit; reversed to keep their order
    stack = [(item, f"feature {number}") for number, item in enumerate(top_level, 1)][::-1]
    while stack:
        item, name = stack.pop()
        if not isinstance(item, dict):
            raise AnnotationError(f"{path}, {name}", "this is not a GeoJSON object", "Export the file again")
        if is_geometry(item):
            item = {"type": "Feature", "geometry": item}
        properties = item.get("properties") or {}
        if not isinstance(properties, dict):
            fault = "the properties are not a JSON object"
            raise AnnotationError(f"{path}, {name}", fault, "Export the file again")
        yield {**item, "properties": properties}, name
        # QuPath nests child objects in the properties
        children = properties.get("childObjects", properties.get("children"))
        if isinstance(children, list):
            stack += [(child, f"{name}, child {number}") for number, child in enumerate(children, 1)][::-1]


def _top_level(content: object, path: Path) -> list[Any]:
    """The features of a collection, a list, a Feature or a geometry."""
    # QuPath exports a list or a collection; other programs also write the rest
    if isinstance(content, list):
        return content
    kind = content.get("type") if isinstance(content, dict) else None
    if isinstance(content, dict) and (kind == "FeatureCollection" or kind is None):
        features = content.get("features")
        if isinstance(features, list):
            return features
    elif kind == "Feature" or is_geometry(content):
        return [content]
    remedy = "In QuPath, use File > Export objects as GeoJSON"
    raise AnnotationError(path, "the file is JSON, but not GeoJSON", remedy)


# ---------------------------------------------------------------- writing


def write_geojson(regions: Regions, path: StrPath) -> None:
    """Write regions as GeoJSON that QuPath opens by drag and drop.

    Regions become annotations, which can be edited; from DETECTIONS_FROM on they become detections, which
    QuPath shows fast. A score becomes the measurement "histoscout score". Measurements that are not finite
    are left out, as QuPath does.

    Args:
        regions: The regions, in level-0 px; every digit is kept.
        path: The file to write; gzipped if its name ends in .gz.

    Raises:
        OutputError: A polygon has no area or coordinates that are not finite (QuPath would refuse the whole
            file), or the file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> import shapely
        >>> from histoscout import Region, Regions, read_geojson, write_geojson
        >>> regions = Regions.of([Region(shapely.box(0, 0, 9, 9), "UDH", score=0.75)])
        >>> write_geojson(regions, Path("slide.geojson"))
        >>> read_geojson(Path("slide.geojson")).regions == regions
        True
    """
    path = Path(path)
    usual_type = DETECTION if len(regions) >= DETECTIONS_FROM else ANNOTATION
    features = (json.dumps(_feature(region, usual_type, path), default=_jsonable) for region in regions)
    # one line per feature, so that files can be compared
    file_properties = f'"{PRIVATE}": {{"objectType": "{usual_type}"}}'
    head = f'{{"type": "FeatureCollection", {file_properties}, "features": [\n'
    text = head + ",\n".join(features) + "\n]}\n"
    with atomic_write(path) as temporary:
        if path.name.casefold().endswith(".gz"):
            temporary.write_bytes(gzip.compress(text.encode("ascii"), mtime=0))
        else:
            temporary.write_text(text, encoding="ascii")


def _feature(region: Region, usual_type: str, path: Path) -> dict[str, Any]:
    """The GeoJSON Feature of a region."""
    geometry = outline_to_geojson(writable_outline(region, path))
    properties = geojson_properties(region, usual_type)
    if is_plane(region.properties.get("plane")):
        geometry["plane"] = region.properties["plane"]
    # QuPath accepts UUIDs alone; another id is kept as a private property
    identity = region.id if is_uuid(region.id) else stable_id(region.id)
    return {"type": "Feature", "id": identity, "geometry": geometry, "properties": _finite(properties)}


def _jsonable(value: Any) -> Any:
    """Arrays and mappings that are not Python's own as JSON; everything else as text."""
    if isinstance(value, Mapping):
        return dict(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _finite(value: Any) -> Any:
    """The value with numbers that JSON cannot hold (NaN, infinity) as text."""
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and value - value != 0 else value


# ---------------------------------------------------------------- annotations among other objects


def object_type(region: Region) -> str:
    """The QuPath type of a region's object: "annotation" unless the file states another.

    Args:
        region: The region.

    Returns:
        annotation, detection, tile, cell or tmaCore.
    """
    return str(region.properties.get("objectType", ANNOTATION))


def select_annotations(regions: Regions) -> tuple[Regions, list[str]]:
    """Select the annotations among the objects of a QuPath file.

    Detections with a histoscout score are kept: histoscout writes many regions as detections.

    Args:
        regions: All objects of the file.

    Returns:
        The annotations, and a note on what was left out.
    """
    kept = regions.where(lambda region: object_type(region) == ANNOTATION or region.score is not None)
    others = Counter(object_type(region) for region in regions)
    others -= Counter(object_type(region) for region in kept)
    return kept, [left_out_note(others)] if others else []


def left_out_note(counts: Mapping[str, int]) -> str:
    """The note on objects that are not annotations, from their number by type.

    Args:
        counts: Number of objects by QuPath type.

    Returns:
        One sentence.
    """
    objects = ", ".join(f"{_PLURALS.get(kind, kind)} ({number})" for kind, number in counts.items())
    return f"left out, as only annotations are read: {objects}"


# ---------------------------------------------------------------- properties


def geojson_properties(region: Region, usual_type: str) -> dict[str, Any]:
    """Convert the properties of a region to GeoJSON properties that QuPath reads.

    Args:
        region: The region.
        usual_type: Object type of most of the file, which need not be stored per region.

    Returns:
        The properties of a GeoJSON Feature.
    """
    native = {
        k: v for k, v in region.properties.items() if k in NATIVE_PROPERTIES and NATIVE_PROPERTIES[k](v)
    }
    if native.get("objectType") == usual_type:
        # the reader drops the usual type, so a stated one is stored as a private property
        del native["objectType"]
    if not region.label.strip() or native.get("classColor") == list(class_color(region.label)):
        native.pop("classColor", None)
    other = {k: v for k, v in region.properties.items() if k not in native}
    public = {k: v for k, v in other.items() if k not in NATIVE_PROPERTIES and k not in REGION_FIELDS}
    written = {"objectType": usual_type, **public, **native}

    # class with its color; a name that QuPath would change is written in a form that it accepts
    name = " ".join(region.label.split()) if _is_awkward(region.label) else region.label
    if name:
        color = list(native.get("classColor", class_color(region.label)))
        written["classification"] = {"name": name, "color": color}

    # measurements, of which the score is one
    score = {} if region.score is None else {SCORE: float(region.score)}
    measured = {**native.get("measurements", {}), **score}
    if measurements := {key: value for key, value in measured.items() if math.isfinite(value)}:
        written["measurements"] = measurements

    # these have another place in the Feature
    for key in ("classColor", "plane"):
        written.pop(key, None)
    if private := _private_values(region, {k: v for k, v in other.items() if k not in public}):
        written[PRIVATE] = private
    return written


def _is_awkward(label: str) -> bool:
    """Whether QuPath would refuse or change this class name."""
    return not label.strip() or len(label.splitlines()) > 1 or label != label.strip()


def _private_values(region: Region, properties: Mapping[str, Any]) -> dict[str, Any]:
    """What QuPath could not keep of a region."""
    private: dict[str, Any] = {}
    if not is_uuid(region.id):
        private["id"] = region.id
    if region.label and _is_awkward(region.label):
        private["label"] = region.label
    if properties:
        private["properties"] = dict(properties)
    return private
