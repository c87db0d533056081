"""Annotations on top of others: which of them count, and which of them nobody would see in a mask.

A mask has one value for each pixel, so what is drawn later covers what is beneath it. A lesion that somebody outlined
inside an area to ignore (QuPath's class `Region*` is one) was outlined to count. Everything else that is covered
completely is named.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.geometry.regions import Region, Regions, valid_outline
from histoscout.recipe import IGNORE, SET_ASIDE
from histoscout.recipe_sections import ClassConfig

INSIDE_SHARE = 0.95
"""An outline is inside an area that holds this share of it, and that it covers less than this share of."""

HIDDEN_SHARE = 0.999
"""An outline is hidden if others cover this share of it; files round coordinates."""


def lift_lesions(
    regions: Regions, lesions: Collection[str], ignored: Collection[str]
) -> tuple[Regions, Regions]:
    """Cut lesions out of the areas to ignore that they were outlined inside.

    An area to ignore that is inside a lesion, covers a part of it or has the same outline is left as it is.

    Args:
        regions: The annotations.
        lesions: Labels of lesions.
        ignored: Labels of areas to ignore.

    Returns:
        The annotations, and the lesions that were cut out of an area.

    Example:
        >>> import shapely
        >>> from histoscout import Region, Regions
        >>> from histoscout.annotations.overlaps import lift_lesions
        >>> area, lesion = Region(shapely.box(0, 0, 9, 9), "Region*"), Region(shapely.box(1, 1, 3, 3), "UDH")
        >>> lifted, inside = lift_lesions(Regions.of([area, lesion]), ["UDH"], ["Region*"])
        >>> lifted[0].outline.area, inside.labels
        (77.0, ['UDH'])
    """
    inner = regions.with_labels(*lesions)
    areas = regions.with_labels(*ignored)
    if not len(inner) or not len(areas):
        return regions, Regions()
    outlines = _outlines(inner)
    sizes = shapely.area(outlines)
    tree = shapely.STRtree(outlines)
    inside: set[int] = set()
    kept = []
    for region in regions:
        if region.label not in ignored:
            kept.append(region)
            continue
        found = tree.query(region.outline, predicate="intersects")
        shared = shapely.area(shapely.intersection(outlines[found], region.outline))
        within = (shared >= INSIDE_SHARE * sizes[found]) & (sizes[found] < INSIDE_SHARE * region.outline.area)
        chosen = found[within]
        inside.update(chosen.tolist())
        if not len(chosen):
            kept.append(region)
        elif rest := valid_outline(region.outline.difference(shapely.union_all(outlines[chosen]))):
            kept.append(replace(region, outline=rest))
    return Regions.of(kept), Regions.of(inner[index] for index in sorted(inside))


def find_hidden(painted: Sequence[tuple[Region, int]]) -> list[tuple[Region, bool]]:
    """Find the outlines of which a mask shows nothing.

    Args:
        painted: Regions with their mask values, in the order of drawing: later ones cover earlier ones.

    Returns:
        The regions that others of other values cover completely, and whether areas to ignore alone do so.
    """
    if len({value for _, value in painted}) < 2:
        return []
    outlines = _outlines(region for region, _ in painted)
    values = np.array([value for _, value in painted])
    first, second = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    above = (second > first) & (values[first] != values[second])
    first, second = first[above], second[above]
    areas = shapely.area(outlines)
    shared = shapely.area(shapely.intersection(outlines[first], outlines[second]))
    covered = np.bincount(first, shared, minlength=len(painted))
    hidden = []
    # what is covered twice may add up to more than is covered at all
    for index in np.flatnonzero(covered >= HIDDEN_SHARE * areas).tolist():
        over = second[first == index]
        if _covers(outlines[over], outlines[index]):
            by_ignored = _covers(outlines[over[values[over] == IGNORE]], outlines[index])
            hidden.append((painted[index][0], by_ignored))
    return hidden


def _covers(above: NDArray[np.object_], outline: shapely.Geometry) -> bool:
    rest = shapely.difference(outline, shapely.union_all(above))
    return bool(shapely.area(rest) <= (1 - HIDDEN_SHARE) * shapely.area(outline))


def overlap_notes(inside: Regions, hidden: Sequence[tuple[Region, bool]]) -> list[str]:
    """The notes on outlines inside areas to ignore, and on hidden ones.

    Args:
        inside: What `lift_lesions` cut out of areas to ignore.
        hidden: What `find_hidden` found.

    Returns:
        One sentence for each kind, with the number of outlines by class.
    """
    groups = (
        ("outlines inside ignored areas, which count all the same", [region.label for region in inside]),
        (
            "outlines hidden completely by ignored areas",
            [region.label for region, ignored in hidden if ignored],
        ),
        (
            "outlines hidden completely by outlines of another class",
            [region.label for region, ignored in hidden if not ignored],
        ),
    )
    return [f"{text}: {count_labels(labels)}" for text, labels in groups if labels]


def count_labels(labels: Iterable[str]) -> str:
    """Labels with their numbers: "ADH (2), unclassified (1)".

    Args:
        labels: One label for each outline.
    """
    return ", ".join(
        f"{label or 'unclassified'} ({count})" for label, count in sorted(Counter(labels).items())
    )


def describe_overlaps(regions: Regions, classes: ClassConfig) -> list[str]:
    """The notes on overlaps of annotations whose classes are as typed, before it is known which of them are lesions.

    Args:
        regions: The annotations.
        classes: Say which classes are ignored; every other named class may be one of lesions.

    Returns:
        The notes, see `overlap_notes`.
    """
    canonical = {label: classes.canonical(label) for label in regions.labels}
    ignored = [label for label, name in canonical.items() if name == "ignore"]
    lesions = [label for label, name in canonical.items() if label.strip() and name not in SET_ASIDE]
    lifted, inside = lift_lesions(regions, lesions, ignored)
    # nothing is drawn yet, so that only areas to ignore can hide something
    others = lifted.where(lambda region: canonical[region.label] not in SET_ASIDE)
    painted = [(region, 1) for region in others] + [
        (region, IGNORE) for region in lifted.with_labels(*ignored)
    ]
    return overlap_notes(inside, find_hidden(painted))


def _outlines(regions: Iterable[Region]) -> NDArray[np.object_]:
    outlines = [region.outline for region in regions]
    array = np.empty(len(outlines), dtype=object)
    array[:] = outlines
    return array
