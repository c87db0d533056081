"""What a finding really lies on: a lesion after all, another class, plain tissue, a pen mark, bare glass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.tissue import Tissue
from histoscout.evaluation.overlaps import Areas, Overlaps, merged, overlaps
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


def lies_on(findings: Regions, lesions: Overlaps, others: Regions, tissue: Tissue) -> list[LiesOn]:
    """Where each finding lies.

    On a lesion (`lesions` are its pairs with them) if at least half of the finding lies in lesions, or it holds
    at least half of one; else where the largest part of it lies: in outlines of another class, on tissue with
    nothing drawn on it, on an artefact, or outside of tissue.
    """
    area = lesions.second_area
    in_lesions = np.minimum(1, lesions.covered() / area)
    holds_one = np.bincount(lesions.second, lesions.of_first >= MOSTLY, len(findings)) > 0
    labels = others.labels
    in_class = {label: share_in(others.labelled(label), findings) for label in labels}
    ground = np.array([_ground(finding, tissue) for finding in findings]).reshape(-1, 3)
    drawn = np.sum([in_lesions, *in_class.values()], axis=0)
    ground[:, 0] = np.maximum(0, ground[:, 0] - drawn)
    places = [
        LiesOn("unmarked tissue"),
        LiesOn("artefact"),
        LiesOn("outside of tissue"),
        *(LiesOn("other class", label) for label in labels),
    ]
    shares = np.column_stack([ground, *in_class.values()])
    on_lesion = (in_lesions >= MOSTLY) | holds_one
    return [
        LiesOn("lesion") if lesion else places[most]
        for lesion, most in zip(on_lesion.tolist(), shares.argmax(1).tolist(), strict=True)
    ]


def share_in(areas: Regions, regions: Regions) -> Areas:
    """The part of each region that lies in these areas, which may overlap: float64 (regions,)."""
    pairs = overlaps(merged(areas), regions)
    return np.asarray(np.minimum(1, pairs.covered() / pairs.second_area))


def _ground(region: Region, tissue: Tissue) -> tuple[float, float, float]:
    """The parts of a region that are tissue, artefact, and neither."""
    inside, box = _cells(region, tissue)
    on_tissue = tissue.mask_of(box, tissue.scale)[inside]
    hidden = tissue.left_out_of(box, tissue.scale)[inside]
    seen, artefact = float(on_tissue.mean()), float(hidden.mean())
    return seen, artefact, max(0.0, 1 - seen - artefact)


def _cells(region: Region, tissue: Tissue) -> tuple[NDArray[np.bool_], Box]:
    """The cells of the tissue mask whose centres lie in a region, or the one below its own centre; their box."""
    scale, whole = tissue.scale, tissue.box
    left, top = (np.floor((low - start) / scale) for low, start in _starts(region.box, whole))
    right, bottom = (np.ceil((high - start) / scale) for high, start in _ends(region.box, whole))
    columns, rows = max(1.0, right - left), max(1.0, bottom - top)
    box = Box(whole.x + left * scale, whole.y + top * scale, columns * scale, rows * scale)
    inside = mask_of(region.outline, box, scale)
    if not inside.any():
        inside[inside.shape[0] // 2, inside.shape[1] // 2] = True
    return inside, box


def _starts(box: Box, whole: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    return (box.x, whole.x), (box.y, whole.y)


def _ends(box: Box, whole: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    return (box.right, whole.x), (box.bottom, whole.y)


def tissue_share(region: Region, tissue: Tissue) -> float:
    """The part of a region that was looked at: tissue, not hidden by an artefact."""
    return _ground(region, tissue)[0]
