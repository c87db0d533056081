"""Fainter findings join what is found at the threshold and change nothing of it."""

import numpy as np

from histoscout.detection.postprocess import add_fainter_regions, find_candidates, find_regions
from histoscout.geometry.regions import Regions
from tests.evaluation.slides import RECIPE, heatmap

CHOICES = RECIPE.detection


def test_what_lower_thresholds_find_besides_is_added_below_the_threshold() -> None:
    levels = np.zeros((128, 128), np.uint8)
    levels[10:40, 10:40] = 200  # found at .5
    levels[8:42, 8:42] = np.maximum(levels[8:42, 8:42], 70)  # its halo, no finding of its own
    levels[60:90, 10:40] = 80  # found at a quarter
    levels[60:90, 60:90] = 40  # found at an eighth
    levels[100:120, 100:120] = 10  # found at none of them
    found = find_regions(heatmap(levels), "UDH", 0.5, CHOICES)
    every = add_fainter_regions(found, heatmap(levels), "UDH", 0.5, CHOICES)
    assert [region.outline for region in every][: len(found)] == [region.outline for region in found]
    scores = [region.score or 0.0 for region in every]
    assert np.allclose(scores, [200 / 255, 80 / 255, 40 / 255], atol=1e-3)
    assert [score >= 0.5 for score in scores] == [True, False, False]


def test_scores_stay_on_their_side_of_the_threshold() -> None:
    threshold = 116 / 255  # a region's score is rounded to four digits, here to below the threshold
    levels = np.zeros((128, 128), np.uint8)
    levels[10:40, 10:40] = 116
    levels[60:90, 60:90] = 115
    found = find_regions(heatmap(levels), "UDH", threshold, CHOICES)
    every = add_fainter_regions(found, heatmap(levels), "UDH", threshold, CHOICES)
    assert [(region.score or 0) >= threshold for region in every] == [True, False]


def test_of_an_empty_heatmap_nothing_is_found() -> None:
    assert (
        add_fainter_regions(Regions(), heatmap(np.zeros((128, 128), np.uint8)), "UDH", 0.5, CHOICES)
        == Regions()
    )


def test_candidates_are_what_is_found_and_what_is_fainter() -> None:
    levels = np.zeros((128, 128), np.uint8)
    levels[10:40, 10:40], levels[60:90, 10:40] = 200, 80
    found = find_regions(heatmap(levels), "UDH", 0.5, CHOICES, "abc")
    every = find_candidates(heatmap(levels), "UDH", 0.5, CHOICES, "abc")
    assert [region.id for region in every][:1] == [found[0].id]
    assert [region.properties["metadata"]["model"] for region in every] == ["abc", "abc"]
