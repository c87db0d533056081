"""Lesion counts and sensitivity by size."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given

from histoscout.evaluation.lesions.summary import (
    SIZE_EDGES_UM,
    choose_size_strata,
    count_by_size,
    size_statistic,
    stratum_names,
)
from histoscout.geometry.regions import Regions
from tests.evaluation.scenes import cohorts, compare, disc, regions


def _row(radii: Sequence[float]) -> Regions:
    return regions(*(disc(500 + 1000 * number, 0, radius) for number, radius in enumerate(radii)))


def test_fixed_strata_where_they_hold_enough_lesions() -> None:
    slide = compare(_row([40] * 5 + [75] * 5), Regions())
    assert choose_size_strata([slide]) == SIZE_EDGES_UM
    assert count_by_size([slide], SIZE_EDGES_UM) == {
        "under 100 um": 5,
        "100 to 200 um": 5,
        "200 to 400 um": 0,
        "400 um and more": 0,
    }


def test_thirds_where_all_lesions_fall_into_one_stratum() -> None:
    strata = choose_size_strata([compare(_row([float(r) for r in range(10, 40)]), Regions())])
    assert strata == (39.0, 59.0)
    assert stratum_names(strata) == ["under 39 um", "39 to 59 um", "59 um and more"]


def test_none_where_there_are_too_few() -> None:
    assert choose_size_strata([compare(_row([40.0] * 9), Regions())]) == ()
    assert stratum_names(()) == ["any size"]


def test_each_lesion_counts_in_its_stratum() -> None:
    truth = _row([40, 40, 75, 250])
    slide = compare(truth, truth[1:])
    values = size_statistic([slide], [0], SIZE_EDGES_UM)(np.ones(1))
    assert values == {
        "under 100 um": 0.5,
        "100 to 200 um": 1.0,
        "200 to 400 um": None,
        "400 um and more": 1.0,
    }


def test_a_lesion_of_just_the_size_of_an_edge_is_of_the_larger_ones() -> None:
    slide = compare(_row([50]), Regions())
    exact = replace(slide, lesions=(replace(slide.lesions[0], diameter_um=100.0),))
    assert count_by_size([exact], SIZE_EDGES_UM)["100 to 200 um"] == 1
    assert size_statistic([exact], [0], SIZE_EDGES_UM)(np.ones(1))["100 to 200 um"] == 0


@given(cohorts())
def test_strata_hold_all_lesions_and_add_up_to_the_sensitivity(cohort: list[tuple[Regions, Regions]]) -> None:
    slides = [compare(*scene, 0.3) for scene in cohort]
    counts = count_by_size(slides, SIZE_EDGES_UM)
    values = size_statistic(slides, range(len(slides)), SIZE_EDGES_UM)(np.ones(len(slides)))
    found = sum((values[name] or 0) * count for name, count in counts.items())
    assert round(found, 6) == sum(len(slide.true_positives()) for slide in slides)
    assert sum(counts.values()) == sum(len(slide.lesions) for slide in slides)
