"""Found regions in annotation files: what histoscout found is never taken for what a person drew.

`detect` writes a region of the class "UDH" under the derived class "UDH: found", with a name such as "UDH .92 no. 3", the
measurement "histoscout score" and two texts of metadata: `model` and `found class`. Whoever gives such a region another
class in QuPath confirms it. Files of histoscout 0.2 and before have the score alone, under the class itself.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from histoscout.annotations.geojson import read_geojson
from histoscout.geometry.regions import Region, Regions
from histoscout.io.notes import count_and_list

SUFFIX = ": found"
"""What follows the class of a found region."""
FOUND_CLASS = "found class"
"""Metadata that holds the class as it was found, with the suffix."""
OVERLAP = 0.5
"""Share of the smaller of two annotations of one class from which their overlap is listed."""
MOST_PAIRS = 20_000
"""Pairs of annotations that are compared; more of them overlap in files with a mistake alone."""


def mark_found(regions: Regions) -> Regions:
    """Mark detected regions as found, for a file that QuPath opens.

    Args:
        regions: Detected regions.

    Returns:
        The regions in their order, under derived classes, named by class, score and rank.
    """
    by_score = sorted(range(len(regions)), key=lambda index: (-(regions[index].score or 0.0), index))
    ranks = {index: rank for rank, index in enumerate(by_score, 1)}
    return Regions.of(_marked(region, ranks[index]) for index, region in enumerate(regions))


def _marked(region: Region, rank: int) -> Region:
    label = f"{found_class(region)}{SUFFIX}"
    score = "" if region.score is None else f" {region.score:.2f}".replace(" 0.", " .")
    name = f"{found_class(region)}{score} no. {rank}"
    return replace(region, label=label, properties=found_properties(region, label, name))


def found_properties(region: Region, label: str, name: str) -> dict[str, Any]:
    """The properties of a found region in a file for QuPath.

    Args:
        region: The region.
        label: Its class in the file; as long as it has this class, nobody confirmed it.
        name: Its name in QuPath.

    Returns:
        All of its properties, with the name and the class in its metadata.
    """
    return {**region.properties, "name": name, "metadata": {**_metadata(region), FOUND_CLASS: label}}


def found_class(region: Region) -> str:
    """The class of a region without the suffix of found regions.

    Args:
        region: The region.
    """
    return region.label.removesuffix(SUFFIX)


def is_unconfirmed(region: Region) -> bool:
    """Whether histoscout found a region and nobody gave it another class since.

    Args:
        region: A region of an annotation file.
    """
    if FOUND_CLASS in _metadata(region):
        return region.label == str(_metadata(region)[FOUND_CLASS])
    return region.label.endswith(SUFFIX) or region.score is not None


def leave_out_found(regions: Regions) -> tuple[Regions, list[str]]:
    """Leave out found regions that nobody confirmed.

    Args:
        regions: The regions of an annotation file.

    Returns:
        The other regions, and a note that lists what was left out.
    """
    left_out = [region for region in regions if is_unconfirmed(region)]
    if not left_out:
        return regions, []
    names = [str(region.properties.get("name") or region.id) for region in left_out]
    note = (
        "regions that histoscout found and nobody confirmed, left out: "
        f"{count_and_list(names)}; give them their class in QuPath to confirm them, or keep all with --keep-found"
    )
    return regions.where(lambda region: not is_unconfirmed(region)), [note]


def without_suffix(regions: Regions) -> Regions:
    """All regions under their classes without the suffix of found regions.

    Args:
        regions: The regions.
    """
    return regions.relabel(lambda label: label.removesuffix(SUFFIX))


def read_found(path: Path) -> Regions:
    """Read the regions that `detect` wrote for a slide, in this version or an earlier one.

    Args:
        path: The GeoJSON file.

    Returns:
        The regions in level-0 px, under the classes of the model.

    Raises:
        AnnotationError: The file cannot be read.
    """
    return without_suffix(read_geojson(path).regions)


def overlap_note(regions: Regions) -> list[str]:
    """List annotations of one class that overlap by half of the smaller one or more: they may be drawn twice.

    Args:
        regions: The annotations of a slide.

    Returns:
        One note, or none.
    """
    if len(regions) < 2:
        return []
    outlines = np.array([region.outline for region in regions], dtype=object)
    labels = np.array([region.label for region in regions], dtype=object)
    first, second = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    same = (first < second) & (labels[first] == labels[second])
    first, second = first[same][:MOST_PAIRS], second[same][:MOST_PAIRS]
    shared = shapely.area(shapely.intersection(outlines[first], outlines[second]))
    smaller = np.minimum(shapely.area(outlines[first]), shapely.area(outlines[second]))
    pairs = np.stack([first, second], axis=1)[shared >= OVERLAP * smaller].tolist()
    names = [
        " and ".join(str(regions[index].properties.get("name") or regions[index].id) for index in pair)
        for pair in pairs
    ]
    note = "annotations of one class that overlap by half or more, drawn twice?"
    return [f"{note}: {count_and_list(names)}"] if names else []


def _metadata(region: Region) -> Mapping[str, Any]:
    metadata = region.properties.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}
