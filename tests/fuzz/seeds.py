"""Sound files of each format, small, with something of everything that its reader knows."""

import io
import json
from typing import Any

import numpy as np
import tifffile
from PIL import Image

SQUARE = [[[0, 0], [10, 0], [10, 10.5], [0, 10], [0, 0]]]
HOLED = [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]], [[3, 3], [6, 3], [6, 6], [3, 6], [3, 3]]]


def _feature(kind: str, coordinates: Any, properties: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": name,
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": properties,
    }


def geojson() -> dict[str, bytes]:
    new = {
        "objectType": "annotation",
        "name": "a duct",
        "classification": {"names": ["Tumor", "Invasive"], "color": [200, 0, 0]},
        "isLocked": True,
        "measurements": {"Area": 12.5, "histoscout score": 0.5, "missing": "NaN"},
        "metadata": {"ANNOTATION_DESCRIPTION": "sure"},
    }
    old = {
        "object_type": "annotation",
        "classification": {"name": "UDH", "colorRGB": -3670016},
        "measurements": [{"name": "Area", "value": 3}],
        "color": [0, 1, 2],
    }
    child = _feature("Polygon", SQUARE, {"classification": "UDH"}, "b")
    whole = {"type": "FeatureCollection", "features": [_feature("Polygon", HOLED, new, "a"), child]}
    nested = _feature(
        "MultiPolygon", [SQUARE, HOLED], {**old, "childObjects": [child]}, "PathAnnotationObject"
    )
    several = {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": SQUARE}]}
    shifted = {"type": "Polygon", "coordinates": SQUARE, "plane": {"c": -1, "z": 1, "t": 0}}
    files = {"collection": whole, "array": [nested, child], "geometry": several, "plane": [shifted]}
    return {name: json.dumps(content).encode() for name, content in files.items()}


def _values() -> np.ndarray[Any, np.dtype[np.uint8]]:
    values = np.zeros((24, 40), np.uint8)
    values[2:9, 3:20] = 1
    values[4:6, 5:9] = 0
    values[12:20, 20:40] = 2
    values[20:, :5] = 255
    return values


def _pillow(image: Image.Image, **how: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, **how)
    return written.getvalue()


def png() -> dict[str, bytes]:
    grey = Image.fromarray(_values())
    palette = Image.fromarray(_values() // 100)
    palette.putpalette(list(range(256)) * 3)
    wide = Image.fromarray(_values().astype(np.uint16))
    return {
        name: _pillow(image, format="PNG")
        for name, image in {
            "grey": grey,
            "palette": palette,
            "wide": wide,
            "rgb": grey.convert("RGB"),
        }.items()
    }


def tiff() -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    ways: dict[str, dict[str, Any]] = {
        "plain": {},
        "deflated": {"compression": "zlib"},
        "tiled": {"tile": (16, 16), "compression": "lzw"},
        "big": {"bigtiff": True, "compression": "packbits"},
    }
    for name, how in ways.items():
        written = io.BytesIO()
        tifffile.imwrite(written, _values(), **how)
        files[name] = written.getvalue()
    return files


def jpeg() -> dict[str, bytes]:
    image = Image.fromarray((_values() > 0).astype(np.uint8) * 255)
    return {
        "grey": _pillow(image, format="JPEG"),
        "rgb": _pillow(image.convert("RGB"), format="JPEG"),
        "progressive": _pillow(image, format="JPEG", progressive=True),
    }
