"""Labelled outlines: what a pathologist drew and what a model found are one kind of thing."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, overload

import shapely
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Polygon

from histoscout.geometry.box import Box
from histoscout.geometry.validity import even_odd

Outline = Polygon | MultiPolygon


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Region:
    """A labelled outline on a slide.

    `outline` in level-0 px (x right, y down, QuPath's origin), holes and several parts included. `score` in [0, 1]
    if a model found it, None if somebody drew it. `properties` holds what else the file said (name, colour,
    measurements).
    """

    outline: Outline
    label: str
    score: float | None = None
    id: str = field(default_factory=_new_id)
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def box(self) -> Box:
        left, top, right, bottom = self.outline.bounds
        return Box(left, top, right - left, bottom - top)

    def area_mm2(self, mpp: float) -> float:
        """Area in mm2 on a slide of `mpp` um per level-0 px, holes taken out."""
        return float(self.outline.area) * mpp * mpp * 1e-6

    def moved(self, dx: float, dy: float) -> "Region":
        return replace(self, outline=translate(self.outline, dx, dy))


@dataclass(frozen=True)
class Regions(Sequence[Region]):
    """The regions of one slide, with an index of where they lie."""

    items: tuple[Region, ...] = ()

    @classmethod
    def of(cls, regions: Iterable[Region]) -> "Regions":
        return cls(tuple(regions))

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([region.outline for region in self.items])

    def __reduce__(self) -> tuple[type["Regions"], tuple[tuple[Region, ...]]]:
        return Regions, (self.items,)  # the index is made again where it is needed

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Region: ...
    @overload
    def __getitem__(self, index: slice) -> "Regions": ...
    def __getitem__(self, index: int | slice) -> "Region | Regions":
        return Regions(self.items[index]) if isinstance(index, slice) else self.items[index]

    @property
    def labels(self) -> list[str]:
        """Every label that occurs, sorted."""
        return sorted({region.label for region in self.items})

    def where(self, keep: Callable[[Region], bool]) -> "Regions":
        return Regions(tuple(region for region in self.items if keep(region)))

    def labeled(self, *labels: str) -> "Regions":
        return self.where(lambda region: region.label in labels)

    def touching(self, box: Box) -> "Regions":
        """The regions whose outlines meet the box, in their own order."""
        found = self._tree.query(shapely.box(*box.bounds), predicate="intersects")
        return Regions(tuple(self.items[i] for i in sorted(found)))

    def moved(self, dx: float, dy: float) -> "Regions":
        return Regions(tuple(region.moved(dx, dy) for region in self.items))

    def relabeled(self, rename: Callable[[str], str]) -> "Regions":
        return Regions(tuple(replace(region, label=rename(region.label)) for region in self.items))


def polygonal(geometry: shapely.Geometry) -> Outline | None:
    """The part of a geometry that has area, as a valid outline; None if nothing is left.

    A polygon whose rings cross encloses what an odd number of them do; several are mended as shapely's `make_valid`
    does. Lines and points that this leaves are dropped.
    """
    if isinstance(geometry, Polygon) and not geometry.is_valid:
        return even_odd([shapely.get_coordinates(ring) for ring in (geometry.exterior, *geometry.interiors)])
    valid = geometry if shapely.is_valid(geometry) else shapely.make_valid(geometry)
    parts = [part for part in shapely.get_parts(valid, return_index=False) if part.area > 0]
    flat = [polygon for part in parts for polygon in shapely.get_parts(part) if isinstance(polygon, Polygon)]
    if not flat:
        return None
    if len(flat) == 1:
        return flat[0]
    merged = MultiPolygon(flat)
    return merged if merged.is_valid else polygonal(shapely.union_all(flat))
