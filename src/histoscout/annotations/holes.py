"""Outlines that mean "not this": taken out of the outlines that they lie in."""

from collections.abc import Sequence
from dataclasses import replace

import shapely
from shapely.geometry import MultiPolygon, Polygon

from histoscout.annotations.findings import Findings
from histoscout.geometry.even_odd import is_tangled
from histoscout.geometry.regions import Outline, Region, polygonal


def without_holes(
    regions: Sequence[Region], holes: Sequence[tuple[Outline, str]], findings: Findings
) -> list[Region]:
    """The regions less the holes, each an outline and what to call it; both in level-0 px.

    A hole is taken out of every region that it shares area with. Holes that lie in no region, and regions that
    nothing is left of, are told.
    """
    cut = _holes_by_region(regions, holes)
    used: set[int] = set()
    kept = []
    for number, region in enumerate(regions):
        inside = [holes[hole][0] for hole in cut.get(number, [])]
        if inside and is_tangled(MultiPolygon(_polygons([region.outline, *inside]))):
            findings.add("outlines left out, as holes cross them too often to be taken out", region.id)
            used.update(cut[number])
            continue
        outline = _cut(region.outline, inside)
        if outline is None or outline.area < region.outline.area:
            used.update(cut[number])
        if outline is None:
            findings.add("outlines left out, as holes cover them", region.id)
        else:
            kept.append(region if outline is region.outline else replace(region, outline=outline))
    for number, (_, name) in enumerate(holes):
        if number not in used:
            findings.add("holes that lie in no outline, left out", name)
    return kept


def _holes_by_region(regions: Sequence[Region], holes: Sequence[tuple[Outline, str]]) -> dict[int, list[int]]:
    """The holes that meet each region, by number; each region is prepared once, however many holes it has."""
    met: dict[int, list[int]] = {}
    if regions and holes:
        tree = shapely.STRtree([outline for outline, _ in holes])
        pairs = tree.query([region.outline for region in regions], predicate="intersects")
        for region, hole in sorted(zip(*pairs.tolist(), strict=True)):
            met.setdefault(region, []).append(hole)
    return met


def _polygons(outlines: Sequence[Outline]) -> list[Polygon]:
    return [
        part
        for outline in outlines
        for part in ([outline] if isinstance(outline, Polygon) else outline.geoms)
    ]


def _cut(outline: Outline, holes: list[Outline]) -> Outline | None:
    if not holes:
        return outline
    rings = [hole.exterior for hole in holes if isinstance(hole, Polygon) and not hole.interiors]
    if isinstance(outline, Polygon) and len(rings) == len(holes):
        exact = Polygon(outline.exterior, [*outline.interiors, *rings])
        if exact.is_valid:  # each hole inside, apart from the others: every point stays as it was drawn
            return exact
    return polygonal(outline.difference(shapely.union_all(holes)))
