"""What was found on one slide against what was drawn there: the value that all lesion figures are made of.

What a finding really lies on: a lesion after all, another class, plain tissue, a pen mark, bare glass.

What was drawn on a slide, laid ready to be compared with any number of findings.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.evaluation.lesions.matching import (
    PRIMARY,
    RULES,
    Areas,
    Matching,
    Overlaps,
    State,
    match,
    merged,
    overlaps,
)
from histoscout.evaluation.reference import Ground
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import mask_of
from histoscout.geometry.regions import Region, Regions
from histoscout.tissue.mask import Tissue

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
    on_tissue, artifact = float(seen[inside].mean()), float(hidden[inside].mean())
    return on_tissue, artifact, max(0.0, 1 - on_tissue - artifact)


def _cells(low: float, high: float, scale: float, count: int) -> slice:
    """The cells that a stretch meets, at least one."""
    first = min(count - 1, max(0, math.floor(low / scale)))
    return slice(first, max(first + 1, min(count, math.ceil(high / scale))))


def tissue_share(region: Region, tissue: Tissue) -> float:
    """The part of a region that was looked at: tissue, not hidden by an artefact."""
    return _ground(region, tissue)[0]


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
        {label: merged(others.labeled(label)) for label in others.labels},
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


Mask = NDArray[np.bool_]
SAME = 0.3  # pieces that together share this part with a lesion (IoU) are that lesion, split


@dataclass(frozen=True)
class Finding:
    """A found region and what it lies on; its score is the region's, 1 where it has none."""

    region: Region
    lies_on: LiesOn

    @property
    def score(self) -> float:
        return 1.0 if self.region.score is None else self.region.score


@dataclass(frozen=True)
class SlideLesions:
    """Lesions and findings of one slide, which is which by each rule, and the area they lie on.

    `matchings` go by the names of `matching.RULES`; the numbers in them count `lesions` and `findings`. At the
    `threshold` in use, `splits` are missed lesions (by the primary rule) with the findings that cover them only
    together, `merges` findings with the several lesions that each of them covers. Areas in mm2: of tissue that counts,
    and of all outlines, whatever their class.
    """

    threshold: float
    lesions: tuple[Lesion, ...]
    findings: tuple[Finding, ...]
    matchings: Mapping[str, Matching]
    splits: Mapping[int, tuple[int, ...]]
    merges: Mapping[int, tuple[int, ...]]
    tissue_mm2: float
    annotated_mm2: float
    notes: tuple[str, ...] = ()

    def in_use(self, finding: int) -> bool:
        """Whether a finding reaches the threshold in use."""
        return self.findings[finding].score >= self.threshold

    def false_alarms(self, rule: str = PRIMARY) -> list[int]:
        """The numbers of the findings in use that are false, highest score first."""
        states = self.matchings[rule].states
        false = [number for number, state in enumerate(states) if state == "false" and self.in_use(number)]
        return sorted(false, key=lambda number: -self.findings[number].score)

    def missed(self, rule: str = PRIMARY) -> list[int]:
        """The numbers of the lesions that no finding in use has."""
        return [number for number, by in enumerate(self.matchings[rule].finding_of) if by is None]

    def hits(self, rule: str = PRIMARY) -> list[tuple[int, int]]:
        """Lesions that are found at the threshold in use, with the finding that has each."""
        found = self.matchings[rule].finding_of
        return [(lesion, finding) for lesion, finding in enumerate(found) if finding is not None]


def compare_lesions(
    ground: Ground, found: Regions, threshold: float = 0.0, drawn: Drawn | None = None
) -> SlideLesions:
    """Compare found regions (level-0 px) with everything that was drawn on a slide.

    Lesions are the drawn regions of the positive class; areas to be ignored count neither for nor against: a
    finding that fits no lesion and lies mostly in them is not false, a lesion mostly in them is no lesion.
    Findings scored below `threshold` count for the FROC curve only. Needs neither the slide nor a network. What
    `drawn_on` made of the same ground may be given, if several finders are compared.
    """
    drawn = drawn or drawn_on(ground)
    truth = drawn.truth
    pairs = overlaps(truth, found)
    places = lies_on(found, pairs, drawn.others, ground.tissue)
    findings = tuple(Finding(region, place) for region, place in zip(found, places, strict=True))
    matchings = _matchings(pairs, truth, findings, share_in(drawn.ignored, found) >= MOSTLY, threshold)
    using = np.array([finding.score >= threshold for finding in findings], bool)
    return SlideLesions(
        threshold=threshold,
        lesions=drawn.lesions,
        findings=findings,
        matchings=matchings,
        splits=_splits(pairs, matchings[PRIMARY], truth, found, using),
        merges=_merges(pairs, using),
        tissue_mm2=ground.counted_mm2,
        annotated_mm2=drawn.annotated_mm2,
        notes=drawn.notes,
    )


def _matchings(
    pairs: Overlaps, truth: Regions, findings: Sequence[Finding], ignored: Mask, threshold: float
) -> dict[str, Matching]:
    found = Regions.of(finding.region for finding in findings)
    scores = np.array([finding.score for finding in findings], np.float64)
    made: dict[str, Matching] = {}
    for name, rule in RULES.items():
        one = match(pairs, rule.fits(pairs, truth, found), scores, threshold)
        states: tuple[State, ...] = tuple(
            "ignored" if unsure and state == "false" else state
            for state, unsure in zip(one.states, ignored.tolist(), strict=True)
        )
        made[name] = replace(one, states=states)
    return made


def _splits(
    pairs: Overlaps, matching: Matching, truth: Regions, found: Regions, using: Mask
) -> dict[int, tuple[int, ...]]:
    """Missed lesions that several findings make up together, each of them mostly inside."""
    pieces: dict[int, list[int]] = {}
    inside = (pairs.of_second >= MOSTLY) & using[pairs.second]
    for lesion, finding in zip(pairs.first[inside].tolist(), pairs.second[inside].tolist(), strict=True):
        if matching.finding_of[lesion] is None:
            pieces.setdefault(lesion, []).append(finding)
    return {
        lesion: tuple(several)
        for lesion, several in pieces.items()
        if len(several) > 1 and _together(truth[lesion], [found[one] for one in several]) >= SAME
    }


def _together(lesion: Region, pieces: Sequence[Region]) -> float:
    """Intersection over union of a lesion with all pieces as one."""
    whole = shapely.union_all([piece.outline for piece in pieces])
    shared = float(lesion.outline.intersection(whole).area)
    return shared / (float(lesion.outline.area) + float(whole.area) - shared)


def _merges(pairs: Overlaps, using: Mask) -> dict[int, tuple[int, ...]]:
    """Findings that hold at least half of each of several lesions."""
    lesions: dict[int, list[int]] = {}
    held = (pairs.of_first >= MOSTLY) & using[pairs.second]
    for lesion, finding in zip(pairs.first[held].tolist(), pairs.second[held].tolist(), strict=True):
        lesions.setdefault(finding, []).append(lesion)
    return {finding: tuple(several) for finding, several in lesions.items() if len(several) > 1}
