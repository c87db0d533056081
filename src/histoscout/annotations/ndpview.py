"""Annotations of Hamamatsu's NDP.view (`.ndpa`).

Each `ndpviewstate` holds a title and one annotation: freehand (closed or open), a circle, or what has no area.
Coordinates are whole nm from the center of the glass slide, x to the right and y down.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from histoscout.annotations.polygons import ParsedGeometry, shape_outline
from histoscout.annotations.qupath_properties import checked_outline, file_notes, stable_id
from histoscout.annotations.read import Annotations
from histoscout.annotations.xml import XmlElement, number_of_text
from histoscout.errors import AnnotationError
from histoscout.geometry.regions import Region, Regions
from histoscout.io.notes import NoteCounter

NANOMETERS = frozenset({"", "nanometer", "nanometers", "nm"})
"""What `coordformat` may hold."""
WITHOUT_AREA = frozenset({"pin", "pointer", "linearmeasure", "ruler", "text", "bookmark", ""})
"""Types of annotations that have no area."""
_POLYGONS = frozenset({"freehand", "freehandline", "rectangle", "polygon"})


def ndpview_annotations(root: XmlElement, path: Path) -> Annotations:
    """Convert a file of NDP.view to regions.

    The label is the title of a view state. Details and the color of the outline are kept as properties.

    Args:
        root: The root element.
        path: The file, for errors.

    Returns:
        Regions in nm from the center of the glass slide, and notes on what was repaired or left out.

    Raises:
        AnnotationError: A coordinate is invalid, or the unit is not nm; it names the line.
    """
    counter = NoteCounter()
    regions: list[Region] = []
    for number, state in enumerate(root.find("ndpviewstate"), 1):
        unit = state.text_of("coordformat").casefold()
        if unit not in NANOMETERS:
            fault = f"coordinates are in {unit[:40]!r}, not in nanometers"
            raise AnnotationError(
                f"{path}, line {state.line}", fault, "Save the annotations in NDP.view again"
            )
        for element in state.find("annotation"):
            name = f"view state {state.get('id') or number}"
            parsed = _parse(element, path, name, counter=counter)
            outline = None if parsed is None else checked_outline(parsed, name, counter)
            if outline is None:
                continue
            label = state.text_of("title")
            if not label:
                counter.add("annotations without a class", name)
            identity = stable_id(f"{name} {outline.wkt}")
            regions.append(Region(outline, label, id=identity, properties=_properties(state, element)))
    return Annotations(Regions.of(regions), file_notes(regions, counter))


def _parse(element: XmlElement, path: Path, name: str, *, counter: NoteCounter) -> ParsedGeometry | None:
    """The polygon of an annotation; None, and a note, if it has no area."""
    where = f"{path}, line {element.line}"
    kind = element.get("type").casefold()
    if kind == "circle":
        x, y, radius = (number_of_text(element, part, path) for part in ("x", "y", "radius"))
        return shape_outline("ellipse", np.array([[x - radius, y - radius], [x + radius, y + radius]]), where)
    points = next(element.find("pointlist"), element).points
    if kind in WITHOUT_AREA or (kind not in _POLYGONS and len(points) < 3):
        counter.add("points, arrows and rulers left out, as they have no area", f"{name}: {kind[:20]}")
        return None
    if element.text_of("closed") == "0":
        counter.add("open freehand lines left out, as they enclose nothing", name)
        return None
    return shape_outline("polygon", points, where)


def _properties(state: XmlElement, element: XmlElement) -> Mapping[str, Any]:
    """Details, tool and color of an annotation, as far as it has them."""
    values = {
        "details": state.text_of("details"),
        "displayname": element.get("displayname"),
        "color": element.get("color"),
    }
    metadata = {key: value for key, value in values.items() if value}
    return {"metadata": metadata} if metadata else {}
