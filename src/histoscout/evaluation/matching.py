"""Which found region is which drawn lesion.

One to one, and as many lesions as can be found: a maximum matching of the findings above a threshold, at
every threshold. Findings are taken from the highest score down, and each gets a lesion if that is possible at
all, if need be by giving an earlier one another lesion that it fits as well (an augmenting path, Kuhn 1955;
Berge 1957). A finding that has a lesion keeps having one, and a lesion once found stays found, so what a
finding counts as is settled at its own score and holds for every threshold below: the curve over thresholds
is exact and can only rise.

Why neither of the usual ways: taking the best overlap first, whatever the score (picai_eval's default; its
issue 24), calls a sure finding a duplicate of an unsure one that overlaps better, and counts a miss at all
thresholds between the two. Giving each finding by score its best lesion for good (COCO, PASCAL VOC) may use
up the only lesion that the next finding fits.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.evaluation.overlaps import Overlaps
from histoscout.geometry.regions import Regions

State = Literal["hit", "duplicate", "false", "ignored"]


@dataclass(frozen=True)
class Rule:
    """When a finding fits a lesion: in words that reports print, and as a function.

    `fits` says of each pair of overlapping lesion (first) and finding (second) whether they fit: bool (pairs,).
    """

    words: str
    fits: Callable[[Overlaps, Regions, Regions], NDArray[np.bool_]]


def _iou_of(least: float) -> Callable[[Overlaps, Regions, Regions], NDArray[np.bool_]]:
    def fits(pairs: Overlaps, lesions: Regions, findings: Regions) -> NDArray[np.bool_]:
        return np.asarray(pairs.iou >= least - 1e-9)

    return fits


def _centre_inside(pairs: Overlaps, lesions: Regions, findings: Regions) -> NDArray[np.bool_]:
    outlines = np.array([lesion.outline for lesion in lesions], dtype=object)[pairs.first]
    centres = shapely.centroid(np.array([finding.outline for finding in findings], dtype=object))
    return np.asarray(shapely.intersects(outlines, centres[pairs.second]), bool)


# the first is the one that claims are made by; the others are for comparison with published figures
RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "iou_0.3": Rule("shared area at least .3 of the area of both together (IoU >= .3)", _iou_of(0.3)),
        "iou_0.1": Rule("shared area at least .1 of the area of both together (IoU >= .1)", _iou_of(0.1)),
        "centre": Rule("the centre of the finding lies in the lesion's outline", _centre_inside),
    }
)
PRIMARY = "iou_0.3"


def words(rule: str) -> str:
    """A rule as reports print it, in one sentence."""
    return (
        f"A finding fits a lesion if: {RULES[rule].words}. One to one, as many lesions as can be found; further "
        "findings that fit a found lesion are duplicates, findings that fit none are false alarms."
    )


@dataclass(frozen=True)
class Matching:
    """What became of each finding and each lesion of a slide by one rule.

    `states` and `lesion_of` go by finding: what it counts as, and the lesion that it hits, or repeats, by its
    number (None if it fits none). `found_at` goes by lesion: the highest threshold at which it is found (None
    if at none). `finding_of` goes by lesion too: the finding that has it at the threshold in use.
    """

    states: tuple[State, ...]
    lesion_of: tuple[int | None, ...]
    found_at: tuple[float | None, ...]
    finding_of: tuple[int | None, ...]


def match(
    pairs: Overlaps, fits: NDArray[np.bool_], scores: NDArray[np.float64], threshold: float = 0.0
) -> Matching:
    """Match findings to lesions one to one, from the highest score down (see the head of this module).

    `pairs` of lesions (first) and findings (second), of which those that fit (bool, by pair) may be matched.
    Findings below the `threshold` in use count for the curve only.
    """
    candidates = _by_finding(pairs, fits, len(scores))
    pairing = _Pairing(candidates, {}, {}, set())
    states: list[State] = ["false"] * len(scores)
    found_at: list[float | None] = [None] * len(pairs.first_area)
    in_use: dict[int, int] | None = None
    for finding in np.lexsort((np.arange(len(scores)), -scores)).tolist():
        if in_use is None and scores[finding] < threshold:
            in_use = dict(pairing.lesion_of)
        if not candidates[finding]:
            continue
        newly = pairing.add(finding)
        states[finding] = "duplicate" if newly is None else "hit"
        if newly is not None:
            found_at[newly] = float(scores[finding])
    in_use = pairing.lesion_of if in_use is None else in_use
    best = {finding: fitting[0] for finding, fitting in enumerate(candidates) if fitting}
    lesion_of = {**best, **pairing.lesion_of, **in_use}
    finding_of = {lesion: finding for finding, lesion in in_use.items()}
    return Matching(
        tuple(states),
        tuple(lesion_of.get(finding) for finding in range(len(scores))),
        tuple(found_at),
        tuple(finding_of.get(lesion) for lesion in range(len(found_at))),
    )


def _by_finding(pairs: Overlaps, fits: NDArray[np.bool_], findings: int) -> list[list[int]]:
    """The lesions that each finding fits, best overlap first."""
    order = np.lexsort((pairs.first, -pairs.iou))
    order = order[fits[order]]
    candidates: list[list[int]] = [[] for _ in range(findings)]
    for finding, lesion in zip(pairs.second[order].tolist(), pairs.first[order].tolist(), strict=True):
        candidates[finding].append(lesion)
    return candidates


@dataclass
class _Pairing:
    """A matching that grows: who has which lesion, and which lesions can never be freed again.

    Where a search for a free lesion fails, all lesions it came through stay with the findings they have: later
    searches need not enter there, so that thousands of findings on one lesion cost no more than one look each.
    """

    candidates: Sequence[Sequence[int]]
    lesion_of: dict[int, int]
    finding_of: dict[int, int]
    settled: set[int]

    def add(self, finding: int) -> int | None:
        """Give the finding a lesion, moving others if need be; the lesion newly found, or None."""
        taker: dict[int, int] = {}
        waiting = deque([finding])
        while waiting:
            current = waiting.popleft()
            for lesion in self.candidates[current]:
                if lesion in taker or lesion in self.settled:
                    continue
                taker[lesion] = current
                if lesion not in self.finding_of:
                    self._hand_on(lesion, taker)
                    return lesion
                waiting.append(self.finding_of[lesion])
        self.settled.update(taker)
        return None

    def _hand_on(self, free: int, taker: Mapping[int, int]) -> None:
        """Walk back from the free lesion: each finding on the way takes the one before it, and leaves its own."""
        lesion: int | None = free
        while lesion is not None:
            finding = taker[lesion]
            left = self.lesion_of.get(finding)
            self.lesion_of[finding], self.finding_of[lesion] = lesion, finding
            lesion = left
