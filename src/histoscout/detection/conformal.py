"""A cut-off below which a new patient's lesions seldom lie: a promise that holds for any model, however poor.

Split conformal prediction (Vovk 2005; Angelopoulos and Bates 2023, arXiv 2107.07511) with patients as the units,
since lesions of one patient are alike. A patient's number is the score of the lesion that is hardest to find. If
a new patient and the n patients at hand might as well have come in any other order (they are exchangeable), then
the new number is the k-th smallest or lower with a chance of at most k / (n + 1).
"""

import math
from collections.abc import Sequence

IN_PRACTICE = 20
"""Patients asked for: with fewer, the bound holds but moves much from one set of patients to the next."""


def patients_needed(share: float) -> int:
    """The fewest patients with whom a share of missed patients can be promised at all, and never below 20."""
    return max(IN_PRACTICE, least_patients(share))


def least_patients(share: float) -> int:
    """The fewest patients for whom arithmetic allows the promise: 1 / share, less one, rounded up."""
    return math.ceil(1 / share - 1 - 1e-9)


def bounded_cut_off(weakest: Sequence[float], share: float) -> float | None:
    """The cut-off at which at most a `share` of new patients have a lesion that is missed.

    `weakest` holds for each patient with lesions the highest cut-off at which all of them are found, 0 where no
    cut-off finds them all. None if these patients are too few by arithmetic. A cut-off of 0 or below promises
    nothing: lesions are missed that nothing finds.
    """
    allowed = math.floor(share * (len(weakest) + 1) + 1e-9)
    if not 0 < share < 1 or allowed < 1:
        return None
    return sorted(weakest)[min(allowed, len(weakest)) - 1]
