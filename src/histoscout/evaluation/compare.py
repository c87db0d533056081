"""What was found on one slide against what was drawn there: the value that all lesion figures are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.evaluation.drawn import Drawn, drawn_on
from histoscout.evaluation.drawn import Lesion as Lesion
from histoscout.evaluation.false_alarms import MOSTLY, LiesOn, lies_on, share_in
from histoscout.evaluation.ground import Ground
from histoscout.evaluation.matching import PRIMARY, RULES, Matching, State, match
from histoscout.evaluation.overlaps import Overlaps, overlaps
from histoscout.geometry.regions import Region, Regions

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
