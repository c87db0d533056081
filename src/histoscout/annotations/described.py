"""A region from what QuPath says of an object, the same for every file that QuPath writes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from histoscout.annotations import qupath
from histoscout.annotations.colours import colour_of
from histoscout.annotations.findings import Findings
from histoscout.annotations.json_geometry import Drawn
from histoscout.geometry.regions import Outline, Region


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
    label, class_colour = qupath.read_label(properties.get("classification"), place)
    label = qupath.private(properties).get("label", label)
    if not label:
        findings.add("unclassified outlines", name)
    if "nucleusGeometry" in said:
        findings.add("nuclei of cells left out", name)
    measurements, odd = qupath.read_measurements(properties.get("measurements"))
    if odd:
        findings.add("outlines with measurements that are no numbers, left out", name)
    score = measurements.pop(qupath.SCORE, None)
    if score is not None and not 0 <= score <= 1:
        findings.add("outlines with a score outside 0 to 1, left out", name)
        score = None
    other = _plane(said["geometry"], name, findings)
    if (kind := qupath.read_type(said, properties)) != usual_type:
        other["objectType"] = kind
    if class_colour is not None and label and class_colour != list(colour_of(label)):
        other["classColor"] = class_colour
    if measurements:
        other["measurements"] = measurements
    identity = qupath.read_id(said, properties) or qupath.stable_id(f"{name} {outline.wkt}")
    return Region(outline, label, score, identity, {**other, **qupath.read_properties(properties)})


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
