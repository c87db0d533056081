"""Which finding is which lesion, against every assignment tried in turn."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from histoscout.evaluation.lesions.compare import compare_lesions
from histoscout.evaluation.lesions.matching import RULES, Overlaps, match, words
from histoscout.geometry.regions import Regions
from tests.evaluation.scenes import compared, disc, fits_slowly, ground, regions, scenes, slow_counts, square

every_rule = pytest.mark.parametrize("rule", RULES)


@every_rule
@given(scene=scenes(), threshold=st.sampled_from([0.0, 0.2, 0.5, 0.9]))
def test_as_many_lesions_are_found_as_any_assignment_finds_at_every_threshold(
    rule: str, scene: tuple[Regions, Regions], threshold: float
) -> None:
    slide = compared(*scene, threshold)
    matching = slide.matchings[rule]
    for at in {finding.score for finding in slide.findings} | {threshold}:
        counted = [n for n, finding in enumerate(slide.findings) if finding.score >= at]
        found, false = slow_counts(slide, rule, at)
        assert sum(matching.states[number] == "hit" for number in counted) == found
        assert sum(value is not None and value >= at for value in matching.found_at) == found
        assert sum(matching.states[number] == "false" for number in counted) == false
    assert len(slide.hits(rule)) == slow_counts(slide, rule, threshold)[0]


@every_rule
@given(scene=scenes(), threshold=st.sampled_from([0.0, 0.5]))
def test_pairs_are_one_to_one_and_fit(rule: str, scene: tuple[Regions, Regions], threshold: float) -> None:
    slide = compared(*scene, threshold)
    pairs = slide.hits(rule)
    assert len({finding for _, finding in pairs}) == len(pairs)
    for lesion, finding in pairs:
        assert fits_slowly(rule, slide.lesions[lesion].region, slide.findings[finding].region)
        assert slide.in_use(finding)
        assert slide.matchings[rule].lesion_of[finding] == lesion


@every_rule
@given(scene=scenes(), threshold=st.sampled_from([0.2, 0.5]))
def test_what_a_finding_counts_as_does_not_depend_on_those_below_it(
    rule: str, scene: tuple[Regions, Regions], threshold: float
) -> None:
    drawn, found = scene
    above = found.where(lambda region: (region.score or 0) >= threshold)
    states = {
        finding.region.id: state
        for finding, state in zip(
            compared(drawn, found).findings, compared(drawn, found).matchings[rule].states, strict=True
        )
    }
    alone = compared(drawn, above)
    assert list(alone.matchings[rule].states) == [states[finding.region.id] for finding in alone.findings]


@given(scenes(), st.randoms())
def test_counts_do_not_depend_on_the_order(scene: tuple[Regions, Regions], random: Random) -> None:
    drawn, found = (list(side) for side in scene)
    first = compared(*scene, 0.3)
    random.shuffle(drawn)
    random.shuffle(found)
    second = compared(Regions.of(drawn), Regions.of(found), 0.3)
    for rule in RULES:
        counts = [sorted(slide.matchings[rule].states) for slide in (first, second)]
        assert counts[0] == counts[1]
        assert len(first.hits(rule)) == len(second.hits(rule))
    assert len(first.merges) == len(second.merges)
    assert len(first.splits) == len(second.splits)


def test_a_sure_finding_is_not_the_duplicate_of_an_unsure_one_that_overlaps_better() -> None:
    drawn = regions(square(0, 0, 100))
    slide = compared(drawn, regions(square(0, 0, 100, score=0.1), square(0, 0, 60, score=0.9)))
    assert slide.matchings["iou_0.3"].states == ("duplicate", "hit")
    assert slide.matchings["iou_0.3"].found_at == (0.9,)


def test_a_finding_takes_another_lesion_if_the_next_one_fits_only_its_own() -> None:
    drawn = regions(square(0, 0, 100), square(100, 0, 100))
    wide = square(10, -20, 140, score=0.9)  # fits both, the first better
    slide = compared(drawn, regions(wide, square(0, 0, 90, score=0.5)))
    assert slide.matchings["iou_0.1"].states == ("hit", "hit")
    assert slide.hits("iou_0.1") == [(0, 1), (1, 0)]
    # at the threshold in use the second finding does not exist: the first one has the lesion it fits best
    assert compared(drawn, regions(wide, square(0, 0, 90, score=0.5)), 0.6).hits("iou_0.1") == [(0, 0)]


@given(st.tuples(st.integers(1, 12), st.integers(1, 20)), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_any_pattern_of_fits_is_matched_as_well_as_can_be_at_every_threshold(
    shape: tuple[int, int], tenths: int, seed: int
) -> None:
    lesions, findings = shape
    random = np.random.default_rng(seed)
    fits = random.uniform(size=shape) < tenths / 10
    first, second = (grid.ravel() for grid in np.indices(fits.shape))
    shared = random.uniform(0.1, 1, fits.size)
    pairs = Overlaps(first, second, shared, np.ones(lesions), np.ones(findings))
    scores = random.choice([0.2, 0.4, 0.6, 0.8], findings)
    matching = match(pairs, fits.ravel(), scores)
    for threshold in np.unique(scores):
        among = csr_matrix(fits & (scores >= threshold))
        most = int((maximum_bipartite_matching(among) >= 0).sum())
        assert sum(found is not None and found >= threshold for found in matching.found_at) == most
        hits = [
            state == "hit" and score >= threshold
            for state, score in zip(matching.states, scores, strict=True)
        ]
        assert sum(hits) == most
    for number, state in enumerate(matching.states):
        assert (state == "false") == (not fits[:, number].any())


def test_thousands_of_findings_on_one_lesion_take_no_time_and_hit_once() -> None:
    count = 20_000
    pairs = Overlaps(
        np.zeros(count, np.int64), np.arange(count), np.ones(count), np.array([5.0]), np.ones(count)
    )
    matching = match(pairs, np.ones(count, bool), np.linspace(1, 0, count))
    assert matching.states[0] == "hit"
    assert set(matching.states[1:]) == {"duplicate"}


def test_each_rule_says_in_words_what_it_is() -> None:
    assert len({words(rule) for rule in RULES}) == len(RULES)
    assert "IoU >= .3" in words("iou_0.3")


def test_center_rule_wants_the_center_inside() -> None:
    drawn = regions(disc(100, 100, 50))
    slide = compare_lesions(
        ground(drawn), regions(disc(140, 100, 5, score=0.5), disc(160, 100, 20, score=0.4))
    )
    assert slide.matchings["centre"].states == ("hit", "false")
