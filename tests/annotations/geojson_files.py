"""GeoJSON content for tests: polygons, Features, and a function that writes and reads them."""

import json
from pathlib import Path
from typing import Any

from histoscout.annotations.geojson import read_geojson
from histoscout.annotations.read import Annotations

SQUARE = [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]
HOLED = [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]], [[3, 3], [6, 3], [6, 6], [3, 6], [3, 3]]]
BOW_TIE = [[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]]


def feature(coordinates: Any = SQUARE, kind: str = "Polygon", **properties: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def read_content(folder: Path, content: Any) -> Annotations:
    """Read JSON, or text that only looks like it, after writing it to slide.geojson."""
    path = folder / "slide.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_geojson(path)
