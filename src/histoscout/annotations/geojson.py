"""GeoJSON as QuPath writes and reads it (RFC 7946 with QuPath's own properties).

What was outlined as an annotation, and what else QuPath keeps in the same file: cells, detections, tiles.
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from histoscout.annotations import qupath_properties
from histoscout.annotations.files import read_json
from histoscout.annotations.polygons import geometry_of, is_geometry, read_outline
from histoscout.annotations.qupath_properties import described, notes_of, outline_of
from histoscout.annotations.read import Annotations
from histoscout.errors import AnnotationError, OutputError
from histoscout.geometry.regions import Region, Regions, polygonal
from histoscout.io.files import replacing
from histoscout.io.notes import Findings

MANY = 2000  # from so many regions on, QuPath gets them as detections: quick to show, but not to be edited


class _Feature(NamedTuple):
    """One object of a file, and what to call it in a message."""

    content: dict[str, Any]
    name: str


# ---------------------------------------------------------------- reading


def read_geojson(path: Path) -> Annotations:
    """Read outlines from GeoJSON, plain or gzipped: a FeatureCollection, a list, a Feature or a geometry.

    Outlines are in level-0 px, as QuPath writes them. A region's label is the full name of its QuPath class,
    "" if it has none. Self-crossing outlines are mended, points, lines and outlines without area are left
    out, and each is named in the notes. Objects nested in others follow them. AnnotationError for a file that
    is not GeoJSON or has coordinates that are not numbers.
    """
    content = read_json(path)
    usual_type = _usual_type(content)
    findings = Findings()
    regions = [
        region
        for feature in _features(content, path)
        if (region := _region(feature, usual_type, path, findings)) is not None
    ]
    return Annotations(Regions.of(regions), notes_of(regions, findings))


def _usual_type(content: object) -> str:
    ours = content.get(qupath_properties.PRIVATE) if isinstance(content, dict) else None
    return "detection" if ours == {"objectType": "detection"} else "annotation"


def _features(content: object, path: Path) -> Iterator[_Feature]:
    """All objects of a file, parents before the objects nested in them."""
    listed = _top_level(content, path)
    to_do = [(item, f"feature {number}") for number, item in enumerate(listed, 1)][::-1]
    while to_do:
        item, name = to_do.pop()
        if not isinstance(item, dict):
            raise AnnotationError(f"{path}, {name}", "is not a GeoJSON object", "Export the file again")
        if is_geometry(item):
            item = {"type": "Feature", "geometry": item}
        properties = item.get("properties") or {}
        if not isinstance(properties, dict):
            raise AnnotationError(
                f"{path}, {name}", "has properties that are not a table", "Export the file again"
            )
        yield _Feature({**item, "properties": properties}, name)
        children = properties.get("childObjects", properties.get("children"))
        if isinstance(children, list):
            to_do += [(child, f"{name}, child {number}") for number, child in enumerate(children, 1)][::-1]


def _top_level(content: object, path: Path) -> list[Any]:
    if isinstance(content, list):
        return content
    kind = content.get("type") if isinstance(content, dict) else None
    if isinstance(content, dict) and (kind == "FeatureCollection" or kind is None):
        features = content.get("features")
        if isinstance(features, list):
            return features
    elif kind == "Feature" or is_geometry(content):
        return [content]
    raise AnnotationError(path, "is JSON, but not GeoJSON", "In QuPath use File > Export objects as GeoJSON")


def _region(feature: _Feature, usual_type: str, path: Path, findings: Findings) -> Region | None:
    content = feature.content
    place = f"{path}, {feature.name}"
    identity = qupath_properties.read_id(content, content["properties"])
    name = feature.name if identity is None else f"{feature.name}, id {identity}"
    outline = outline_of(read_outline(content.get("geometry"), place), name, findings)
    if outline is None:
        return None
    return described(content, outline, name, usual_type, findings, place)


# ---------------------------------------------------------------- writing


def write_geojson(regions: Regions, path: Path) -> None:
    """Write regions as GeoJSON that QuPath opens by drag and drop; gzipped if the name ends in .gz.

    Coordinates are level-0 px with every digit kept. Regions become annotations, which can be edited; from
    2,000 on they become detections, which QuPath draws fast. A score becomes the measurement "histoscout
    score". Properties hold what JSON can say; measurements that are not finite are left out, as QuPath does.
    OutputError for an outline without area or with coordinates that are not finite: QuPath would refuse the
    whole file.
    """
    usual_type = "detection" if len(regions) >= MANY else "annotation"
    features = (json.dumps(_feature(region, usual_type, path), default=_plain) for region in regions)
    ours = f'"{qupath_properties.PRIVATE}": {{"objectType": "{usual_type}"}}'
    text = f'{{"type": "FeatureCollection", {ours}, "features": [\n' + ",\n".join(features) + "\n]}\n"
    with replacing(path) as temporary:
        if path.name.casefold().endswith(".gz"):
            temporary.write_bytes(gzip.compress(text.encode("ascii"), mtime=0))
        else:
            temporary.write_text(text, encoding="ascii")


def _feature(region: Region, usual_type: str, path: Path) -> dict[str, Any]:
    outline = region.outline if region.outline.is_valid else polygonal(region.outline)
    if outline is None or not 0 < outline.area < float("inf"):
        raise OutputError(
            path, f"region {region.id} has no area", "Leave out regions without area before writing"
        )
    geometry = geometry_of(outline)
    properties = qupath_properties.properties_of(region, usual_type)
    if qupath_properties.is_plane(region.properties.get("plane")):
        geometry["plane"] = region.properties["plane"]
    identity = region.id if qupath_properties.is_uuid(region.id) else qupath_properties.stable_id(region.id)
    return {"type": "Feature", "id": identity, "geometry": geometry, "properties": _finite(properties)}


def _plain(value: Any) -> Any:
    """Arrays and tables that are not Python's own, as what JSON knows; everything else by its name."""
    if isinstance(value, Mapping):
        return dict(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _finite(value: Any) -> Any:
    """The same with numbers that JSON has no word for (NaN, infinity) as text."""
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and value - value != 0 else value


ANNOTATION = "annotation"
_PLURALS = {"detection": "detections", "tile": "tiles", "cell": "cells", "tmaCore": "TMA cores"}


def kind_of(region: Region) -> str:
    """What QuPath calls the object that a region comes from; an annotation if nothing is said."""
    return str(region.properties.get("objectType", ANNOTATION))


def outlined(regions: Regions) -> tuple[Regions, list[str]]:
    """The annotations among regions, and a note on what else there was.

    Detections with a score of ours stay: QuPath is given many regions as detections, and exports them as such.
    """
    kept = regions.where(lambda region: kind_of(region) == ANNOTATION or region.score is not None)
    others = Counter(kind_of(region) for region in regions) - Counter(kind_of(region) for region in kept)
    return kept, [left_out(others)] if others else []


def left_out(kinds: Mapping[str, int]) -> str:
    """The note on objects that are no annotations, by their kind."""
    listed = ", ".join(f"{_PLURALS.get(kind, kind)} ({number})" for kind, number in kinds.items())
    return f"left out, as only annotations are read: {listed}"
