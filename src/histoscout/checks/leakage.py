"""Does anything that is learnt from come back where it is judged: patients, slides, tissue?

Is the same tissue on two slides, whatever they are called, wherever they were cut, whichever way they lie?

A slide's landmarks are the places where haematoxylin is densest in their surroundings: the same places in a copy that
was cut elsewhere, compressed anew, mirrored or turned. What a landmark looks like is kept as a small patch; two slides
that share several patches share tissue.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.cohort.case import Case
from histoscout.cohort.leakage import Fingerprint
from histoscout.slides.slide import Slide
from histoscout.slides.stains import OPTICAL_DENSITY
from histoscout.tissue.mask import Tissue
from histoscout.verdict import Verdict

LOOK_MPP = 8.0
NEST_UM = 24.0  # sigma of the blur whose peaks are landmarks
APART_UM = 96.0
REACH = 12  # px to each side of a landmark that are looked at, every second one
PATCH = REACH + 1
MOST = 400  # landmarks of a slide
MOST_TOGETHER = 12_000
ALIKE = 0.94  # correlation of two patches of the same place
ENOUGH = 4  # landmarks that two slides must share

Patches = NDArray[np.float32]


@dataclass(frozen=True)
class Landmarks:
    """What a slide shows at its landmarks: float32 (N, PATCH, PATCH), each of mean 0 and length 1."""

    slide: str
    patient: str
    split: str
    patches: Patches


def find_landmarks(slide: Slide, tissue: Tissue, patient: str, split: str = "", most: int = MOST) -> Landmarks:
    """The densest places of a slide and what they look like."""
    scale = LOOK_MPP / slide.mpp
    density = OPTICAL_DENSITY[slide.read(slide.box, LOOK_MPP)].mean(-1)
    mask = tissue.mask_in(slide.box, scale)[: density.shape[0], : density.shape[1]]
    smooth = ndimage.gaussian_filter(density, NEST_UM / LOOK_MPP)
    peaks = (smooth == ndimage.maximum_filter(smooth, round(2 * APART_UM / LOOK_MPP) + 1)) & mask
    rows, columns = np.nonzero(peaks)
    inner = (
        (np.minimum(rows, columns) >= REACH)
        & (rows < smooth.shape[0] - REACH)
        & (columns < smooth.shape[1] - REACH)
    )
    rows, columns = rows[inner], columns[inner]
    order = np.argsort(-smooth[rows, columns])[:most]
    look = ndimage.gaussian_filter(density, 1.0)
    places = zip(rows[order], columns[order], strict=True)
    patches = np.array([_patch(look, row, column) for row, column in places], np.float32).reshape(
        -1, PATCH, PATCH
    )
    patches -= patches.mean((1, 2), keepdims=True)
    length = np.sqrt((patches**2).sum((1, 2), keepdims=True))
    return Landmarks(slide.name, patient, split, (patches / np.maximum(length, 1e-6)).astype(np.float32))


def _patch(look: NDArray[np.float32], row: int, column: int) -> NDArray[np.float32]:
    """The surroundings of a place, which stands in their very middle: mirrored, they are those of the mirrored slide."""
    return look[row - REACH : row + REACH + 1 : 2, column - REACH : column + REACH + 1 : 2]


def count_shared_landmarks(one: Landmarks, two: Landmarks) -> int:
    """How many landmarks of one slide are on the other too, lying in one of the eight ways, the same for all."""
    if not len(one.patches) or not len(two.patches):
        return 0
    wanted = two.patches.reshape(len(two.patches), -1).T
    counts = []
    for turned in (one.patches, one.patches[:, ::-1]):
        for quarter in range(4):
            laid = np.rot90(turned, quarter, (1, 2)).reshape(len(turned), -1)
            counts.append(int(((laid @ wanted).max(1) >= ALIKE).sum()))
    return max(counts)


@dataclass(frozen=True)
class SharedTissue:
    """Two slides that show the same tissue."""

    one: Landmarks
    two: Landmarks
    landmarks: int


def find_shared_tissue(slides: Sequence[Landmarks]) -> list[SharedTissue]:
    """Every two slides that share tissue; with many slides fewer landmarks of each are compared."""
    most = max(ENOUGH * 8, MOST_TOGETHER // max(1, len(slides)))
    cut = [Landmarks(one.slide, one.patient, one.split, one.patches[:most]) for one in slides]
    found = []
    for number, one in enumerate(cut):
        for two in cut[number + 1 :]:
            if (count := count_shared_landmarks(one, two)) >= ENOUGH:
                found.append(SharedTissue(one, two, count))
    return found


_REMEDY = "Give both slides the same patient, or take one out of the cohort"


def check_patient_splits(cases: Sequence[Case]) -> Verdict:
    """Whether every patient is in one split only."""
    name = "no patient in two splits"
    splits: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.split is not None:
            splits[case.patient].add(case.split)
    both = [
        f"{patient} in {' and '.join(sorted(found))}"
        for patient, found in sorted(splits.items())
        if len(found) > 1
    ]
    if both:
        return Verdict(
            name=name,
            state="failed",
            message="; ".join(both),
            remedy="Put all slides of a patient into one split",
        )
    if not splits:
        return Verdict(name=name, state="good", message="no splits are named; training divides by patient")
    return Verdict(name=name, state="good", message=f"{len(splits)} patients")


def check_duplicate_slides(prints: Sequence[Fingerprint], splits: Sequence[str]) -> Verdict:
    """Whether any slide is there twice under two names; `splits` are those of the slides, "" where none is named."""
    name = "no slide twice"
    copies = [
        (one, two, first, second)
        for number, (one, first) in enumerate(zip(prints, splits, strict=True))
        for two, second in zip(prints[number + 1 :], splits[number + 1 :], strict=True)
        if one.is_copy_of(two)
    ]
    if not copies:
        return Verdict(name=name, state="good", message=f"{len(prints)} slides, no two alike")
    message = "; ".join(f"{one.name} and {two.name} show the same" for one, two, _, _ in copies[:4])
    leak = any(one.patient != two.patient or first != second for one, two, first, second in copies)
    return Verdict(name=name, state="failed" if leak else "warning", message=message, remedy=_REMEDY)


def check_shared_tissue(slides: Sequence[Landmarks]) -> Verdict:
    """Whether slides of different patients, or of different splits, show the same piece of tissue."""
    name = "no tissue twice"
    found = [one for one in find_shared_tissue(slides) if _matters(one)]
    if not found:
        return Verdict(name=name, state="good", message=f"no two of {len(slides)} slides share tissue")
    message = "; ".join(
        f"{one.one.slide} and {one.two.slide} share {one.landmarks} places" for one in found[:4]
    )
    leak = any(one.one.split != one.two.split for one in found)
    return Verdict(name=name, state="failed" if leak else "warning", message=message, remedy=_REMEDY)


def _matters(sharing: SharedTissue) -> bool:
    return sharing.one.patient != sharing.two.patient or sharing.one.split != sharing.two.split
