"""Matching of detections and lesions, against every possible assignment."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from histoscout.evaluation.lesions.compare import compare_lesions
from histoscout.evaluation.lesions.matching import MATCHING_RULES, Overlaps, describe_rule, match_detections
from histoscout.geometry.regions import Regions
from tests.evaluation.scenes import (
    compare,
    disc,
    fits_slowly,
    reference,
    regions,
    scenes,
    slow_counts,
    square,
)

every_rule = pytest.mark.parametrize("rule", MATCHING_RULES)


@every_rule
@given(scene=scenes(), threshold=st.sampled_from([0.0, 0.2, 0.5, 0.9]))
def test_as_many_lesions_are_found_as_any_assignment_finds_at_every_threshold(
    rule: str, scene: tuple[Regions, Regions], threshold: float
) -> None:
    slide = compare(*scene, threshold)
    matching = slide.matchings[rule]
    for at in {detection.score for detection in slide.detections} | {threshold}:
        counted = [n for n, detection in enumerate(slide.detections) if detection.score >= at]
        tp, fp = slow_counts(slide, rule, at)
        assert sum(matching.states[number] == "true positive" for number in counted) == tp
        assert sum(value is not None and value >= at for value in matching.found_at) == tp
        assert sum(matching.states[number] == "false positive" for number in counted) == fp
    assert len(slide.true_positives(rule)) == slow_counts(slide, rule, threshold)[0]


@every_rule
@given(scene=scenes(), threshold=st.sampled_from([0.0, 0.5]))
def test_pairs_are_one_to_one_and_fit(rule: str, scene: tuple[Regions, Regions], threshold: float) -> None:
    slide = compare(*scene, threshold)
    pairs = slide.true_positives(rule)
    assert len({detection for _, detection in pairs}) == len(pairs)
    for lesion, detection in pairs:
        assert fits_slowly(rule, slide.lesions[lesion].region, slide.detections[detection].region)
        assert slide.is_in_use(detection)
        assert slide.matchings[rule].lesion_of[detection] == lesion


@every_rule
@given(scene=scenes(), threshold=st.sampled_from([0.2, 0.5]))
def test_what_a_detection_counts_as_does_not_depend_on_those_below_it(
    rule: str, scene: tuple[Regions, Regions], threshold: float
) -> None:
    truth, detected = scene
    above = detected.where(lambda region: (region.score or 0) >= threshold)
    states = {
        detection.region.id: state
        for detection, state in zip(
            compare(truth, detected).detections, compare(truth, detected).matchings[rule].states, strict=True
        )
    }
    alone = compare(truth, above)
    assert list(alone.matchings[rule].states) == [
        states[detection.region.id] for detection in alone.detections
    ]


@given(scenes(), st.randoms())
def test_counts_do_not_depend_on_the_order(scene: tuple[Regions, Regions], random: Random) -> None:
    truth, detected = (list(side) for side in scene)
    first = compare(*scene, 0.3)
    random.shuffle(truth)
    random.shuffle(detected)
    second = compare(Regions.of(truth), Regions.of(detected), 0.3)
    for rule in MATCHING_RULES:
        counts = [sorted(slide.matchings[rule].states) for slide in (first, second)]
        assert counts[0] == counts[1]
        assert len(first.true_positives(rule)) == len(second.true_positives(rule))
    assert len(first.merges) == len(second.merges)
    assert len(first.splits) == len(second.splits)


def test_a_sure_detection_is_not_the_duplicate_of_an_unsure_one_that_overlaps_better() -> None:
    truth = regions(square(0, 0, 100))
    slide = compare(truth, regions(square(0, 0, 100, score=0.1), square(0, 0, 60, score=0.9)))
    assert slide.matchings["iou_0.3"].states == ("duplicate", "true positive")
    assert slide.matchings["iou_0.3"].found_at == (0.9,)


def test_a_detection_takes_another_lesion_if_the_next_one_fits_only_its_own() -> None:
    truth = regions(square(0, 0, 100), square(100, 0, 100))
    wide = square(10, -20, 140, score=0.9)  # fits both, the first better
    slide = compare(truth, regions(wide, square(0, 0, 90, score=0.5)))
    assert slide.matchings["iou_0.1"].states == ("true positive", "true positive")
    assert slide.true_positives("iou_0.1") == [(0, 1), (1, 0)]
    # at the threshold in use the second detection does not exist: the first one has the lesion it fits best
    assert compare(truth, regions(wide, square(0, 0, 90, score=0.5)), 0.6).true_positives("iou_0.1") == [
        (0, 0)
    ]


@given(st.tuples(st.integers(1, 12), st.integers(1, 20)), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_any_pattern_of_fits_is_matched_as_well_as_can_be_at_every_threshold(
    shape: tuple[int, int], tenths: int, seed: int
) -> None:
    lesions, detections = shape
    random = np.random.default_rng(seed)
    fits = random.uniform(size=shape) < tenths / 10
    first, second = (grid.ravel() for grid in np.indices(fits.shape))
    shared = random.uniform(0.1, 1, fits.size)
    pairs = Overlaps(
        first=first,
        second=second,
        shared=shared,
        first_area=np.ones(lesions),
        second_area=np.ones(detections),
    )
    scores = random.choice([0.2, 0.4, 0.6, 0.8], detections)
    matching = match_detections(pairs, fits.ravel(), scores)
    for threshold in np.unique(scores):
        among = csr_matrix(fits & (scores >= threshold))
        most = int((maximum_bipartite_matching(among) >= 0).sum())
        assert sum(score is not None and score >= threshold for score in matching.found_at) == most
        true_positives = [
            state == "true positive" and score >= threshold
            for state, score in zip(matching.states, scores, strict=True)
        ]
        assert sum(true_positives) == most
    for number, state in enumerate(matching.states):
        assert (state == "false positive") == (not fits[:, number].any())


def test_thousands_of_detections_on_one_lesion_find_it_once() -> None:
    count = 20_000
    pairs = Overlaps(
        first=np.zeros(count, np.int64),
        second=np.arange(count),
        shared=np.ones(count),
        first_area=np.array([5.0]),
        second_area=np.ones(count),
    )
    matching = match_detections(pairs, np.ones(count, bool), np.linspace(1, 0, count))
    assert matching.states[0] == "true positive"
    assert set(matching.states[1:]) == {"duplicate"}


def test_each_rule_has_its_own_description() -> None:
    assert len({describe_rule(rule) for rule in MATCHING_RULES}) == len(MATCHING_RULES)
    assert "0.3" in describe_rule("iou_0.3")


def test_center_rule_wants_the_center_inside() -> None:
    truth = regions(disc(100, 100, 50))
    slide = compare_lesions(
        reference(truth), regions(disc(140, 100, 5, score=0.5), disc(160, 100, 20, score=0.4))
    )
    assert slide.matchings["center"].states == ("true positive", "false positive")
