"""Outlines that mean "not this": taken out of the outlines that they lie in."""

from collections.abc import Sequence
from dataclasses import replace

import shapely
from shapely.geometry import Polygon

from histoscout.annotations.findings import Findings
from histoscout.geometry.regions import Outline, Region, polygonal


def without_holes(
    regions: Sequence[Region], holes: Sequence[tuple[Outline, str]], findings: Findings
) -> list[Region]:
    """The regions less the holes, each an outline and what to call it; both in level-0 px.

    A hole is taken out of every region that it shares area with. Holes that lie in no region, and regions that
    nothing is left of, are told.
    """
    if not regions or not holes:
        for _, name in holes:
            findings.add(IN_NOTHING, name)
        return list(regions)
    tree = shapely.STRtree([region.outline for region in regions])
    cut: dict[int, list[Outline]] = {}
    for hole, name in holes:
        met = [int(i) for i in tree.query(hole, predicate="intersects")]
        inside = [i for i in met if shapely.area(shapely.intersection(hole, regions[i].outline)) > 0]
        if not inside:
            findings.add(IN_NOTHING, name)
        for number in inside:
            cut.setdefault(number, []).append(hole)
    kept = []
    for number, region in enumerate(regions):
        outline = _cut(region.outline, cut.get(number, []))
        if outline is None:
            findings.add("outlines left out, as holes cover them", region.id)
        else:
            kept.append(region if outline is region.outline else replace(region, outline=outline))
    return kept


IN_NOTHING = "holes that lie in no outline, left out"


def _cut(outline: Outline, holes: list[Outline]) -> Outline | None:
    if not holes:
        return outline
    rings = [hole.exterior for hole in holes if isinstance(hole, Polygon) and not hole.interiors]
    if isinstance(outline, Polygon) and len(rings) == len(holes):
        exact = Polygon(outline.exterior, [*outline.interiors, *rings])
        if exact.is_valid:  # each hole inside, apart from the others: every point stays as it was drawn
            return exact
    return polygonal(outline.difference(shapely.union_all(holes)))
