"""Labeled polygons on a slide: annotations and detections are the same type."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Any, overload

import shapely
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Polygon

from histoscout.geometry.box import Box
from histoscout.geometry.validity import fill_even_odd

Outline = Polygon | MultiPolygon


@dataclass(frozen=True)
class Region:
    """A labeled polygon on a slide: an annotation, or a detection with a score.

    Attributes:
        outline: The polygon in level-0 px (x right, y down, QuPath's origin); may have holes and several parts.
        label: Name of its class.
        score: Score of a detection in [0, 1]; None for an annotation.
        id: Unique id (a random UUID by default).
        properties: What else the file states of it (name, color, measurements).

    Example:
        >>> from histoscout import Region
        >>> import shapely
        >>> region = Region(shapely.box(0, 0, 2000, 1000), "UDH")
        >>> region.area_mm2(mpp=0.5)
        0.5
        >>> region.box
        Box(x=0.0, y=0.0, width=2000.0, height=1000.0)
    """

    outline: Outline
    label: str
    score: float | None = None
    _: KW_ONLY
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def box(self) -> Box:
        """The bounding box."""
        left, top, right, bottom = self.outline.bounds
        return Box(left, top, right - left, bottom - top)

    def area_mm2(self, mpp: float) -> float:
        """Area without holes in mm2, on a slide of `mpp` um per level-0 px."""
        return float(self.outline.area) * mpp * mpp * 1e-6

    def translate(self, dx: float, dy: float) -> "Region":
        """The region moved by (dx, dy) level-0 px."""
        return replace(self, outline=translate(self.outline, dx, dy))


@dataclass(frozen=True)
class Regions(Sequence[Region]):
    """The regions of one slide, with a spatial index.

    Attributes:
        items: The regions, in the order of their file.

    Example:
        >>> from histoscout import Box, Region, Regions
        >>> import shapely
        >>> regions = Regions.of([
        ...     Region(shapely.box(0, 0, 10, 10), "UDH"), Region(shapely.box(50, 50, 60, 60), "ADH")
        ... ])
        >>> regions.labels
        ['ADH', 'UDH']
        >>> len(regions.with_labels("UDH"))
        1
        >>> [region.label for region in regions.intersecting(Box(0, 0, 20, 20))]
        ['UDH']
    """

    items: tuple[Region, ...] = ()

    @classmethod
    def of(cls, regions: Iterable[Region]) -> "Regions":
        """Collect regions, in this order."""
        return cls(tuple(regions))

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([region.outline for region in self.items])

    def __reduce__(self) -> tuple[type["Regions"], tuple[tuple[Region, ...]]]:
        # the spatial index does not pickle; it is built again where it is needed
        return Regions, (self.items,)

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
        """The regions for which `keep` returns True."""
        return Regions(tuple(region for region in self.items if keep(region)))

    def with_labels(self, *labels: str) -> "Regions":
        """The regions that have one of these labels."""
        return self.where(lambda region: region.label in labels)

    def intersecting(self, box: Box) -> "Regions":
        """The regions whose polygons intersect or touch the box, in their own order."""
        indices = self._tree.query(shapely.box(*box.bounds), predicate="intersects")
        return Regions(tuple(self.items[i] for i in sorted(indices)))

    def translate(self, dx: float, dy: float) -> "Regions":
        """All regions moved by (dx, dy) level-0 px."""
        return Regions(tuple(region.translate(dx, dy) for region in self.items))

    def relabel(self, rename: Callable[[str], str]) -> "Regions":
        """All regions with their labels replaced by `rename(label)`."""
        return Regions(tuple(replace(region, label=rename(region.label)) for region in self.items))


def valid_outline(geometry: shapely.Geometry) -> Outline | None:
    """The part of a geometry that has area, as a valid polygon.

    A polygon whose rings cross encloses what an odd number of them do; several polygons are repaired by shapely's
    `make_valid`. Lines and points are dropped.

    Args:
        geometry: Any geometry.

    Returns:
        A valid polygon or multipolygon; None if nothing has area.
    """
    if isinstance(geometry, Polygon) and not geometry.is_valid:
        return fill_even_odd(
            [shapely.get_coordinates(ring) for ring in (geometry.exterior, *geometry.interiors)]
        )
    valid = geometry if shapely.is_valid(geometry) else shapely.make_valid(geometry)
    parts = [part for part in shapely.get_parts(valid, return_index=False) if part.area > 0]
    polygons = [
        polygon for part in parts for polygon in shapely.get_parts(part) if isinstance(polygon, Polygon)
    ]
    if not polygons:
        return None
    if len(polygons) == 1:
        return polygons[0]
    # polygons of several parts may overlap: then their union is the valid one
    merged = MultiPolygon(polygons)
    return merged if merged.is_valid else valid_outline(shapely.union_all(polygons))
