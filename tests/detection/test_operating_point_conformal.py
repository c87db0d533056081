"""The bound on missed patients holds for patients who come from where the others came from, whatever the scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.detection.operating_point import conformal_score_threshold, min_patients, required_patients


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25])
@pytest.mark.parametrize("patients", [20, 39, 64])
def test_the_bound_is_kept_in_200_resamplings(share: float, patients: int) -> None:
    """Of exchangeable patients at most `share` are missed; and not far fewer, or the bound would be idle."""
    random = np.random.default_rng(round(1000 * share) + patients)
    everybody = np.sort(np.round(random.beta(5, 2, 4000), 3))  # rounded: ties must not break it
    missed = []
    for _ in range(200):
        drawn = random.choice(everybody, patients, replace=False)
        cut_off = conformal_score_threshold(drawn.tolist(), share)
        assert cut_off is not None or patients < min_patients(share)
        missed.append(float((everybody < cut_off).mean()) if cut_off is not None else 0.0)
    allowed = np.floor(share * (patients + 1) + 1e-9) / (patients + 1)
    error = 3 * np.sqrt(allowed * (1 - allowed) / (patients + 2) / 200) + 0.005  # of a mean of 200 draws
    assert np.mean(missed) <= share + error
    assert allowed - error <= np.mean(missed)


def test_a_cut_off_a_little_higher_would_break_it() -> None:
    random = np.random.default_rng(0)
    missed = []
    for _ in range(200):
        drawn = random.random(29).tolist()
        cut_off = conformal_score_threshold(drawn, 0.1)
        higher = min(score for score in drawn if score > (cut_off or 0))
        missed.append(higher)  # the share of uniform scores below it
    assert np.mean(missed) > 0.11


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_by_counting(weakest: list[float], share: float) -> None:
    """At most share * (n + 1) of the n patients and the next one lie below the cut-off or at it, one by one."""
    cut_off = conformal_score_threshold(weakest, share)
    if len(weakest) < min_patients(share):
        assert cut_off is None
    else:
        assert cut_off in weakest
        assert sum(score < cut_off for score in weakest) + 1 <= share * (len(weakest) + 1) + 1e-6


def test_how_many_are_needed() -> None:
    assert [min_patients(share) for share in (0.5, 0.1, 0.05, 0.01)] == [1, 9, 19, 99]
    assert [required_patients(share) for share in (0.1, 0.05, 0.01)] == [20, 20, 99]
    assert conformal_score_threshold([0.5] * 8, 0.1) is None
    assert conformal_score_threshold([0.5] * 9, 0.1) == 0.5
