"""What a finding really lies on: a lesion after all, another class, plain tissue, a pen mark, bare glass."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from histoscout.detection.tissue import Tissue
from histoscout.evaluation.overlaps import Areas, Overlaps, overlaps
from histoscout.geometry.box import Box
from histoscout.geometry.raster import mask_of
from histoscout.geometry.regions import Region, Regions

MOSTLY = 0.5
"""From this part of an area on, it lies there."""

Place = Literal["lesion", "other class", "unmarked tissue", "artefact", "outside of tissue"]
PLACES: Mapping[Place, str] = {
    "lesion": "on a lesion, but badly outlined (a piece of it, or far too large)",
    "other class": "on an outline of another class",
    "unmarked tissue": "on tissue where nothing is drawn",
    "artefact": "on a pen mark or where the slide is out of focus",
    "outside of tissue": "where there is no tissue",
}


@dataclass(frozen=True)
class LiesOn:
    """Where most of a finding lies; `label` is the other class, where it is one."""

    place: Place
    label: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.label or 'unclassified'}" if self.place == "other class" else self.place


def lies_on(
    findings: Regions, lesions: Overlaps, others: Mapping[str, Regions], tissue: Tissue
) -> list[LiesOn]:
    """Where each finding lies.

    On a lesion (`lesions` are its pairs with them) if at least half of the finding lies in lesions, or it holds
    at least half of one; else where the largest part of it lies: in outlines of another class, on tissue with
    nothing drawn on it, on an artefact, or outside of tissue. `others` are merged, by label.
    """
    area = lesions.second_area
    in_lesions = np.minimum(1, lesions.covered() / area)
    holds_one = np.bincount(lesions.second, lesions.of_first >= MOSTLY, len(findings)) > 0
    in_class = {label: share_in(areas, findings) for label, areas in others.items()}
    ground = np.array([_ground(finding, tissue) for finding in findings]).reshape(-1, 3)
    drawn = np.sum([in_lesions, *in_class.values()], axis=0)
    ground[:, 0] = np.maximum(0, ground[:, 0] - drawn)
    places = [
        LiesOn("unmarked tissue"),
        LiesOn("artefact"),
        LiesOn("outside of tissue"),
        *(LiesOn("other class", label) for label in others),
    ]
    shares = np.column_stack([ground, *in_class.values()])
    on_lesion = (in_lesions >= MOSTLY) | holds_one
    return [
        LiesOn("lesion") if lesion else places[most]
        for lesion, most in zip(on_lesion.tolist(), shares.argmax(1).tolist(), strict=True)
    ]


def share_in(areas: Regions, regions: Regions) -> Areas:
    """The part of each region that lies in these areas, which have been merged: float64 (regions,)."""
    pairs = overlaps(areas, regions)
    return np.asarray(np.minimum(1, pairs.covered() / pairs.second_area))


def _ground(region: Region, tissue: Tissue) -> tuple[float, float, float]:
    """The parts of a region that are tissue, artefact, and neither, by the cells of the tissue mask.

    A region that holds no cell's centre is taken as the cell below its own.
    """
    whole, scale, bounds = tissue.box, tissue.scale, region.box
    rows = _cells(bounds.y - whole.y, bounds.bottom - whole.y, scale, tissue.mask.shape[0])
    columns = _cells(bounds.x - whole.x, bounds.right - whole.x, scale, tissue.mask.shape[1])
    seen, hidden = tissue.mask[rows, columns], tissue.left_out[rows, columns]
    if seen.all():
        return 1.0, 0.0, 0.0
    corner = (whole.x + columns.start * scale, whole.y + rows.start * scale)
    inside = mask_of(region.outline, Box(*corner, seen.shape[1] * scale, seen.shape[0] * scale), scale)
    if not inside.any():
        inside[inside.shape[0] // 2, inside.shape[1] // 2] = True
    on_tissue, artefact = float(seen[inside].mean()), float(hidden[inside].mean())
    return on_tissue, artefact, max(0.0, 1 - on_tissue - artefact)


def _cells(low: float, high: float, scale: float, count: int) -> slice:
    """The cells that a stretch meets, at least one."""
    first = min(count - 1, max(0, math.floor(low / scale)))
    return slice(first, max(first + 1, min(count, math.ceil(high / scale))))


def tissue_share(region: Region, tissue: Tissue) -> float:
    """The part of a region that was looked at: tissue, not hidden by an artefact."""
    return _ground(region, tissue)[0]
