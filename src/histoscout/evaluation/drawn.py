"""What was drawn on a slide, laid ready to be compared with any number of findings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import shapely

from histoscout.evaluation.false_alarms import MOSTLY, share_in, tissue_share
from histoscout.evaluation.ground import Ground
from histoscout.evaluation.overlaps import merged
from histoscout.geometry.regions import Region, Regions


@dataclass(frozen=True)
class Lesion:
    """A drawn lesion (outlines drawn over one another are one), and whether its tissue was looked at.

    `diameter_um` is that of a circle of the same area.
    """

    region: Region
    diameter_um: float
    outside_tissue: bool


@dataclass(frozen=True)
class Drawn:
    """The lesions of a slide, its areas of other classes and those to be ignored, each class merged.

    `annotated_mm2` is the area of all outlines, whatever their class.
    """

    lesions: tuple[Lesion, ...]
    others: Mapping[str, Regions]
    ignored: Regions
    annotated_mm2: float
    notes: tuple[str, ...]

    @property
    def truth(self) -> Regions:
        """The outlines of the lesions."""
        return Regions.of(lesion.region for lesion in self.lesions)


def drawn_on(ground: Ground) -> Drawn:
    """Sort what was drawn on a slide: lesions that lie mostly in areas to be ignored are none."""
    every = merged(ground.positive)
    ignored = merged(ground.ignored)
    counted = share_in(ignored, every) < MOSTLY
    lesions = tuple(
        _lesion(region, ground) for region, counts in zip(every, counted.tolist(), strict=True) if counts
    )
    positive = ground.recipe.classes.positive
    others = ground.annotated.where(lambda region: region.label != positive)
    return Drawn(
        lesions,
        {label: merged(others.labelled(label)) for label in others.labels},
        ignored,
        _area(ground.annotated) * ground.mpp**2 * 1e-6,
        _notes(lesions, int((~counted).sum()), len(ground.positive) - len(every)),
    )


def _lesion(region: Region, ground: Ground) -> Lesion:
    diameter = 2 * math.sqrt(region.outline.area / math.pi) * ground.mpp
    return Lesion(region, diameter, tissue_share(region, ground.tissue) < MOSTLY)


def _area(regions: Regions) -> float:
    return float(shapely.disjoint_subset_union_all([region.outline for region in regions]).area)


def _notes(lesions: Sequence[Lesion], ignored: int, twice: int) -> tuple[str, ...]:
    outside = sum(lesion.outside_tissue for lesion in lesions)
    said = {
        f"{outside} of {len(lesions)} lesions lie mostly outside the tissue that is looked at; they count": outside,
        f"{ignored} lesions lie mostly in areas to be ignored; they do not count": ignored,
        f"{twice} outlines are drawn over others of their class; they count as one lesion with them": twice,
    }
    return tuple(note for note, count in said.items() if count)
