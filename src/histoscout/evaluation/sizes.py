"""How many lesions of each size are found."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from histoscout.evaluation.compare import SlideLesions
from histoscout.evaluation.intervals import Statistic, Weights
from histoscout.evaluation.matching import PRIMARY

EDGES_UM = (100.0, 200.0, 400.0)
FEWEST = 5  # a stratum with fewer lesions says little

Strata = tuple[float, ...]


def strata_of(slides: Sequence[SlideLesions]) -> Strata:
    """The diameters in um at which lesions are divided: 100, 200 and 400 if that says something.

    If fewer than two strata would hold 5 lesions, the thirds of the lesions' own diameters, rounded to two
    digits; none at all for fewer than 15 lesions.
    """
    diameters = np.array([lesion.diameter_um for slide in slides for lesion in slide.lesions])
    counts = np.bincount(np.searchsorted(EDGES_UM, diameters, side="right"), minlength=len(EDGES_UM) + 1)
    if (counts >= FEWEST).sum() >= 2:
        return EDGES_UM
    if len(diameters) < 3 * FEWEST:
        return ()
    thirds = np.quantile(diameters, [1 / 3, 2 / 3])
    return tuple(sorted({float(f"{edge:.2g}") for edge in thirds}))


def stratum_names(strata: Strata) -> list[str]:
    """The strata in words, smallest first: "under 100 um", "100 to 200 um", ..., "400 um and more"."""
    if not strata:
        return ["any size"]
    between = [f"{low:g} to {high:g} um" for low, high in pairwise(strata)]
    return [f"under {strata[0]:g} um", *between, f"{strata[-1]:g} um and more"]


def lesions_by_size(slides: Sequence[SlideLesions], strata: Strata) -> dict[str, int]:
    """How many lesions each stratum holds."""
    sizes = [lesion.diameter_um for slide in slides for lesion in slide.lesions]
    counts = np.bincount(np.searchsorted(strata, sizes, side="right"), minlength=len(strata) + 1)
    return dict(zip(stratum_names(strata), counts.tolist(), strict=True))


def size_statistic(
    slides: Sequence[SlideLesions], patients: Sequence[int], strata: Strata, rule: str = PRIMARY
) -> Statistic:
    """The sensitivity for lesions of each stratum at the threshold in use, by the patients' weights."""
    shape = (max(patients, default=-1) + 1, len(strata) + 1)
    lesions, found = np.zeros(shape), np.zeros(shape)
    for slide, patient in zip(slides, patients, strict=True):
        sizes = np.searchsorted(strata, [lesion.diameter_um for lesion in slide.lesions], side="right")
        has = [by is not None for by in slide.matchings[rule].finding_of]
        np.add.at(lesions[patient], sizes, 1)
        np.add.at(found[patient], sizes, has)
    names = stratum_names(strata)

    def statistic(weights: Weights) -> dict[str, float | None]:
        totals, hits = weights @ lesions, weights @ found
        return {
            name: float(hit / total) if total else None
            for name, hit, total in zip(names, hits, totals, strict=True)
        }

    return statistic
