"""What was outlined as an annotation, and what else QuPath keeps in the same file: cells, detections, tiles."""

from collections import Counter
from collections.abc import Mapping

from histoscout.geometry.regions import Region, Regions

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
